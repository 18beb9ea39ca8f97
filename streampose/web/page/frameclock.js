// Which of our own frames a pose belongs to. The server says the RTP timestamp of the frame (90 kHz); the browser made it
// from the time of capture plus a constant that it does not tell, which is found here.
//
// A message bounds the constant: its frame was captured before it arrived at the server. The bound is off by the time for
// encoding and sending, less than a frame or two. Among the constants that are left the right one is where the distance
// between capture times and timestamps is the same for all frames, as intervals between frames are never all equal.

const KEPT = 60;
const SHIFTS = 4;

export class FrameClock {
  constructor() {
    this.seen = []; // {rtpMs, bound}
    this.offset = null;
    this.wraps = 0;
    this.last = null;
    this.shift = 0;
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
    if (this.offset === null || this.seen.length % 10 === 0 || this.seen.length === KEPT) this.settle(captures);
  }

  settle(captures) {
    const limit = Math.min(...this.seen.map(({ rtpMs, bound }) => bound - rtpMs));
    let best = null;
    for (let shift = 0; shift < SHIFTS; shift++) {
      const offsets = [];
      for (const { rtpMs } of this.seen) {
        // The frame that was captured last before the bound, or some frames before that one.
        const at = lastBefore(captures, rtpMs + limit + 1) - shift;
        if (at >= 0) offsets.push(captures[at] - rtpMs);
      }
      if (offsets.length < Math.min(3, this.seen.length)) continue;
      offsets.sort((a, b) => a - b);
      const middle = offsets[offsets.length >> 1];
      const spread = offsets.reduce((sum, offset) => sum + Math.min(Math.abs(offset - middle), 20), 0) / offsets.length;
      // An earlier frame has to fit clearly better: with steady intervals all fit equally well.
      if (best === null || spread < 0.5 * best.spread - 0.3) best = { middle, spread };
    }
    if (best !== null) this.offset = best.middle;
  }

  /** When the frame of a timestamp was captured, on this page's clock; null = not known yet. */
  capturedAt(rtpMs) {
    return this.offset === null ? null : rtpMs + this.offset;
  }
}

function lastBefore(times, limit) {
  for (let i = times.length - 1; i >= 0; i--) if (times[i] <= limit) return i;
  return -1;
}
