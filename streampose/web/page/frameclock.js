// Which of our own frames a pose belongs to. The server says the RTP timestamp of the frame (90 kHz); the browser made it
// from the time of capture plus a constant that it does not tell, which is found here.
//
// With the right constant the timestamps of the last seconds fall onto times of capture, one by one, to a millisecond; with
// a wrong one fewer do, as the intervals between frames are never all equal. Where they nearly are, a wrong constant that is
// off by whole frames does almost as well: then it is the latest that fits, as encoding and sending take less than a frame.
// A message bounds it: its frame was captured before it arrived at the server.

const KEPT = 90;
const SLACK_MS = 2;
const LATEST_MS = 500; // from capture to arrival at the server, at most

export class FrameClock {
  constructor() {
    this.seen = []; // {rtpMs, bound}
    this.offset = null;
    this.wraps = 0;
    this.last = null;
    this.count = 0;
  }

  /** 32-bit ticks to milliseconds that go on after a wrap. */
  milliseconds(rtp) {
    if (this.last !== null && this.last - rtp > 2 ** 31) this.wraps += 1;
    if (this.last !== null && rtp - this.last > 2 ** 31) return (rtp + (this.wraps - 1) * 2 ** 32) / 90;
    this.last = rtp;
    return (rtp + this.wraps * 2 ** 32) / 90;
  }

  /** Take in a message: its timestamp, and a time before which its frame was captured. `captures`: times of our frames. */
  observe(rtpMs, bound, captures) {
    this.seen.push({ rtpMs, bound });
    if (this.seen.length > KEPT) this.seen.shift();
    this.count += 1;
    if (this.count < 10 || this.count % 10 === 0) this.settle(captures);
  }

  settle(captures) {
    const limit = Math.min(...this.seen.map(({ rtpMs, bound }) => bound - rtpMs));
    // How many pairs of a timestamp and a time of capture are so many milliseconds apart.
    const votes = new Array(LATEST_MS + SLACK_MS + 1).fill(0);
    for (const { rtpMs } of this.seen) {
      for (const captured of captures) {
        const before = Math.round(limit - (captured - rtpMs)) + SLACK_MS;
        if (before >= 0 && before < votes.length) votes[before] += 1;
      }
    }
    const near = votes.map((count, i) => count + (votes[i - 1] ?? 0) + (votes[i + 1] ?? 0));
    const most = Math.max(...near);
    if (most < Math.min(3, this.seen.length)) return;
    let best = near.findIndex((count) => count >= 0.9 * most);
    while (near[best + 1] > near[best]) best += 1; // up to the top of that hill
    const offset = limit - (best - SLACK_MS);
    // The constant is one for the whole session: it is changed only by clearly better knowledge.
    if (this.offset !== null && Math.abs(offset - this.offset) > 5) {
      const now = near[Math.round(limit - this.offset) + SLACK_MS] ?? 0;
      if (now * 1.15 > near[best]) return;
    }
    this.offset = offset;
  }

  /** When the frame of a timestamp was captured, on this page's clock; null = not known yet. */
  capturedAt(rtpMs) {
    return this.offset === null ? null : rtpMs + this.offset;
  }
}
