// The live view: camera or screen → stream → boxes, people and timeline.

import { $, announce, button, calm, fitCanvas, h, icon, plural, relabel, toast } from "./dom.js";
import { CAMERA_PX, Grabber, SCREEN_PX, cameras, openCamera, openScreen, possible, screenPossible } from "./capture.js";
import { contain, drawFaces, shownName } from "./draw.js";
import { fillDetectors, fillLabelSets, namesOf, ordered } from "./expressions.js";
import { askedToDraw, tieMeasures } from "./measures.js";
import { Panels } from "./panels.js";
import { Stream } from "./stream.js";
import { sentenceOf } from "./words.js";
import { Recordings } from "./recordings.js";
import { choose, chosen, tie, tieSeconds } from "./settings.js";

const MOST_FPS = 20;
const EASE_MS = 70;
const STALE_MS = 1500;
const RATE_MS = 2000;

const HOW_TO_ALLOW = "Open the site settings, left of the address, allow the camera for this page, then try again.";
const REFUSALS = {
  NotAllowedError: ["off", "The camera is blocked", `The browser did not allow it, or you did not. ${HOW_TO_ALLOW}`],
  NotFoundError: ["off", "No camera found", "Plug one in, or share a screen or tab instead."],
  NotReadableError: ["off", "The camera is busy", "Another program seems to use it. Close that one and try again."],
  OverconstrainedError: ["off", "That camera is not there", "Choose another one in the settings, or try again."],
};

const NOT_SHARED = {
  NotAllowedError: ["screen", "Nothing is shared", "Nothing was chosen, or this computer lets the browser see no screen; its settings for privacy say which programs may."],
  NotFoundError: ["screen", "Nothing to share", "The browser finds no screen, window or tab it could show. Start the camera instead."],
};

/** Build the live view; returns {show, hide}. */
export function createLive() {
  const view = new LiveView();
  return { show: () => view.resume(), hide: () => view.rest() };
}

class LiveView {
  constructor() {
    this.stage = $("#stage");
    this.video = $("#live-video");
    this.overlay = $("#live-overlay");
    this.panels = new Panels("live");
    this.grabber = new Grabber(this.video);
    this.media = null;
    this.stream = null;
    this.state = "idle";
    this.shown = new Map();
    this.answers = [];
    this.beginnings = 0;
    this.recordings = new Recordings($("#recordings"));
    this.recordings.onfail = () => this.record(false);
    this.said = "";
    this.names = [];
    fillLabelSets($("#live-labels"));
    fillDetectors($("#live-detector"));
    this.mirror(chosen("mirror", true));
    $("#live-bars").setAttribute("aria-pressed", String(chosen("bars", false)));
    this.listen();
    this.enter("idle");
    this.useLabels();
  }

  listen() {
    $("#live-pause").onclick = () => (this.state === "paused" ? this.goOn() : this.enter("paused"));
    $("#live-stop").onclick = () => this.stop();
    $("#live-mirror").onclick = () => {
      this.mirror(!this.mirrored);
      choose("mirror", this.mirrored);
    };
    $("#live-bars").onclick = ({ currentTarget }) => {
      currentTarget.setAttribute("aria-pressed", String(!this.bars));
      choose("bars", this.bars);
    };
    $("#live-record").onclick = () => this.record(!this.recording);
    $("#live-mark").onclick = () => this.mark("M");
    addEventListener("keydown", (event) => this.press(event));
    $("#live-device").onchange = () => this.media && this.start(() => openCamera($("#live-device").value));
    tie($("#live-labels"), "labels", () => this.useLabels());
    tie($("#live-detector"), "detector", () => this.configure());
    tieSeconds($("#live-smoothing"), "smoothing", () => this.configure());
    tieMeasures($("#live-measures"), () => this.configure());
    tie($("#live-film"), "film");
    tie($("#live-keys"), "keys");
    this.video.onresize = () => (this.stage.style.aspectRatio = `${this.video.videoWidth} / ${this.video.videoHeight}`);
    addEventListener("pagehide", () => this.stop());
  }

  get bars() {
    return $("#live-bars").getAttribute("aria-pressed") === "true";
  }

  get recording() {
    return Boolean(this.recordings.now);
  }

  get settings() {
    return {
      labels: $("#live-labels").value,
      detector: $("#live-detector").value,
      half_life_s: Number($("#live-smoothing").value),
      attributes: askedToDraw($("#live-measures")),
    };
  }

  configure() {
    this.stream?.configure(this.settings);
  }

  useLabels() {
    this.begin(namesOf($("#live-labels").value));
    this.configure();
  }

  begin(names) {
    this.names = names;
    this.shown.clear();
    this.places = new Map();
    this.panels.begin(names);
  }

  // States ------------------------------------------------------------------------------------------------------

  enter(state, detail = {}) {
    this.state = state;
    this.stage.dataset.state = state;
    const held = this.holdsFocus && document.activeElement === document.body;
    const active = ["running", "paused", "away", "busy", "joining"].includes(state);
    const hadFocus = held || [$("#stage-card"), !active && $("#live-tools")].some((part) => part && part.contains(document.activeElement));
    $("#live-tools").hidden = !active;
    $("#meters").hidden = state !== "running";
    relabel($("#live-pause"), state === "paused" ? "play" : "pause", state === "paused" ? "Go on" : "Pause");
    $("#live-pause").setAttribute("aria-pressed", String(state === "paused"));
    $("#live-pause").disabled = !["running", "paused"].includes(state);
    $("#stage-card").replaceChildren(...this.card(state, detail));
    if (hadFocus) this.moveFocus($("#stage-card button") || $("#live-pause"));
    if (state === "running") this.loop();
  }

  /** Where the keyboard was must not vanish; if the next place cannot have the focus yet, it gets it later. */
  moveFocus(target) {
    target.focus();
    this.holdsFocus = document.activeElement !== target;
  }

  card(state, detail) {
    const start = button("Start camera", () => this.start(() => openCamera($("#live-device").value)), { kind: "primary", symbol: "camera", id: "live-start" });
    const share = screenPossible() && button("Share a screen", () => this.start(openScreen), { symbol: "screen", id: "live-screen" });
    const say = (symbol, title, words, ...buttons) => [
      symbol === "spinner" ? h("span", { class: "spinner", "aria-hidden": "true" }) : icon(symbol, "art"),
      h("h2", {}, title),
      h("p", {}, words),
      buttons.length ? h("div", { class: "row" }, buttons) : "",
    ];
    if (state === "idle" && !possible()) {
      const words = "Browsers allow the camera only on pages that come over HTTPS or from this computer (localhost). Ask the person who runs this server for its https address.";
      return say("lock", "The camera needs a secure address", words);
    }
    if (state === "idle") return say("mark", "Show your face", "Start the camera, and mien shows where faces are and what they express. Frames live in memory only; nothing is stored.", start, share);
    if (state === "asking") return say("spinner", "Waiting for your permission", "The browser asks at the top of the window.");
    if (state === "joining") return say("spinner", "Connecting", "The first image takes a moment.");
    if (state === "paused") return say("pause", "Paused", "Nothing is sent while paused.");
    if (state === "away") return say("plug", "Connection lost", detail.words || "", button("Try now", () => this.stream?.connect(), { symbol: "plug" }));
    if (state === "busy") return say("wait", "The server is busy", `${detail.words}Trying again in a few seconds.`);
    if (state === "refused") {
      const { screen, error } = detail;
      const unknown = ["warn", screen ? "The screen is not shared" : "The camera does not start", error.message || "The browser did not say why."];
      const [symbol, title, words] = (screen ? NOT_SHARED : REFUSALS)[error.name] || unknown;
      if (!screen) relabel(start, "camera", "Try again");
      return say(symbol, title, words, start, share);
    }
    return [];
  }

  // Starting and stopping ---------------------------------------------------------------------------------------

  async start(open) {
    this.drop();
    this.enter("asking");
    announce("Waiting for permission");
    try {
      this.media = await open();
    } catch (error) {
      this.enter("refused", { error, screen: open === openScreen });
      announce($("#stage-card h2").textContent);
      return;
    }
    this.grabber.longest = open === openScreen ? SCREEN_PX : CAMERA_PX;
    const [track] = this.media.getVideoTracks();
    track.onended = () => this.stop();
    const camera = track.getSettings().displaySurface === undefined;
    this.mirror(camera && chosen("mirror", track.getSettings().facingMode !== "environment"));
    if (this.recording) this.film();
    this.video.srcObject = this.media;
    await this.video.play().catch(() => {});
    this.listCameras(track);
    this.begin(this.names);
    this.connect();
  }

  goOn() {
    if (this.stream) this.enter("running");
    else this.connect();
  }

  connect() {
    this.enter("joining");
    const stream = new Stream(this.settings);
    this.stream = stream;
    stream.addEventListener("ready", ({ detail }) => this.welcome(detail));
    stream.addEventListener("faces", ({ detail }) => this.take(detail));
    stream.addEventListener("refused", ({ detail }) => this.complain(detail));
    stream.addEventListener("away", ({ detail }) => this.lose(detail));
    stream.open();
  }

  welcome({ labels, label_set: labelSet }) {
    this.labelSet = labelSet;
    this.begin(ordered(labels.map((label) => label.name))); // the server counts people from 1 again
    this.beginnings += 1;
    if (this.state === "paused" || this.state === "running") return;
    announce(this.state === "away" ? "Connected again" : "Live");
    this.enter("running");
  }

  lose({ seconds, busy, problem }) {
    this.shown.clear();
    if (this.state === "paused") {
      this.stream.close(); // servers end silent streams; going on opens another
      this.stream = null;
      return;
    }
    const words = (problem?.status ? `${sentenceOf(problem)} ` : "") + (busy ? "" : `Trying again in ${plural(Math.ceil(seconds), "second")}; your camera stays on.`);
    if (this.state !== "away") announce(busy ? "The server is busy" : "Connection lost");
    this.enter(busy ? "busy" : "away", { words });
  }

  complain(problem) {
    if (problem.status === 429) return;
    if (this.complaint !== problem.detail) toast(sentenceOf(problem), "bad");
    this.complaint = problem.detail;
  }

  stop() {
    if (!this.media) return;
    this.record(false);
    this.drop();
    this.enter("idle");
    announce("Stopped");
  }

  drop() {
    this.stream?.close();
    this.stream = null;
    this.media?.getTracks().forEach((track) => ((track.onended = null), track.stop()));
    this.media = null;
    this.video.srcObject = null;
    this.stage.style.aspectRatio = "";
    this.shown.clear();
    this.panels.empty();
    fitCanvas(this.overlay);
  }

  /** Another view is shown: nothing is analyzed that nobody sees, unless it is recorded. */
  rest() {
    if (this.state === "running" && !this.recording) {
      this.enter("paused");
      this.rested = true;
    }
  }

  resume() {
    if (this.rested && this.state === "paused") this.goOn();
    this.rested = false;
  }

  async listCameras(track) {
    const found = await cameras().catch(() => []);
    const used = track.getSettings().deviceId;
    $("#live-device").replaceChildren(
      h("option", { value: "" }, "Default camera"),
      ...found.map((device, i) => h("option", { value: device.deviceId, selected: device.deviceId === used }, device.label || `Camera ${i + 1}`)),
    );
  }

  mirror(on) {
    this.mirrored = on;
    $("#live-mirror").setAttribute("aria-pressed", String(on));
    this.video.classList.toggle("mirrored", on);
  }

  // Images out, answers in --------------------------------------------------------------------------------------

  async loop() {
    if (this.looping) return;
    this.looping = true;
    requestAnimationFrame(() => this.paint());
    try {
      while (this.state === "running") {
        const due = (this.grabbedAt || 0) + 1000 / MOST_FPS - performance.now();
        if (this.stream?.free && due <= 0) await this.sendOne();
        await this.grabber.pause(Math.max(4, Math.min(due, 12)));
      }
    } finally {
      this.looping = false;
    }
  }

  async sendOne() {
    const start = performance.now();
    const image = await this.grabber.grab().catch(() => null);
    if (!image || !this.stream?.free || this.state !== "running") return;
    this.grabbedAt = start;
    this.stream.send(image.data);
  }

  take(answer) {
    const now = performance.now();
    this.size = [answer.width, answer.height];
    this.answers.push({ now, delay: now - this.grabbedAt, ms: answer.ms });
    while (this.answers[0].now < now - RATE_MS) this.answers.shift();
    if (this.state !== "running") return;
    const size = { width: answer.width, height: answer.height, across: this.video.videoWidth };
    this.panels.show(answer.faces, now, { source: this.video, size, mirror: this.mirrored });
    this.aim(answer.faces, now);
    if (this.recording) this.keep(answer);
    this.say(answer.faces);
  }

  /** Boxes glide to where the last answer saw them. */
  aim(faces, now) {
    const seen = new Set(faces.map((face) => face.track_id));
    for (const id of this.shown.keys()) if (!seen.has(id)) this.shown.delete(id);
    for (const face of faces) {
      const before = this.shown.get(face.track_id);
      this.shown.set(face.track_id, { face, at: now, box: before && !calm() ? before.box : face.box });
    }
  }

  paint() {
    const now = performance.now();
    const { context, width, height } = fitCanvas(this.overlay);
    const elapsed = now - (this.paintedAt || now);
    this.paintedAt = now;
    if (this.state === "running" && this.size) {
      const step = 1 - Math.exp(-elapsed / EASE_MS);
      const faces = [];
      for (const one of this.shown.values()) {
        if (now - one.at > STALE_MS) continue;
        one.box = one.box.map((value, i) => value + (one.face.box[i] - value) * step);
        faces.push({ ...one.face, box: one.box, seen: one.face.box });
      }
      const place = { ...contain(...this.size, width, height), width, height };
      drawFaces(context, faces, place, { mirror: this.mirrored, bars: this.bars, memory: this.places });
      this.panels.paint(now);
      this.meter(now);
      requestAnimationFrame(() => this.paint());
    } else if (this.state === "running") {
      requestAnimationFrame(() => this.paint());
    }
  }

  meter(now) {
    if (now - (this.meteredAt || 0) < 300) return;
    this.meteredAt = now;
    const recent = this.answers.filter((one) => one.now > now - RATE_MS);
    const span = recent.length > 1 ? (recent[recent.length - 1].now - recent[0].now) / 1000 : 0;
    const mean = (key) => `${Math.round(recent.reduce((sum, one) => sum + one[key], 0) / recent.length)} ms`;
    $("#meter-rate").textContent = span ? ((recent.length - 1) / span).toFixed(1) : "–";
    $("#meter-delay").textContent = recent.length ? mean("delay") : "–";
    $("#meter-server").textContent = recent.length ? mean("ms") : "–";
  }

  say(faces) {
    const words = faces.length ? faces.map((face) => `Person ${face.track_id}: ${shownName(face)}`).join(". ") : "Nobody in the image";
    if (words !== this.said) announce(words);
    this.said = words;
  }

  // Recording -----------------------------------------------------------------------------------------------------

  async record(on) {
    if (on === this.recording) return;
    if (on) await this.recordings.begin();
    else this.recordings.end();
    if (on) this.film();
    $("#recording").hidden = !on;
    $("#live-mark").hidden = !on;
    $('.tabs a[data-view="live"]').classList.toggle("recorded", on);
    $("#live-record").setAttribute("aria-pressed", String(on));
    relabel($("#live-record"), on ? "stop" : "record", on ? "Stop recording" : "Record");
    announce(on ? "Recording" : "The recording has ended; it is kept in this browser");
  }

  film() {
    if (this.media && chosen("film", false)) this.recordings.now.film(this.media);
  }

  keep(answer) {
    this.recordings.now.take(answer, this.grabbedAt, { source: this.sourceName, labels: this.labelSet, names: this.names });
    this.recordings.count();
  }

  mark(words) {
    if (!this.recording) return;
    this.recordings.now.mark(words);
    this.recordings.count();
    toast(`Marker ${words}`);
  }

  press(event) {
    const free = this.recording && $("#live-keys").checked && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (!free || event.repeat || event.target.closest("input, select, textarea, dialog")) return;
    if (/^[1-9mM]$/.test(event.key)) this.mark(event.key.toUpperCase());
  }

  /** Each connection and each change of settings counts people anew, so each is a source of its own. */
  get sourceName() {
    return this.beginnings > 1 ? `live-${this.beginnings}` : "live";
  }
}
