// The page of one video: the player with boxes, a timeline to click, who showed what, and the downloads.

import { $, bytes, button, fitCanvas, h, icon, moment, percent, relabel, span, toast } from "./dom.js";
import { address, getJson, request, signed, tell, token } from "./api.js";
import { contain, drawFaces, faceOf } from "./draw.js";
import { fillLegend, look, mixBar, ordered } from "./expressions.js";
import { noteOf } from "./jobs.js";
import { drawPortrait, portrait } from "./faces.js";
import { paintLane } from "./timeline.js";
import { problemBox, technicalOf } from "./words.js";

const HOLD_S = 0.6;
const STEP_S = 1;
const MOST_PEOPLE = 12;
const SEEK_MS = 4000;
const SPEEDS = [0.25, 0.5, 1, 1.5, 2];
const DOWNLOADS = { csv: "CSV", jsonl: "JSONL", parquet: "Parquet", mp4: "Annotated video" };

/** Where there is a token, download from an address made for this click. */
async function download(event, path) {
  if (!token()) return;
  event.preventDefault();
  try {
    h("a", { href: await signed(path), download: true }).click();
  } catch (problem) {
    tell(problem);
  }
}

export class VideoPage {
  constructor(id) {
    this.id = id;
    this.place = $("#video-page");
    this.closed = false;
    this.rows = { times: [], faces: [] };
    this.people = [];
    this.best = new Map();
    this.places = new Map();
    this.load();
  }

  close() {
    this.closed = true;
    this.abort?.abort();
    this.sized?.disconnect();
    this.video?.removeAttribute("src");
    this.video?.load();
    this.place.replaceChildren();
  }

  async load() {
    if (!this.waited) this.wait("Loading the video");
    this.abort = new AbortController();
    const { signal } = this.abort;
    try {
      const job = await getJson(`v1/jobs/${encodeURIComponent(this.id)}`, { signal });
      if (job.state !== "done") return this.notYet(job);
      const summary = await getJson(job.results.summary, { signal });
      if (this.waited) this.wait("Loading the video");
      await this.read(await request(job.results.jsonl, { signal }), summary);
      if (!this.closed) this.build(job, summary);
    } catch (problem) {
      if (!this.closed) this.place.replaceChildren(this.back(), h("h1", { tabindex: "-1" }, "Video"), problemBox(problem));
    }
    return undefined;
  }

  back() {
    return h("p", {}, h("a", { class: "button small quiet", href: "#videos" }, icon("back"), "All videos"));
  }

  wait(words) {
    this.note = h("p", {}, "");
    this.place.replaceChildren(this.back(), h("div", { class: "notice", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), h("h1", { tabindex: "-1" }, words), this.note));
  }

  notYet(job) {
    this.waited = true;
    this.place.replaceChildren(this.back(), h("div", { class: "notice" }, icon(job.state === "failed" ? "warn" : "wait", "drop-art"), h("h1", { tabindex: "-1" }, job.source), h("p", {}, noteOf(job)), job.error && technicalOf(job.error)));
    if (["queued", "running"].includes(job.state)) setTimeout(() => this.closed || this.load(), 1500);
  }

  /** Read the rows as they come, grouped by frame and by person. */
  async read(answer, summary) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const people = new Map();
    let rest = "";
    let size = 0;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const lines = (rest + part.value).split("\n");
      rest = lines.pop();
      size += part.value.length;
      this.note.textContent = `${bytes(size)} of rows`;
      for (const line of lines) if (line) this.take(JSON.parse(line), people);
    }
    if (rest.trim()) this.take(JSON.parse(rest), people);
    this.people = summary.tracks.map((track) => ({ ...track, points: people.get(track.track_id) || [], best: this.best.get(track.track_id) })).filter((track) => track.points.length);
    this.people.sort((a, b) => b.seconds - a.seconds);
  }

  take(row, people) {
    if (row.frame === null || row.frame === undefined || row.error) return;
    const { times, faces } = this.rows;
    if (times[times.length - 1] !== row.time_s) {
      times.push(row.time_s);
      faces.push([]);
    }
    if (row.x1 === null || row.x1 === undefined) return;
    this.names ??= ordered(Object.keys(row).filter((key) => key.startsWith("smooth_")).map((key) => key.slice(7)));
    const face = faceOf(row, this.names);
    faces[faces.length - 1].push(face);
    if (!people.has(row.track_id)) people.set(row.track_id, []);
    const worth = face.score * (face.box[2] - face.box[0]);
    if (!(this.best.get(row.track_id)?.worth >= worth)) this.best.set(row.track_id, { worth, time: row.time_s, box: face.box });
    people.get(row.track_id).push({ t: row.time_s, p: this.names.map((name) => face.smoothed?.[name] || 0) });
  }

  // The page ------------------------------------------------------------------------------------------------------

  build(job, summary) {
    this.names ??= [];
    this.seconds = Math.max(summary.end_s, this.rows.times.at(-1) || 0, 0.1);
    this.video = h("video", { playsinline: true, preload: "auto", "aria-label": job.source });
    this.overlay = h("canvas", { "aria-hidden": "true" });
    this.stage = h("div", { class: "stage video-stage", "data-state": "running" }, this.video, this.overlay);
    this.place.replaceChildren(
      h("div", { class: "video-head" }, h("a", { class: "round", href: "#videos", "aria-label": "All videos" }, icon("back")), h("h1", { tabindex: "-1" }, job.source)),
      h("div", { class: "video" },
        h("div", { class: "video-main" }, this.player(), this.timelinePanel()),
        h("aside", { class: "live-side" }, this.peoplePanel(summary), this.downloadPanel(job))),
    );
    this.attach(job);
    this.sized = new ResizeObserver(() => this.paintAll());
    this.sized.observe(this.stage);
    if (!location.hash.includes(this.id)) return;
    this.place.querySelector("h1").focus({ preventScroll: true });
  }

  /** The stage with its controls: below it, where they hide no face and no label. */
  player() {
    const { video } = this;
    const turn = () => (video.paused ? video.play().catch(() => {}) : video.pause());
    const play = button("", turn, { kind: "primary", "data-do": "play" });
    const mute = h("button", { class: "round", type: "button", "data-do": "mute", click: () => (video.muted = !video.muted) });
    const speed = h("select", { "aria-label": "Speed", change: () => (video.playbackRate = Number(speed.value)) }, SPEEDS.map((one) => h("option", { value: one, selected: one === 1 }, `${one}×`)));
    const full = h("button", { class: "round", type: "button", "aria-label": "Whole screen", hidden: !document.fullscreenEnabled, click: () => (document.fullscreenElement ? document.exitFullscreen() : whole.requestFullscreen()) }, icon("full"));
    this.time = h("span", { class: "player-time" });
    const whole = h("div", { class: "player" }, this.stage, h("div", { class: "player-bar", role: "group", "aria-label": "Player" }, play, this.time, speed, mute, full));
    video.onplay = video.onpause = video.onended = () => relabel(play, video.paused ? "play" : "pause", video.paused ? "Play" : "Pause");
    video.onvolumechange = () => {
      mute.replaceChildren(icon(video.muted ? "mute" : "sound"));
      mute.setAttribute("aria-label", video.muted ? "Sound on" : "Sound off");
    };
    video.onpause();
    video.onvolumechange();
    this.stage.onclick = turn;
    return whole;
  }

  attach(job) {
    const { video } = this;
    const source = job.results.video || job.results.mp4;
    this.overlaid = Boolean(job.results.video);
    if (!source) return this.fallBack(job);
    this.open(source);
    video.onerror = () => (this.loaded && token() ? this.reopen() : this.fallBack(job));
    video.onloadedmetadata = () => {
      this.loaded = true;
      if (!video.videoWidth) return this.fallBack(job); // it knows the sound, but not the images
      this.stage.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
      if (this.overlaid && !this.shownFaces) this.showFaces();
      return this.paintAll();
    };
    video.onseeked = video.ontimeupdate = () => this.show(video.currentTime);
    const tick = (time) => {
      if (this.closed) return;
      this.show(time);
      request();
    };
    const request = video.requestVideoFrameCallback
      ? () => video.requestVideoFrameCallback((_, { mediaTime }) => tick(mediaTime))
      : () => requestAnimationFrame(() => tick(video.currentTime));
    return request();
  }

  /** Put an image of each person beside the name, out of the moment in which the face is seen best. */
  async showFaces() {
    this.shownFaces = true;
    const video = h("video", { muted: true, preload: "auto", src: this.video.src });
    for (const { best, image } of this.people.slice(0, MOST_PEOPLE)) {
      if (this.closed) break;
      const there = new Promise((resolve, reject) => {
        video.onseeked = resolve;
        video.onerror = () => reject(new Error("not to be played"));
        setTimeout(() => reject(new Error("too slow")), SEEK_MS);
      });
      video.currentTime = best.time;
      try {
        await there;
      } catch {
        break; // the emoji stays
      }
      drawPortrait(image, video, { width: video.videoWidth, height: video.videoHeight, across: video.videoWidth }, best.box);
    }
    video.removeAttribute("src");
    video.load();
  }

  open(path) {
    this.loaded = false;
    this.path = path;
    return signed(path).then((url) => (this.video.src = url)).catch(tell);
  }

  /** Load the video from a new address and go on where it was: the old address may be over. */
  async reopen() {
    const { video } = this;
    const { currentTime, paused } = video;
    await this.open(this.path);
    const goOn = () => {
      video.currentTime = currentTime;
      if (!paused) video.play();
    };
    video.addEventListener("loadedmetadata", goOn, { once: true });
  }

  /** The browser cannot play the video as it was sent: show the annotated one, which it can. */
  fallBack(job) {
    if (!this.overlaid || !job.results.mp4) {
      const why = job.results.video || job.results.mp4 ? "This browser cannot play the video" : "The video was not kept";
      this.stage.replaceChildren(h("div", { class: "stage-card" }, icon("warn", "art"), h("h2", {}, why), h("p", {}, "The timeline and the downloads are there all the same.")));
      return;
    }
    this.overlaid = false;
    this.open(job.results.mp4);
  }

  timelinePanel() {
    this.lanes = this.people.slice(0, MOST_PEOPLE).map((person) => {
      const canvas = h("canvas", { role: "img", "aria-label": `Person ${person.track_id}, mostly ${person.dominant}` });
      const head = h("div", { class: "lane-head" }, h("b", {}, `Person ${person.track_id}`), h("span", {}, person.dominant));
      return { person, canvas, element: h("div", { class: "lane" }, head, canvas) };
    });
    this.head = h("div", { class: "head" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.scrub = h("div", { class: "scrub", role: "slider", tabindex: "0", "aria-label": "Position in the video", "aria-valuemin": 0, "aria-valuemax": Math.round(this.seconds), "aria-valuenow": 0 }, this.head, this.tip);
    this.listen();
    const legend = h("ul", { class: "legend", "aria-label": "Colours" });
    fillLegend(legend, this.names);
    const body = this.lanes.length
      ? [h("div", { class: "track" }, this.lanes.map((lane) => lane.element), this.scrub), h("div", { class: "axis", "aria-hidden": "true" }, [0, 0.25, 0.5, 0.75, 1].map((share) => h("span", {}, this.at(share * this.seconds)))), legend]
      : [h("p", { class: "empty" }, "Nobody was found in this video.")];
    const hint = this.people.length > MOST_PEOPLE ? `the ${MOST_PEOPLE} seen longest of ${this.people.length}` : "click to go there";
    return h("section", { class: "panel", "aria-label": "Timeline" }, h("div", { class: "panel-head" }, h("h2", {}, "Timeline"), h("span", { class: "hint" }, this.lanes.length ? hint : "")), body);
  }

  listen() {
    const { scrub } = this;
    const at = (event) => {
      const box = scrub.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * this.seconds;
    };
    scrub.onpointerdown = (event) => {
      scrub.setPointerCapture(event.pointerId);
      this.seek(at(event));
    };
    scrub.onpointermove = (event) => {
      if (event.buttons) this.seek(at(event));
      this.tip.hidden = false;
      this.tip.textContent = this.at(at(event));
      this.tip.style.left = `${(100 * at(event)) / this.seconds}%`;
    };
    scrub.onpointerleave = () => (this.tip.hidden = true);
    scrub.onkeydown = (event) => {
      const now = this.video.currentTime;
      const goals = { ArrowLeft: now - STEP_S, ArrowDown: now - STEP_S, ArrowRight: now + STEP_S, ArrowUp: now + STEP_S, PageDown: now - 10 * STEP_S, PageUp: now + 10 * STEP_S, Home: 0, End: this.seconds };
      if (event.key === " ") this.video.paused ? this.video.play() : this.video.pause();
      else if (event.key in goals) this.seek(goals[event.key]);
      else return;
      event.preventDefault();
    };
  }

  /** Return a moment in words. */
  at(time) {
    return moment(time, this.seconds);
  }

  seek(time) {
    this.video.currentTime = Math.max(0, Math.min(this.seconds, time));
    this.show(this.video.currentTime);
  }

  peoplePanel(summary) {
    const items = this.people.slice(0, MOST_PEOPLE).map((person) => this.person(person));
    const words = `${span(summary.seconds)}, ${summary.people} ${summary.people === 1 ? "person" : "people"}`;
    return h("section", { class: "panel", "aria-label": "People" }, h("div", { class: "panel-head" }, h("h2", {}, "People"), h("span", { class: "hint" }, words)),
      h("ul", { class: "people" }, items.length ? items : h("li", { class: "empty" }, "Nobody was found.")));
  }

  person(person) {
    const shares = Object.entries(person.share).filter(([, share]) => share >= 0.005).sort((a, b) => b[1] - a[1]);
    const words = shares.map(([name, share]) => `${name} ${percent(share)}`).join(", ");
    const changes = person.transitions.reduce((sum, one) => sum + one.count, 0);
    const face = (person.image = portrait());
    face.emoji.textContent = look(person.dominant).emoji;
    face.element.style.background = `${look(person.dominant).colour}33`;
    return h("li", { class: "person" },
      h("div", { class: "person-head" }, face.element, h("div", {},
        h("div", { class: "person-name" }, `Person ${person.track_id}`),
        h("div", { class: "person-note" }, `${this.at(person.first_s)}–${this.at(person.last_s)} · ${changes === 1 ? "1 change" : `${changes} changes`}`))),
      mixBar(person.share, words),
      h("ul", { class: "shares" }, shares.slice(0, 4).map(([name, share]) => h("li", { class: "prob most" }, h("span", {}, name), h("span", { class: "person-note" }, this.longest(person, name)), h("span", { class: "prob-value" }, percent(share))))));
  }

  /** Where the longest span of an expression begins, as a button that goes there. */
  longest(person, name) {
    const found = person.longest_spans.find((one) => one.expression === name);
    if (!found) return "";
    const button = h("button", { class: "jump", type: "button", click: () => this.seek(found.start_s) }, `longest at ${this.at(found.start_s)}`);
    button.setAttribute("aria-label", `longest at ${this.at(found.start_s)}: go to this ${name} moment of person ${person.track_id}`);
    return button;
  }

  downloadPanel(job) {
    const links = Object.entries(DOWNLOADS).filter(([kind]) => job.results[kind]).map(([kind, words]) =>
      h("a", { class: "button small", href: address(job.results[kind]), download: true, "data-kind": kind, click: (event) => download(event, job.results[kind]) }, icon("down"), words));
    return h("section", { class: "panel", "aria-label": "Downloads" }, h("div", { class: "panel-head" }, h("h2", {}, "Downloads")), h("div", { class: "downloads" }, links), this.sharing(job));
  }

  sharing(job) {
    const link = h("input", { type: "text", readonly: true, value: location.href, "aria-label": "Link to this video", focus: () => link.select() });
    const copy = h("button", { class: "button small", type: "button", hidden: !navigator.clipboard, click: () => navigator.clipboard.writeText(link.value).then(() => toast("The link is copied."), () => link.select()) }, "Copy");
    const who = `Only this browser lists your videos. Whoever has this link${token() ? " and the server’s token" : ""} sees this one${job.expires ? ` for ${span((new Date(job.expires) - Date.now()) / 1000)} more` : ""}, and cannot remove it.`;
    return h("details", { class: "sharing" }, h("summary", {}, "Share"), h("p", { class: "hint" }, who), h("div", { class: "row" }, link, copy));
  }

  // Painting ------------------------------------------------------------------------------------------------------

  paintAll() {
    const { times } = this.rows;
    const gap = times.length > 1 ? Math.max(0.5, (2.5 * (times.at(-1) - times[0])) / times.length) : 0.5;
    for (const { person, canvas } of this.lanes) paintLane(canvas, person.points, this.names, this.seconds, gap);
    this.show(this.video.currentTime);
  }

  show(time) {
    this.time.textContent = `${this.at(time)} / ${this.at(this.seconds)}`;
    const share = Math.max(0, Math.min(1, time / this.seconds));
    this.head.style.left = `${100 * share}%`;
    this.scrub.setAttribute("aria-valuenow", String(Math.round(time)));
    this.scrub.setAttribute("aria-valuetext", this.at(time));
    const { context, width, height } = fitCanvas(this.overlay);
    if (!this.overlaid || !this.video.videoWidth) return;
    const place = { ...contain(this.video.videoWidth, this.video.videoHeight, width, height), width, height };
    drawFaces(context, this.facesAt(time), place, { memory: this.places });
  }

  /** The faces of the last analyzed frame at or before a time. */
  facesAt(time) {
    const { times, faces } = this.rows;
    let [low, high] = [0, times.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= time + 0.002) low = middle + 1;
      else high = middle;
    }
    return low && time - times[low - 1] < HOLD_S ? faces[low - 1] : [];
  }
}
