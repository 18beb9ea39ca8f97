// The page: what is pressed, and what is shown.

import { onToken, setToken, takeToken } from "./api.js";
import { listCameras, openCamera, showCamera } from "./camera.js";
import { drawFrame } from "./draw.js";
import { DrawnClock } from "./drawnclock.js";
import { FrameClock } from "./frameclock.js";
import { Frames } from "./frames.js";
import { Panel } from "./panel.js";
import { Session } from "./session.js";
import { Tiles } from "./tiles.js";
import { Trouble } from "./words.js";

// A frame waits for its skeleton no longer than this: the picture is never late.
const PATIENCE_MS = 250;
const SAVED = 300;
const REFUSED_MS = 5000;

const $ = (id) => document.getElementById(id);
const [canvas, rendered, notice, status] = ["canvas", "rendered", "notice", "status"].map($);
const panel = new Panel($("figures"));
const source = document.createElement("video");
source.muted = source.playsInline = true;

// Of the last Start, until Stop: what it has begun ends with it.
let run = null;

const state = {
  session: null,
  clock: null,
  drawn: null,
  records: [], // the last poses, for saving
  latencies: [], // since the panel was shown last
  inferences: [],
  shownAt: 0,
  peopleSaid: null,
  waiting: false, // for a token, to start
  away: false, // is the server, as the notice says
  fading: null, // the timer that takes away what was refused
};

const wishes = () => ({
  mode: document.querySelector("input[name=mode]:checked").value,
  budget_ms: $("budget-default").checked ? null : Number($("budget").value), // null: the server's
  mirror: $("mirror").checked,
  smooth: $("smooth").checked,
  ids: $("ids").checked,
  confidence: Number($("confidence").value),
});

const frames = new Frames(source, (frame) => {
  // Without poses for a while (or with none yet) the picture is shown as it comes.
  if (performance.now() - state.shownAt > PATIENCE_MS) drawFrame(canvas, frame.image, null, wishes());
});

function say(text, kind = "idle") {
  if (status.textContent !== text) status.textContent = text;
  status.dataset.state = kind;
}

function complain(trouble) {
  const words = trouble?.message ?? "";
  notice.hidden = trouble === null;
  if (notice.textContent !== words) notice.textContent = words; // else it would be read out again
}

/** A wish was refused, and all goes on: that is no news for long. */
function refused(words) {
  complain(new Trouble(words));
  clearTimeout(state.fading); // it may be the same again
  state.fading = setTimeout(() => notice.textContent === words && complain(null), REFUSED_MS);
}

function askForToken(focus) {
  $("token-form").hidden = false;
  if (focus) $("token").focus();
}

/** What the list of cameras meets. While our own camera is on, its session says what is wrong. */
function listed(trouble) {
  if (trouble?.needsToken) {
    if (trouble.wrongToken || state.away) complain(trouble);
    state.away = false;
    askForToken(trouble.wrongToken);
    return;
  }
  if (run !== null || !(notice.hidden || state.away)) return; // what the camera says stays
  complain(trouble);
  state.away = trouble !== null;
}

function posed({ record, at }) {
  // Each session has a name of its own: neither what is saved nor the clocks of times mix several.
  if (state.records.at(-1)?.stream !== record.stream) state.records = [];
  state.records.push(record);
  if (state.records.length > SAVED) state.records.shift();
  state.inferences.push(record.inference_ms);
  const rtpMs = state.clock.milliseconds(record.rtp);
  const bound = at - record.age_ms - (state.session.rttMs ?? 0) / 2;
  state.clock.observe(rtpMs, bound, frames.times);
  const captured = state.clock.capturedAt(rtpMs);
  const frame = captured === null ? null : frames.at(captured);
  if (frame === null || wishes().mode !== "overlay") return;
  requestAnimationFrame(() => show(frame, record));
}

function show(frame, record) {
  if (frame.shown || frame.image.width === 0 || frame.at < (state.lastAt ?? 0)) return; // it came twice, or after a later one
  frame.shown = true;
  state.lastAt = frame.at;
  drawFrame(canvas, frame.image, record, wishes());
  state.shownAt = performance.now();
  state.latencies.push(state.shownAt - frame.at);
  document.dispatchEvent(new CustomEvent("streampose:shown", { detail: { record, image: frame.image, capturedAt: frame.at, shownAt: state.shownAt } }));
}

function watchRendered() {
  if (!("requestVideoFrameCallback" in rendered)) return;
  rendered.requestVideoFrameCallback((now, about) => {
    const record = state.drawn?.record(state.records, about.rtpTimestamp) ?? null;
    const captured = record === null ? null : state.clock?.capturedAt(state.clock.milliseconds(record.rtp));
    if (wishes().mode === "rendered" && captured !== null && captured !== undefined) state.latencies.push(performance.now() - captured);
    watchRendered();
  });
}

function figures(stats) {
  const middle = (values) => (values.length === 0 ? null : values.sort((a, b) => a - b)[values.length >> 1]);
  const drops = stats.dropped + stats.skipped + stats.replaced + stats.unsent;
  panel.show({
    latency: middle(state.latencies),
    fps_in: stats.fps_in,
    fps_out: stats.fps_out,
    inference: middle(state.inferences),
    batch: stats.batch,
    drops: Number.isFinite(drops) ? drops : null,
    people: stats.people,
  });
  state.latencies = [];
  state.inferences = [];
  if (stats.people !== state.peopleSaid && stats.people !== undefined) {
    state.peopleSaid = stats.people;
    canvas.setAttribute("aria-label", `Your camera, ${stats.people === 1 ? "1 person" : `${stats.people} people`} found`);
  }
  if (stats.models !== undefined) models(stats.models);
}

function models({ names, current, loading, error }) {
  const select = $("model");
  if ([...select.options].map(({ value }) => value).join() !== names.join())
    select.replaceChildren(...names.map((name) => new Option(name, name)));
  if (document.activeElement !== select || loading === null) select.value = loading ?? current;
  select.disabled = loading !== null;
  $("model-hint").textContent = loading !== null ? `${loading} is being loaded …` : (error ?? "of all visitors");
}

/** What only a session can show or do. */
function parted() {
  panel.clear();
  $("model").disabled = true;
}

function mode() {
  const drawn = wishes().mode === "rendered";
  rendered.hidden = !drawn;
  canvas.hidden = drawn;
}

async function once(camera, signal) {
  const session = (state.session = new Session(camera, wishes));
  state.clock = new FrameClock();
  state.drawn = new DrawnClock();
  state.lastAt = 0;
  session.addEventListener("pose", ({ detail }) => posed(detail));
  session.addEventListener("stats", ({ detail }) => figures(detail));
  session.addEventListener("hello", ({ detail }) => models(detail.models));
  session.addEventListener("error", ({ detail }) => refused(detail.message));
  session.addEventListener("video", ({ detail }) => {
    rendered.srcObject = detail;
    rendered.play().catch(() => undefined);
  });
  await session.connect();
  signal.throwIfAborted();
  say("Live", "live");
  complain(null);
  $("save").disabled = false;
  const trouble = await session.ended;
  if (trouble !== null) throw trouble;
}

async function start() {
  run?.abort();
  const mine = (run = new AbortController());
  const { signal } = mine;
  const stopped = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  stopped.catch(() => undefined);
  const unlessStopped = (work) => Promise.race([work, stopped]);
  $("start").textContent = "Stop";
  state.waiting = state.away = false;
  complain(null);
  say("Opening the camera …");
  let camera = null;
  try {
    camera = await openCamera($("camera").value);
    signal.throwIfAborted();
    $("camera-choice").hidden = (await unlessStopped(listCameras($("camera"), camera))) < 2;
    camera.getVideoTracks()[0].onended = () => run === mine && stop(new Trouble("The camera was unplugged or taken away. Press Start to try again."));
    await unlessStopped(showCamera(source, camera));
    frames.start();
    for (let tries = 0; ; tries++) {
      say(tries === 0 ? "Connecting …" : `Connecting again (${tries}) …`);
      const began = performance.now();
      try {
        await unlessStopped(once(camera, signal));
      } catch (trouble) {
        signal.throwIfAborted();
        if (!(trouble instanceof Trouble) || !trouble.retry) throw trouble;
        complain(trouble);
        say("Not connected", "bad");
        parted();
        if (performance.now() - began > 10000) tries = 0;
        // Full jitter: pages of many visitors do not come back at the same moment.
        const waitMs = Math.max(trouble.waitMs, Math.random() * Math.min(8000, 500 * 2 ** tries));
        await unlessStopped(new Promise((resolve) => setTimeout(resolve, waitMs)));
      }
    }
  } catch (trouble) {
    if (signal.aborted) return; // what there was to say has been said
    stop(trouble);
    if (trouble.needsToken) {
      state.waiting = true;
      askForToken(true);
    }
    if (!(trouble instanceof Trouble)) throw trouble;
  } finally {
    camera?.getTracks().forEach((track) => track.stop());
  }
}

function stop(trouble = null) {
  run?.abort();
  run = null;
  state.session?.close();
  state.session = null;
  frames.stop();
  parted();
  $("start").textContent = "Start";
  say(trouble === null ? "Stopped. The camera is off." : "Stopped", trouble === null ? "idle" : "bad");
  complain(trouble);
  canvas.setAttribute("aria-label", "No picture");
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(state.records.map((record) => `${JSON.stringify(record)}\n`)));
  link.download = "poses.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function changed() {
  const now = wishes();
  $("budget-out").textContent = now.budget_ms === null ? "the server’s" : `${now.budget_ms} ms`;
  $("confidence-out").textContent = now.confidence.toFixed(2);
  mode();
  state.session?.wish();
}

$("start").onclick = () => (run !== null ? stop() : start());
$("save").onclick = save;
$("camera").onchange = () => {
  if (run === null) return;
  stop();
  setTimeout(start); // by then the other one is let go of: phones open one at a time
};
$("model").onchange = ({ target }) => state.session?.say({ type: "model", name: target.value });
for (const id of ["mirror", "smooth", "ids", "confidence", "budget-default"]) $(id).onchange = changed;
$("budget").onchange = () => {
  $("budget-default").checked = false;
  changed();
};
for (const radio of document.querySelectorAll("input[name=mode]")) radio.onchange = changed;
$("token-form").onsubmit = (event) => {
  event.preventDefault();
  setToken($("token").value);
  $("token").value = "";
};
onToken(() => {
  $("token-form").hidden = true;
  complain(null);
  if (state.waiting) start();
});
addEventListener("hashchange", takeToken);
addEventListener("pagehide", () => state.session?.close());
takeToken();
say("Ready. Your camera stays off until you press Start.");
mode();
watchRendered();
new Tiles($("cameras"), $("tiles"), $("watch"), listed);
