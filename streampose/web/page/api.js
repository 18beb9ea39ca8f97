// Requests to the server, with the token if there is one. The token is kept in memory only.

import { httpTrouble, noServer } from "./words.js";

// A network that has forgotten a connection swallows what is sent on it, and nobody is told.
const ANSWER_MS = 5000;

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

/** Resolves to the answer, which is as late as its body is: that is read through `whole`. */
export async function request(path, options = {}, withinMs = ANSWER_MS) {
  const late = new AbortController(); // AbortSignal.timeout needs newer browsers than the rest does
  setTimeout(() => late.abort(), withinMs);
  const headers = { ...options.headers };
  const sent = token;
  if (token !== null) headers.Authorization = `Bearer ${bytesOf(token)}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, signal: late.signal });
  } catch {
    throw noServer();
  }
  if (response.ok) return response;
  const trouble = await httpTrouble(response, sent !== null);
  if (trouble.needsToken && sent !== token) return request(path, options, withinMs); // one was given meanwhile
  throw trouble;
}

/** The text's UTF-8 as a header can have it: one sign a byte. */
function bytesOf(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

/** What is read of an answer. A connection may break in the midst of it, or nothing more come. */
export async function whole(reading) {
  try {
    return await reading;
  } catch {
    throw noServer();
  }
}

export async function json(path) {
  return whole((await request(path)).json());
}
