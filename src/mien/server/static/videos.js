// The list of videos: uploads, jobs with their progress, and the way to each video's page.

import { $, announce, bytes, h, icon, span, toast } from "./dom.js";
import { connection, getJson, request, tell, token, askForToken, upload } from "./api.js";
import { catalogue, fillDetectors, fillLabelSets } from "./expressions.js";
import { dropInto, takeFrom } from "./images.js";
import { noteOf, shareOf } from "./jobs.js";
import { asked, tieMeasures } from "./measures.js";
import { VideoPage } from "./player.js";
import { ComparePage } from "./compare.js";
import { chosen, tie, tieSeconds } from "./settings.js";
import { technicalOf } from "./words.js";

const POLL_MS = 1000;
const REST_MS = 10_000;
const UNDO_MS = 20_000;
const EXAMPLE = "two-people.webm";
const SYMBOLS = { uploading: "up", queued: "wait", running: "video", done: "play", failed: "warn", cancelled: "close", leaving: "bin" };

/** Build the view; returns {show, hide}. */
export function createVideos() {
  const view = new VideosView();
  return { show: (id) => view.show(id), hide: () => view.hide() };
}

class VideosView {
  constructor() {
    this.jobs = null;
    this.uploads = [];
    this.cards = new Map();
    this.leaving = new Map();
    this.page = null;
    this.visible = false;
    fillLabelSets($("#video-labels"));
    fillDetectors($("#video-detector"));
    tie($("#video-labels"), "labels");
    tie($("#video-detector"), "detector");
    tie($("#video-fps"), "fps");
    for (const name of ["annotate", "bars", "blur"]) tie($(`#video-${name}`), `video-${name}`);
    tieSeconds($("#video-smoothing"), "smoothing");
    tie($("#video-people"), "people");
    $("#video-people").disabled = !catalogue.people;
    $("#video-people-hint").textContent = catalogue.people ? "compares faces; ask people first" : "this server lacks the network for it: mien models pull identity";
    tieMeasures($("#video-measures"));
    $("#video-example").onclick = async () => this.addFiles([new File([await (await request(`examples/${EXAMPLE}`)).blob()], EXAMPLE)]);
    const { max_video_bytes: most, max_video_s: longest, keep_s: keep } = catalogue.limits;
    $("#video-limits").textContent = `MP4, MOV, MKV, WebM, AVI…, up to ${bytes(most)}${longest ? ` and ${span(longest)}` : ""}.`;
    $("#jobs-hint").textContent = `kept for ${span(keep)}`;
    takeFrom($("#video-file"), (files) => this.addFiles(files));
    dropInto($("#video-list"), $("#video-drop"), (files) => this.addFiles(files));
    connection.addEventListener("change", ({ detail }) => detail && this.visible && this.poll());
    document.addEventListener("visibilitychange", () => !document.hidden && this.visible && this.poll());
    addEventListener("pagehide", () => [...this.leaving.keys()].forEach((id) => this.go(id)));
    addEventListener("beforeunload", (event) => this.uploads.some((one) => one.state === "uploading") && event.preventDefault());
    this.draw();
  }

  show(id) {
    this.visible = true;
    this.page?.close();
    this.page = id === "compare" ? new ComparePage() : id ? new VideoPage(decodeURIComponent(id)) : null;
    $("#video-list").hidden = Boolean(id);
    $("#video-page").hidden = !id;
    if (!id) this.poll();
  }

  hide() {
    this.visible = false;
    clearTimeout(this.timer);
    this.page?.close();
    this.page = null;
  }

  async poll() {
    clearTimeout(this.timer);
    if (!this.visible || this.page) return;
    try {
      const { jobs } = await getJson("v1/jobs");
      this.tellNews(jobs);
      this.jobs = jobs;
      this.draw();
    } catch {
      return; // the banner tells; the connection's return asks again
    }
    const active = this.jobs.some((job) => ["queued", "running"].includes(job.state));
    if (!document.hidden) this.timer = setTimeout(() => this.poll(), active ? POLL_MS : REST_MS);
  }

  tellNews(jobs) {
    for (const job of jobs) {
      const before = this.jobs?.find((one) => one.id === job.id);
      if (before && before.state !== job.state && ["done", "failed"].includes(job.state)) {
        announce(`${job.source}: ${job.state}`);
      }
    }
  }

  async addFiles(files) {
    if (!token() && catalogue.limits.token) await askForToken(false);
    const options = optionsOf();
    if (options) for (const file of files) this.send(file, options);
  }

  send(file, options) {
    const job = { id: `upload-${crypto.getRandomValues(new Uint32Array(1))[0]}`, source: file.name, state: "uploading", share: 0, size: file.size, file, options };
    if (file.size > catalogue.limits.max_video_bytes) {
      toast(`${file.name} has ${bytes(file.size)}; the server takes videos up to ${bytes(catalogue.limits.max_video_bytes)}.`, "bad");
      return undefined;
    }
    this.uploads.unshift(job);
    return this.upload(job);
  }

  async upload(job) {
    const { file } = job;
    Object.assign(job, { state: "uploading", share: 0, error: null });
    this.draw();
    const form = new FormData();
    form.append("options", JSON.stringify(job.options));
    form.append("file", file, file.name);
    try {
      const made = await upload("v1/jobs", form, {
        progress: (share) => {
          job.share = share;
          this.draw();
        },
        begun: (abort) => (job.abort = abort),
      });
      this.uploads = this.uploads.filter((one) => one !== job);
      this.jobs = [made, ...(this.jobs || [])];
      announce(`${file.name} is uploaded`);
      this.draw();
      this.poll();
    } catch (problem) {
      if (problem.name === "AbortError") this.uploads = this.uploads.filter((one) => one !== job);
      else Object.assign(job, { state: "failed", error: problem });
      this.draw();
    }
  }

  // Cards ---------------------------------------------------------------------------------------------------------

  draw() {
    const all = [...this.uploads, ...(this.jobs || [])];
    const list = $("#jobs");
    $("#video-drop").classList.toggle("slim", all.length > 0);
    $("#compare-link").hidden = !this.jobs?.some(({ state }) => state === "done");
    for (const [id, card] of this.cards) {
      if (all.some((job) => job.id === id)) continue;
      card.element.remove();
      this.cards.delete(id);
    }
    $(".blank", list)?.remove();
    all.forEach((job, i) => {
      const card = this.cards.get(job.id) || this.card(job);
      this.update(card, job);
      if (list.children[i] !== card.element) list.insertBefore(card.element, list.children[i] || null);
    });
    if (!all.length) list.append(h("li", { class: "blank" }, this.jobs ? "No videos yet. Add one above; a minute of video is a good start." : "Loading the list"));
  }

  card(job) {
    const card = { state: null, symbol: h("div", { class: "job-state" }), note: h("div", { class: "job-note" }), more: h("div"), tools: h("div", { class: "row" }) };
    card.bar = h("progress", { max: 1, "aria-label": `Progress of ${job.source}` });
    card.element = h("li", { class: "job" }, card.symbol, h("div", {}, h("div", { class: "job-name", title: job.source }, job.source), card.note, card.more), card.bar, card.tools);
    this.cards.set(job.id, card);
    return card;
  }

  update(card, job) {
    const leaves = this.leaving.has(job.id);
    const ended = !["queued", "running"].includes(job.state);
    const words = leaves ? (ended ? "Removed, with its results" : "Cancelled") : noteOf(job);
    if (card.note.textContent !== words) card.note.textContent = words;
    const share = shareOf(job);
    card.bar.hidden = leaves || !["uploading", "queued", "running"].includes(job.state);
    if (share === null) card.bar.removeAttribute("value");
    else card.bar.value = share;
    const state = leaves ? "leaving" : job.state;
    if (card.state === state) return;
    card.state = state;
    card.element.dataset.state = state;
    card.more.replaceChildren(job.error && !leaves ? technicalOf(job.error) : "");
    card.symbol.replaceChildren(icon(SYMBOLS[state]));
    const focused = card.tools.contains(document.activeElement);
    card.tools.replaceChildren(...this.tools(job));
    if (focused) card.tools.querySelector("a, button")?.focus();
  }

  tools(job) {
    const small = (words, label, click) => h("button", { class: "button small", type: "button", "aria-label": `${label} ${job.source}`, click }, words);
    const remove = h("button", { class: "round", type: "button", "aria-label": `Remove ${job.source}`, click: () => this.remove(job) }, icon("bin"));
    if (this.leaving.has(job.id)) return [small("Undo", "Keep", () => this.undo(job))];
    if (job.state === "uploading") return [small("Cancel", "Cancel the upload of", () => job.abort())];
    if (["queued", "running"].includes(job.state)) return [small("Cancel", "Cancel", () => this.remove(job))];
    if (job.state === "done") return [h("a", { class: "button small primary", href: `#videos/${job.id}`, "aria-label": `Open ${job.source}` }, "Open"), remove];
    if (job.file || (job.state === "failed" && job.results.video)) return [small("Try again", "Try again:", () => this.again(job)), remove];
    return [remove];
  }

  async again(job) {
    if (job.file) return this.upload(job);
    await request(`v1/jobs/${job.id}/again`, { method: "POST" }).catch(tell);
    return this.poll();
  }

  /** Remove a job, or cancel it: not at once, so that it can be undone. */
  remove(job) {
    if (this.uploads.includes(job)) this.uploads = this.uploads.filter((one) => one !== job);
    else this.leaving.set(job.id, setTimeout(() => this.go(job.id), UNDO_MS));
    announce(`${job.source}: removed. Undo is possible for ${span(UNDO_MS / 1000)}.`);
    this.draw();
  }

  undo(job) {
    clearTimeout(this.leaving.get(job.id));
    this.leaving.delete(job.id);
    announce(`${job.source} is kept`);
    this.draw();
  }

  async go(id) {
    clearTimeout(this.leaving.get(id));
    try {
      const answer = await request(`v1/jobs/${id}`, { method: "DELETE", keepalive: true });
      if (answer.status === 200) await request(`v1/jobs/${id}`, { method: "DELETE" }); // it was cancelled; now it goes
    } catch (problem) {
      if (problem.status !== 404) tell(problem);
    }
    this.jobs = this.jobs?.filter((one) => one.id !== id);
    this.leaving.delete(id);
    this.draw();
    this.poll();
  }
}

/** Return what is asked of the next video; null where a time is none, which the browser then says. */
function optionsOf() {
  const [start, end] = [secondsOf($("#video-start")), secondsOf($("#video-end"))];
  if (start === null || end === null) return null;
  const blur = $("#video-blur").checked;
  return {
    labels: $("#video-labels").value,
    detector: $("#video-detector").value,
    half_life_s: chosen("smoothing", undefined) === undefined ? null : Number(chosen("smoothing")),
    fps: Number($("#video-fps").value) || null,
    start_s: start || 0,
    end_s: end || null,
    annotate: blur || $("#video-annotate").checked,
    bars: $("#video-bars").checked,
    attributes: asked($("#video-measures")),
    people: catalogue.people && $("#video-people").checked ? "auto" : null,
    blur,
    keep_video: !blur,
  };
}

/** Return a time typed as 1:05, 1:02:03 or 65.5, in seconds; undefined where nothing is typed, null for anything else. */
function secondsOf(input) {
  const words = input.value.trim();
  const right = /^(\d+:){0,2}\d+(\.\d+)?$/.test(words);
  input.setCustomValidity(words && !right ? "Type a time as 1:05, or in seconds" : "");
  if (!words) return undefined;
  if (right) return words.split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
  input.closest("details").open = true;
  input.reportValidity();
  return null;
}
