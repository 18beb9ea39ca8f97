// Requests to the server, with the token if there is one. The token is kept in memory only.

import { httpTrouble, noServer } from "./words.js";

let token = null;

export function takeToken() {
  const match = /(?:^#|&)token=([^&]+)/.exec(location.hash);
  if (match === null) return;
  token = decodeURIComponent(match[1]);
  history.replaceState(null, "", location.pathname + location.search); // out of the address bar
}

export function setToken(text) {
  token = text;
}

export async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw noServer();
  }
  if (!response.ok) throw await httpTrouble(response);
  return response;
}

export async function json(path) {
  return (await request(path)).json();
}
