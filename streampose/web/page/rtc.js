// Offer and answer over HTTP (WHIP and WHEP), and the end of a session.

import { request, whole } from "./api.js";

// Relays have to be asked for an address, which may take some round trips. What takes longer is told afterwards.
const GATHERING_MS = 1000;
const RELAY_MS = 5000;
// The server may take twelve seconds for its answer.
const ANSWER_MS = 15000;

/**
 * Resolves when the answer is there. `signal` is the session's end, of which the server is told; also where it comes
 * while the server still makes its answer: only that one says what to end.
 */
export async function negotiate(pc, path, signal) {
  await pc.setLocalDescription();
  await gathered(pc);
  signal.throwIfAborted();
  const offer = { method: "POST", headers: { "Content-Type": "application/sdp" }, body: pc.localDescription.sdp };
  const later = laterCandidates(pc);
  const response = await request(path, offer, ANSWER_MS);
  // Where a proxy has the server below a path, the server does not know of that.
  const [place] = /session\/[^/]*$/.exec(response.headers.get("Location")) ?? [];
  const end = () => place && void request(place, { method: "DELETE", keepalive: true }).catch(() => undefined);
  if (signal.aborted) end();
  signal.throwIfAborted();
  signal.addEventListener("abort", end);
  await pc.setRemoteDescription({ type: "answer", sdp: await whole(response.text()) });
  later((candidate) => {
    if (place && !signal.aborted) void request(place, addition(candidate, response.headers.get("ETag"))).catch(() => undefined);
  });
}

/** Collects what is not in the offer, as a relay may take longer; what is returned has it told, and what comes then. */
function laterCandidates(pc) {
  const found = [];
  let tell = (candidate) => found.push(candidate);
  pc.addEventListener("icecandidate", ({ candidate }) => candidate?.candidate && tell(candidate));
  return (teller) => {
    tell = teller;
    found.forEach(teller);
  };
}

function addition({ candidate, sdpMid, usernameFragment }, session) {
  const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": session };
  const body = `a=ice-ufrag:${usernameFragment}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:${sdpMid}\r\na=${candidate}\r\n`;
  return { method: "PATCH", headers, body };
}

function gathered(pc) {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, pc.getConfiguration().iceServers.length ? RELAY_MS : GATHERING_MS);
    pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve());
  });
}
