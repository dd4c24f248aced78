// The page of one video: the player with boxes, a timeline to click, who showed what, and the downloads.

import { $, bytes, button, fitCanvas, h, icon, moment, relabel, span, toast } from "./dom.js";
import { address, getJson, request, signed, tell, token } from "./api.js";
import { contain, drawFaces } from "./draw.js";
import { noteOf } from "./jobs.js";
import { drawPortrait } from "./faces.js";
import { Note } from "./notes.js";
import { Persons } from "./persons.js";
import { TruthPanel } from "./truth.js";
import { VideoData } from "./video-data.js";
import { VideoTimeline } from "./video-timeline.js";
import { problemBox, technicalOf } from "./words.js";

const MOST_PEOPLE = 12;
const SEEK_MS = 4000;
const SPEEDS = [0.25, 0.5, 1, 1.5, 2];
const DOWNLOADS = { csv: "CSV", jsonl: "JSONL", parquet: "Parquet", summary: "Summary", mp4: "Annotated video" };
const NOTES = ["people", "truth", "events"];

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
    this.data = new VideoData();
    this.people = [];
    this.notes = Object.fromEntries(NOTES.map((kind) => [kind, new Note(id, kind)]));
    this.places = new Map();
    this.load();
  }

  close() {
    this.closed = true;
    this.abort?.abort();
    this.sized?.disconnect();
    document.removeEventListener("keydown", this.keys);
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
      if (this.waited) this.wait("Loading the video");
      await Promise.all(NOTES.map((kind) => this.notes[kind].load(signal)));
      await this.data.read(await request(job.results.jsonl, { signal }), (size) => (this.note.textContent = `${bytes(size)} of rows`));
      const summary = await this.summary(job);
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

  /** Return the summary, by the people as they were corrected, where somebody did. */
  summary(job) {
    const path = this.notes.people.value.length ? `v1/jobs/${job.id}/corrected.json` : job.results.summary;
    return getJson(path, { signal: this.abort.signal });
  }

  // The page ------------------------------------------------------------------------------------------------------

  build(job, summary) {
    this.seconds = Math.max(summary.end_s, this.data.times.at(-1) || 0, 0.1);
    this.persons = new Persons(this.data, this.notes.people, this.seconds);
    this.timeline = new VideoTimeline(this.data, this.seconds);
    this.truth = new TruthPanel(job, this.data, this.notes, this.seconds, download);
    this.downloads = h("div", { class: "downloads" });
    this.video = h("video", { playsinline: true, preload: "auto", "aria-label": job.source });
    this.overlay = h("canvas", { "aria-hidden": "true" });
    this.stage = h("div", { class: "stage video-stage", "data-state": "running" }, this.video, this.overlay);
    this.place.replaceChildren(
      h("div", { class: "video-head" }, h("a", { class: "round", href: "#videos", "aria-label": "All videos" }, icon("back")), h("h1", { tabindex: "-1" }, job.source)),
      h("div", { class: "video" },
        h("div", { class: "video-main" }, this.player(), this.timeline.element, this.truth.element),
        h("aside", { class: "live-side" }, this.persons.element, this.downloadPanel(job))),
    );
    this.listen(job);
    this.setPeople(job, summary);
    this.attach(job);
    this.sized = new ResizeObserver(() => this.paintAll());
    this.sized.observe(this.stage);
    if (!location.hash.includes(this.id)) return;
    this.place.querySelector("h1").focus({ preventScroll: true });
  }

  listen(job) {
    for (const part of [this.persons, this.timeline, this.truth]) part.addEventListener("seek", ({ detail }) => this.seek(detail));
    this.timeline.addEventListener("play", () => this.turn());
    this.truth.addEventListener("draft", ({ detail }) => this.timeline.showSpans(detail));
    this.notes.events.addEventListener("change", () => this.timeline.showEvents(this.notes.events.value));
    this.timeline.showEvents(this.notes.events.value);
    this.notes.people.addEventListener("change", () => this.regroup(job));
    this.keys = (event) => this.truth.key(event);
    document.addEventListener("keydown", this.keys);
  }

  /** People are others now: somebody named, merged or split them. */
  async regroup(job) {
    try {
      const summary = await this.summary(job);
      if (!this.closed) this.setPeople(job, summary);
    } catch (problem) {
      if (!this.closed) tell(problem);
    }
  }

  setPeople(job, summary) {
    this.data.setWho(this.notes.people.value);
    this.people = this.data.people(summary);
    this.timeline.show(this.people, MOST_PEOPLE);
    this.persons.show(this.people, MOST_PEOPLE);
    this.truth.show(this.people);
    this.places.clear();
    this.fillDownloads(job);
    if (this.loaded) this.showFaces();
    this.show(this.video.currentTime);
  }

  turn() {
    return this.video.paused ? this.video.play().catch(() => {}) : this.video.pause();
  }

  /** The stage with its controls: below it, where they hide no face and no label. */
  player() {
    const { video } = this;
    const play = button("", () => this.turn(), { kind: "primary", "data-do": "play" });
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
    this.stage.onclick = () => this.turn();
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
    if (!this.overlaid) return;
    const video = h("video", { muted: true, preload: "auto", src: this.video.src });
    for (const { best, image } of this.people.slice(0, MOST_PEOPLE)) {
      if (this.closed || !image.element.isConnected) break;
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

  /** Return a moment in words. */
  at(time) {
    return moment(time, this.seconds);
  }

  seek(time) {
    const to = Math.max(0, Math.min(this.seconds, time));
    this.video.currentTime = to;
    this.show(this.video.readyState ? this.video.currentTime : to); // a video that was not kept has a timeline all the same
  }

  downloadPanel(job) {
    return h("section", { class: "panel", "aria-label": "Downloads" }, h("div", { class: "panel-head" }, h("h2", {}, "Downloads")), this.downloads, this.sharing(job));
  }

  /** Fill in the links; where people were named, tables have the names in a column of their own. */
  fillDownloads(job) {
    const named = this.notes.people.value.length > 0;
    const paths = { ...job.results, summary: job.results.summary };
    if (named) for (const [kind, end] of Object.entries({ csv: "csv", jsonl: "jsonl", parquet: "parquet", summary: "json" })) paths[kind] = `/v1/jobs/${job.id}/corrected.${end}`;
    const links = Object.entries(DOWNLOADS).filter(([kind]) => job.results[kind]).map(([kind, words]) =>
      h("a", { class: "button small", href: address(paths[kind]), download: true, "data-kind": kind, click: (event) => download(event, paths[kind]) }, icon("down"), words));
    this.downloads.replaceChildren(...links, named && h("p", { class: "hint" }, "Your names stand in the column corrected_person, beside the model’s answers.") || "");
  }

  sharing(job) {
    const link = h("input", { type: "text", readonly: true, value: location.href, "aria-label": "Link to this video", focus: () => link.select() });
    const copy = h("button", { class: "button small", type: "button", hidden: !navigator.clipboard, click: () => navigator.clipboard.writeText(link.value).then(() => toast("The link is copied."), () => link.select()) }, "Copy");
    const who = `Only this browser lists your videos. Whoever has this link${token() ? " and the server’s token" : ""} sees this one${job.expires ? ` for ${span((new Date(job.expires) - Date.now()) / 1000)} more` : ""}, and cannot remove it.`;
    return h("details", { class: "sharing" }, h("summary", {}, "Share"), h("p", { class: "hint" }, who), h("div", { class: "row" }, link, copy));
  }

  // Painting ------------------------------------------------------------------------------------------------------

  paintAll() {
    this.timeline.paint();
    this.show(this.video.currentTime);
  }

  show(time) {
    this.time.textContent = `${this.at(time)} / ${this.at(this.seconds)}`;
    const faces = this.data.facesAt(time);
    for (const part of [this.timeline, this.truth]) part.follow(time);
    this.persons.follow(time, faces);
    const { context, width, height } = fitCanvas(this.overlay);
    if (!this.overlaid || !this.video.videoWidth) return;
    const place = { ...contain(this.video.videoWidth, this.video.videoHeight, width, height), width, height };
    drawFaces(context, faces, place, { memory: this.places });
  }
}
