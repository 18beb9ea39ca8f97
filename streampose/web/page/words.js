// What is said to people when something does not work: what it is, and what to do.

/** An error whose message is for people. `retry`: whether it may go away by itself. `wrongToken`: it needs another one. */
export class Trouble extends Error {
  constructor(message, { retry = false, needsToken = false, wrongToken = false, waitMs = 0 } = {}) {
    super(message);
    Object.assign(this, { retry, needsToken, wrongToken, waitMs });
  }
}

export function cameraTrouble(error) {
  const words = {
    NotAllowedError: "The camera was not allowed. Allow it with the camera sign in the address bar, then press Start.",
    NotFoundError: "No camera was found. Plug one in, then press Start.",
    NotReadableError: "The camera is there but gives no picture: another program may be using it.",
    OverconstrainedError: "The camera has no picture size that fits here.",
    AbortError: "The camera stopped while it was being opened. Press Start to try again.",
  };
  return new Trouble(words[error.name] ?? `The camera cannot be opened (${error.name}).`);
}

export const noPicture = () =>
  new Trouble(
    "The camera is there but gives no picture: another program may be using it, or it is covered or switched off. Press Start to try again."
  );

export function notSecure() {
  return new Trouble(
    "Browsers give a camera to secure pages only: open this page with https://, or on the server's own machine with http://localhost."
  );
}

/** Retry-After in milliseconds, a minute at most: seconds as they are, or a date, as proxies may say it. */
function waitOf(header) {
  const seconds = Number(header ?? 0);
  const waitMs = Number.isNaN(seconds) ? Date.parse(header) - Date.now() : 1000 * seconds;
  return Math.min(Math.max(0, waitMs || 0), 60000);
}

export async function httpTrouble(response, tokenSent) {
  let said = "";
  try {
    said = (await response.json()).error ?? "";
  } catch {
    said = response.statusText;
  }
  const waitMs = waitOf(response.headers.get("Retry-After"));
  if (response.status === 401) {
    const words = tokenSent ? "That token is not the right one." : "This server wants a token.";
    return new Trouble(words, { needsToken: true, wrongToken: tokenSent });
  }
  // A stream of a server that has just begun again.
  if (response.status === 404) return new Trouble(`Not there now: ${said}. Trying again.`, { retry: true });
  if (response.status === 410) return new Trouble("The stream has ended.");
  // 408 and 429 may be a proxy's.
  if (response.status === 408) return new Trouble(`That took too long: ${said}. Trying again.`, { retry: true, waitMs });
  if ([429, 503].includes(response.status)) return new Trouble(`No room now: ${said}. Trying again.`, { retry: true, waitMs });
  if (response.status >= 500) return new Trouble(`The server has a problem: ${said}`, { retry: true, waitMs });
  return new Trouble(`The server refused: ${said}`);
}

export const noServer = () => new Trouble("The server does not answer. Trying again.", { retry: true });

export const iceFailed = () =>
  new Trouble(
    "Page and server are in touch, but video cannot pass between them (ICE failed): a firewall may block UDP, or one of the two is overloaded. Trying again.",
    { retry: true }
  );

export const lost = (why) =>
  new Trouble(why ? `The session was ended: ${why}. Trying again.` : "The connection was lost. Trying again.", { retry: true });
