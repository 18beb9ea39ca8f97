// The server's cameras, and what is published under a name: a small picture of each now and then, and the drawn video
// of one where it is asked for.

import { json, request, tokenGiven, whole } from "./api.js";
import { negotiate } from "./rtc.js";
import { lost, Trouble } from "./words.js";

const LIST_MS = 3000;
const PICTURE_MS = 500;
// Large pictures of several cameras, over a slow line.
const PICTURE_WITHIN_MS = 30000;
const AGAIN_MS = 1000;
const OVER = ["ended", "stopped", "failed", "cancelled"];

export class Tiles {
  /** `onTrouble` is called with what keeps the list from coming, and with null when it has come. */
  constructor(section, list, dialog, onTrouble) {
    Object.assign(this, { section, list, dialog, onTrouble, tiles: new Map() });
    this.refresh();
  }

  async refresh() {
    let waitMs = LIST_MS;
    if (document.visibilityState === "visible") {
      try {
        this.show((await json("api/streams")).streams);
        this.onTrouble(null);
      } catch (trouble) {
        this.show([]);
        this.onTrouble(trouble);
        if (trouble.needsToken) {
          await tokenGiven();
          return this.refresh();
        }
        waitMs = againMs(LIST_MS, trouble);
      }
    }
    setTimeout(() => this.refresh(), waitMs);
  }

  show(streams) {
    this.section.hidden = streams.length === 0;
    const names = new Set(streams.map(({ id }) => id));
    for (const [id, tile] of this.tiles) {
      if (names.has(id)) continue;
      tile.item.remove();
      tile.gone = true;
      this.tiles.delete(id);
    }
    for (const stream of streams) {
      const tile = this.tiles.get(stream.id) ?? this.make(stream.id);
      tile.over = OVER.includes(stream.state);
      const { people = 0, fps_out: fps } = stream.figures;
      const state = stream.state === "running" ? `${people} ${people === 1 ? "person" : "people"}, ${fps?.toFixed(0) ?? 0} fps` : stream.state;
      tile.text.textContent = `${stream.id}: ${state}`;
    }
  }

  make(id) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const image = document.createElement("img");
    const text = document.createElement("span");
    button.type = "button";
    image.alt = "";
    button.append(image, text);
    button.onclick = () => this.watch(id);
    item.append(button);
    this.list.append(item);
    const tile = { item, image, text, gone: false, over: false };
    this.tiles.set(id, tile);
    this.pictures(id, tile);
    return tile;
  }

  async pictures(id, tile) {
    while (!tile.gone) {
      let waitMs = PICTURE_MS;
      if (document.visibilityState === "visible" && !this.dialog.open && !tile.over) {
        try {
          const blob = await whole((await request(`api/streams/${id}/picture.jpg`, {}, PICTURE_WITHIN_MS)).blob());
          URL.revokeObjectURL(tile.image.src);
          tile.image.src = URL.createObjectURL(blob);
        } catch (trouble) {
          waitMs = againMs(PICTURE_MS, trouble); // what it is, the tile's text shows
        }
      }
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
    URL.revokeObjectURL(tile.image.src);
  }

  async watch(id) {
    const [video, status] = [this.dialog.querySelector("video"), this.dialog.querySelector("[role=status]")];
    this.dialog.querySelector("h2").textContent = id;
    status.textContent = "Connecting …";
    const closed = new Promise((resolve) => this.dialog.addEventListener("close", () => resolve(null), { once: true }));
    this.dialog.showModal();
    let trouble;
    while ((trouble = await Promise.race([closed, play(id, video, status, closed)]))) {
      status.textContent = trouble.message;
      if (!trouble.retry) break;
      // As one's own camera does, it comes back by itself.
      const waited = new Promise((resolve) => setTimeout(resolve, againMs(AGAIN_MS * (1 + Math.random()), trouble), "waited"));
      if (!(await Promise.race([closed, waited]))) break;
    }
    video.srcObject = null;
  }
}

/** When to ask again: no sooner than the server says. */
const againMs = (usualMs, trouble) => Math.max(usualMs, trouble.waitMs ?? 0);

/** Plays a camera until it is not wanted any more, or there is trouble: resolves with it. */
async function play(id, video, status, unwanted) {
  const config = await Promise.race([unwanted, json("api/config").catch((trouble) => trouble)]);
  if (config === null || config instanceof Trouble) return config;
  const [pc, ending] = [new RTCPeerConnection({ iceServers: config.ice_servers }), new AbortController()];
  pc.addTransceiver("video", { direction: "recvonly" });
  pc.ontrack = ({ track }) => {
    video.srcObject = new MediaStream([track]);
    video.play().catch(() => undefined);
  };
  const broken = new Promise((resolve) => {
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === "connected") status.textContent = "";
      if (["failed", "disconnected"].includes(pc.connectionState)) resolve(lost());
    };
  });
  const refused = new Promise((resolve) => {
    negotiate(pc, `whep/${id}`, ending.signal).catch(resolve);
  });
  const trouble = await Promise.race([unwanted, broken, refused]);
  ending.abort();
  pc.close();
  return trouble;
}
