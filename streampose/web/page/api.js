// Requests to the server, with the token if there is one. The token is kept in memory only.

import { httpTrouble, noServer } from "./words.js";

let token = null;
const given = new EventTarget();

export function takeToken() {
  const match = /(?:^#|&)token=([^&]+)/.exec(location.hash);
  if (match === null) return;
  try {
    setToken(decodeURIComponent(match[1]));
  } catch {
    setToken(match[1]); // a % that stands for itself
  }
  history.replaceState(null, "", location.pathname + location.search); // out of the address bar
}

export function setToken(text) {
  token = text;
  given.dispatchEvent(new Event("token"));
}

/** Calls this at each token that is given. */
export function onToken(taken) {
  given.addEventListener("token", taken);
}

/** Resolves when the next token is there. */
export function tokenGiven() {
  return new Promise((resolve) => given.addEventListener("token", resolve, { once: true }));
}

export async function request(path, options = {}) {
  const headers = { ...options.headers };
  const sent = token;
  if (token !== null) headers.Authorization = `Bearer ${bytesOf(token)}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw noServer();
  }
  if (response.ok) return response;
  const trouble = await httpTrouble(response, sent !== null);
  if (trouble.needsToken && sent !== token) return request(path, options); // one was given meanwhile
  throw trouble;
}

/** The text's UTF-8 as a header can have it: one sign a byte. */
function bytesOf(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

export async function json(path) {
  return (await request(path)).json();
}
