// The frames of the local camera of the last moments, with their times of capture.

const KEPT = 24;

export class Frames {
  /** `onFrame` is called for each one. */
  constructor(video, onFrame) {
    this.video = video;
    this.onFrame = onFrame;
    this.ring = []; // {at, image}: oldest first
    this.times = []; // of more than are kept, for the frame clock
    this.turn = 0; // of starts and stops: what an earlier one has begun ends
  }

  start() {
    this.turn += 1;
    this.next(this.turn);
  }

  stop() {
    this.turn += 1;
    for (const { image } of this.ring) image.close();
    this.ring = [];
    this.times = [];
  }

  next(turn) {
    if (turn !== this.turn) return;
    const took = (now, about) => this.take(about.captureTime ?? now, turn).finally(() => this.next(turn));
    if ("requestVideoFrameCallback" in this.video) this.video.requestVideoFrameCallback(took);
    else requestAnimationFrame((now) => took(now, {}));
  }

  async take(at, turn) {
    if (turn !== this.turn || this.times.at(-1) === at || this.video.videoWidth === 0) return;
    let image;
    try {
      image = await createImageBitmap(this.video);
    } catch {
      return; // the camera has just gone away
    }
    if (turn !== this.turn) return image.close();
    this.ring.push({ at, image });
    this.times.push(at);
    if (this.times.length > 120) this.times.shift();
    while (this.ring.length > KEPT) this.ring.shift().image.close();
    this.onFrame(this.ring.at(-1));
  }

  /** The frame that was captured then; null = it is not there any more. */
  at(time) {
    let best = null;
    for (const frame of this.ring) if (best === null || Math.abs(frame.at - time) < Math.abs(best.at - time)) best = frame;
    return best !== null && Math.abs(best.at - time) < 15 ? best : null;
  }
}
