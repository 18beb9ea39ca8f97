// The frames of the local camera of the last moments, with their times of capture.

const KEPT = 24;

export class Frames {
  /** `onFrame` is called for each one. */
  constructor(video, onFrame) {
    this.video = video;
    this.onFrame = onFrame;
    this.ring = []; // {at, image}: oldest first
    this.times = []; // of more than are kept, for the frame clock
    this.running = false;
  }

  start() {
    this.running = true;
    this.next();
  }

  stop() {
    this.running = false;
    for (const { image } of this.ring) image.close();
    this.ring = [];
    this.times = [];
  }

  next() {
    if (!this.running) return;
    const took = (now, about) => this.take(about.captureTime ?? now).finally(() => this.next());
    if ("requestVideoFrameCallback" in this.video) this.video.requestVideoFrameCallback(took);
    else requestAnimationFrame((now) => took(now, {}));
  }

  async take(at) {
    if (this.times.at(-1) === at || this.video.videoWidth === 0) return;
    let image;
    try {
      image = await createImageBitmap(this.video);
    } catch {
      return; // the camera has just gone away
    }
    if (!this.running) return image.close();
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
