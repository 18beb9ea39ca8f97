// Which record a picture of the server's video shows. It has the times of our frames plus a constant of the session: the
// difference that occurs most. Encoders round, so half milliseconds (45 ticks) are counted.

const RECENT = 20; // a picture comes soon after its record
const SURE = 10;
const KEPT = 2000;

export class DrawnClock {
  constructor() {
    this.votes = new Map();
    this.best = null;
    this.most = 0;
  }

  /** The record of the picture with this RTP timestamp; null = not known (yet). `records`: oldest first. */
  record(records, rtp) {
    if (rtp === undefined) return null;
    const recent = records.slice(-RECENT);
    for (const { pts } of recent) this.vote(difference(rtp, pts));
    if (this.most <= SURE) return null;
    return recent.find(({ pts }) => Math.abs(difference(rtp, pts) - this.best) <= 1) ?? null;
  }

  vote(found) {
    const count = (this.votes.get(found) ?? 0) + 1;
    this.votes.set(found, count);
    if (count > this.most) [this.best, this.most] = [found, count];
    if (this.votes.size > KEPT) for (const [key, votes] of this.votes) if (votes < 3) this.votes.delete(key);
  }
}

function difference(rtp, pts) {
  return Math.round(((rtp - pts + 2 ** 33) % 2 ** 32) / 45);
}
