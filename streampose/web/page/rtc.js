// Offer and answer over HTTP (WHIP and WHEP), and the end of a session.

import { request } from "./api.js";

const GATHERING_MS = 1000;

/** Resolves to the session: `end()` tells the server that it is over. */
export async function negotiate(pc, path, signal) {
  await pc.setLocalDescription();
  await gathered(pc);
  const response = await request(path, {
    method: "POST",
    headers: { "Content-Type": "application/sdp" },
    body: pc.localDescription.sdp,
    signal,
  });
  const place = response.headers.get("Location");
  await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  return { place, end: () => request(place, { method: "DELETE", keepalive: true }).catch(() => undefined) };
}

function gathered(pc) {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, GATHERING_MS);
    pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve());
  });
}
