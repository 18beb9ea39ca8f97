// One session with the server: our camera there, poses, figures and drawn video back.

import { json } from "./api.js";
import { negotiate } from "./rtc.js";
import { iceFailed, lost } from "./words.js";

const CONNECT_MS = 12000;
// The server says its figures twice a second: silent for so long, it is gone.
const SILENT_MS = 3000;
// A key that is held changes a setting 30 times a second, more often than the server takes messages.
const WISH_MS = 100;

export class Session extends EventTarget {
  /** `wishes` gives the settings as they are now. */
  constructor(camera, wishes) {
    super();
    Object.assign(this, { camera, wishes });
    this.rttMs = null;
    this.wishedAt = 0;
    this.stopping = new AbortController();
    /** Resolves to the trouble that ended it; to null where it was closed here. */
    this.ended = new Promise((resolve) => (this.end = resolve));
  }

  /** Resolves when figures come. Throws what there is to be said where they do not. */
  async connect() {
    const { signal } = this.stopping;
    const { ice_servers: iceServers } = await json("api/config");
    signal.throwIfAborted();
    const pc = (this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" }));
    pc.addTransceiver(this.camera.getVideoTracks()[0], { direction: "sendrecv" });
    pc.ontrack = ({ track }) => this.tell("video", new MediaStream([track]));
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === "failed") this.over(this.heardAt === undefined ? iceFailed() : lost());
    };
    const poses = pc.createDataChannel("poses", { ordered: false, maxRetransmits: 0 });
    poses.onmessage = ({ data }) => this.tell("pose", { record: JSON.parse(data), at: performance.now() });
    const control = (this.control = pc.createDataChannel("control"));
    const said = new Promise((resolve) => (this.first = resolve));
    control.onmessage = ({ data }) => this.heard(JSON.parse(data));
    control.onopen = () => {
      this.wish();
      this.say({ type: "ping", t: performance.now() });
    };
    control.onclose = () => this.over(lost(this.reason));
    try {
      await negotiate(pc, "whip", signal);
      const passes = () => ["connected", "completed"].includes(pc.iceConnectionState);
      const slow = () => (passes() ? lost("the server is silent") : iceFailed());
      const late = new Promise((_, reject) => setTimeout(() => reject(slow()), CONNECT_MS));
      const gone = this.ended.then((trouble) => Promise.reject(trouble ?? lost()));
      await Promise.race([said, late, gone]);
      signal.throwIfAborted();
      this.watch = setInterval(() => this.look(), 1000);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  heard(message) {
    this.heardAt = performance.now();
    this.first();
    if (message.type === "pong") this.rttMs = performance.now() - message.t;
    else if (message.type === "bye") this.reason = message.reason;
    else this.tell(message.type, message);
  }

  look() {
    if (performance.now() - this.heardAt > SILENT_MS) this.over(lost("the server is silent"));
    this.say({ type: "ping", t: performance.now() });
  }

  /** Tells the wishes; where that was only just done, the newest ones a moment later. */
  wish() {
    this.wishing ??= setTimeout(() => {
      this.wishing = null;
      this.wishedAt = performance.now();
      this.say({ type: "set", ...this.wishes() });
    }, this.wishedAt + WISH_MS - performance.now());
  }

  say(message) {
    if (this.control?.readyState === "open") this.control.send(JSON.stringify(message));
  }

  tell(kind, detail) {
    if (!this.stopping.signal.aborted) this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  over(trouble) {
    this.end(trouble);
    this.close();
  }

  close() {
    this.end(null); // has no effect after the first
    clearInterval(this.watch);
    this.stopping.abort(lost());
    if (this.control) this.control.onclose = null;
    this.pc?.close();
  }
}
