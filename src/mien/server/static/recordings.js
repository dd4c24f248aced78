// Recordings of the live view: written into the browser's database while they run, listed until somebody throws them away.

import { $, announce, button, clock, h, icon, plural, save, toast } from "./dom.js";
import { ordered } from "./expressions.js";
import { openShelf } from "./shelf.js";
import { recordedColumns, recordedRows, toEvents, toLongCsv, toLongJsonl } from "./rows.js";

const WRITE_MS = 500; // what a crash of the browser can cost
const VIDEO_KINDS = ["video/webm;codecs=vp8", "video/mp4"];

const timeOfDay = (ms) => new Date(performance.timeOrigin + ms).toISOString();
const seconds = (ms) => Math.round(ms) / 1000;

/** Hold a name for as long as this tab lives or until the returned function is called: other tabs see that it is in use. */
function hold(name) {
  return new Promise((held) => {
    if (!navigator.locks) held(() => {});
    else navigator.locks.request(name, () => new Promise((release) => held(release)));
  });
}

/** A recording under way. */
class Recorder {
  constructor(shelf) {
    this.shelf = shelf;
    this.start = performance.now();
    const name = `Recording ${new Date().toLocaleString("sv-SE").slice(0, 16).replace(":", ".")}`;
    this.about = { id: crypto.randomUUID(), name, begun: timeOfDay(this.start), seconds: 0, frames: 0, rows: 0, names: [], measures: [], marks: [], films: [], saved: false };
    this.waiting = { frames: [], video: [] };
    this.done = Promise.resolve();
    this.released = hold(lockOf(this.about));
    this.timer = setInterval(() => this.write(), WRITE_MS);
    this.write();
  }

  /** Take the answer to an image that was taken at `at` (of performance.now()). */
  take({ frame, faces }, at, { source, labels, names }) {
    const { about } = this;
    about.seconds = seconds(at - this.start);
    this.waiting.frames.push({ frame, time_s: about.seconds, clock: timeOfDay(at), source, labels, faces: faces.map(({ mesh: _, ...face }) => face) }); // 468 points a face would fill the disk
    about.frames += 1;
    about.rows += Math.max(1, faces.length);
    about.names = ordered([...about.names, ...names]);
    const measured = faces.find((face) => face.attributes);
    if (measured) about.measures = [...new Set([...about.measures, ...Object.keys(measured.attributes)].filter((name) => name !== "note")), "note"];
  }

  mark(mark) {
    const now = performance.now();
    this.about.marks.push({ time_s: seconds(now - this.start), clock: timeOfDay(now), mark });
  }

  /** Keep the video of a camera or screen, too; each one is a file of its own. */
  film(media) {
    this.unfilm();
    const kind = VIDEO_KINDS.find((one) => window.MediaRecorder?.isTypeSupported(one));
    if (!kind) return toast("This browser cannot record video; the rows are recorded.");
    const number = this.about.films.length;
    this.about.films.push({ kind, time_s: seconds(performance.now() - this.start) });
    this.camera = new MediaRecorder(new MediaStream(media.getVideoTracks()), { mimeType: kind });
    this.camera.ondataavailable = ({ data }) => data.size && this.waiting.video.push({ number, data });
    return this.camera.start(WRITE_MS);
  }

  /** End the video, and wait for its last piece. */
  unfilm() {
    const { camera } = this;
    this.camera = null;
    if (!camera || camera.state === "inactive") return Promise.resolve();
    return new Promise((resolve) => {
      camera.onstop = resolve;
      camera.stop();
    });
  }

  /** Write what has come since the last time; of writes in a row each one waits for the one before. */
  write() {
    const { frames, video } = this.waiting;
    const about = structuredClone(this.about);
    this.waiting = { frames: [], video: [] };
    this.done = this.done.then(() => this.shelf.put(about, { frames: frames.length ? [frames] : [], video })).catch((error) => this.fail?.(error));
    return this.done;
  }

  async end() {
    clearInterval(this.timer);
    this.write(); // at once: the page may be going away
    if (this.camera) await this.unfilm().then(() => this.write());
    await this.done;
    (await this.released)();
  }
}

const lockOf = ({ id }) => `mien-recording-${id}`;

/** The recordings of this browser, in a list with what can be done with each. */
export class Recordings {
  constructor(place) {
    this.place = place;
    this.now = null;
    this.all = [];
    this.busy = new Set();
    this.ready = this.open();
    addEventListener("beforeunload", (event) => {
      this.now?.write();
      if (this.now || this.unsaved) event.preventDefault();
    });
    addEventListener("pagehide", () => this.now?.write());
    document.addEventListener("visibilitychange", () => document.hidden && this.now?.write());
  }

  async open() {
    this.shelf = await openShelf();
    await this.load();
  }

  async load() {
    this.all = (await this.shelf.all()).sort((a, b) => (a.begun < b.begun ? 1 : -1));
    const locks = (await navigator.locks?.query())?.held || [];
    this.busy = new Set(locks.map((lock) => lock.name));
    this.draw();
  }

  /** Whether closing the page would lose a recording: one that this browser could not keep. */
  get unsaved() {
    return this.shelf && !this.shelf.lasting && this.all.some((one) => !one.saved);
  }

  async begin() {
    await this.ready;
    if (this.now) return;
    navigator.storage?.persist?.().catch(() => {});
    this.now = new Recorder(this.shelf);
    this.now.fail = (error) => this.giveUp(error);
    this.all.unshift(this.now.about);
    this.draw();
  }

  async end() {
    const { now } = this;
    this.now = null;
    await now.end();
    this.draw();
  }

  giveUp(error) {
    if (!this.now) return;
    this.now.fail = null;
    const full = error?.name === "QuotaExceededError";
    toast(full ? "This browser’s storage is full: the recording has ended. Download and throw away old ones." : "The browser stopped keeping the recording; download it now.", "bad");
    this.onfail?.();
  }

  // The list ------------------------------------------------------------------------------------------------------

  draw() {
    const [first, ...rest] = this.all;
    const open = this.place.querySelector("details")?.open;
    const older = h("details", { class: "older", open: Boolean(open) }, h("summary", {}, plural(rest.length, "earlier recording")), h("ul", { class: "recordings" }, rest.map((one) => this.item(one))));
    this.place.replaceChildren(...(first ? [h("ul", { class: "recordings" }, this.item(first)), rest.length ? older : ""] : []));
    this.place.hidden = !first || Boolean(this.now); // while it runs, the timeline needs the room
  }

  /** Write how far the recording under way is. */
  count() {
    if (this.now) $("#recording-count").textContent = noteOf(this.now.about, true, this.shelf.lasting);
  }

  item(about) {
    const elsewhere = this.busy.has(lockOf(about));
    const name = h("input", { type: "text", class: "recording-name", value: about.name, "aria-label": "Name of the recording", maxlength: 80, change: ({ target }) => this.rename(about, target) });
    const note = h("p", { class: "recording-note" }, elsewhere ? "Being recorded in another tab" : noteOf(about, false, this.shelf.lasting));
    const get = (words, kind, work) => button(words, () => this.download(about, work), { kind: "small", symbol: "down", "data-kind": kind, "aria-label": `${words}: ${about.name}` });
    const tools = [get("CSV", "csv", saveCsv), get("JSONL", "jsonl", saveJsonl)];
    if (about.marks.length) tools.push(get("Markers", "events", saveEvents));
    if (about.films.length) tools.push(get("Video", "video", saveFilms));
    tools.push(h("button", { class: "round", type: "button", "aria-label": `Throw away ${about.name}`, click: () => this.ask(about) }, icon("bin")));
    return h("li", { class: "recording-item", "data-id": about.id }, h("div", {}, name, note), h("div", { class: "row" }, elsewhere ? "" : tools));
  }

  async rename(about, input) {
    about.name = input.value.trim() || about.name;
    await this.shelf.put(about);
    this.draw();
  }

  async download(about, work) {
    try {
      await work(this.shelf, about);
    } catch (error) {
      toast(`The recording could not be read: ${error.message}`, "bad");
      return;
    }
    about.saved = true;
    await this.shelf.put(about);
    const note = this.place.querySelector(`[data-id="${about.id}"] .recording-note`);
    if (note) note.textContent = noteOf(about, false, this.shelf.lasting);
  }

  ask(about) {
    const dialog = $("#throw-dialog");
    $("#throw-title").textContent = `Throw away «${about.name}»?`;
    $("#throw-words").textContent = `${noteOf(about, false, true)}. This cannot be undone.`;
    dialog.onclose = () => dialog.returnValue === "yes" && this.remove(about);
    dialog.returnValue = "";
    dialog.showModal();
  }

  async remove(about) {
    await this.shelf.remove(about.id);
    this.all = this.all.filter((one) => one !== about);
    this.draw();
    announce(`${about.name} is thrown away`);
    (this.place.querySelector("input") || $("#live-record:not([hidden] *)") || $("#live-start"))?.focus();
  }
}

function noteOf(about, running, lasting) {
  const parts = [plural(about.rows, "row"), clock(about.seconds)];
  if (about.marks.length) parts.push(plural(about.marks.length, "marker"));
  if (about.films.length) parts.push("with video");
  if (running) parts.unshift("recording");
  else parts.push(about.saved ? "downloaded" : lasting ? "in this browser only" : "in this tab only: download it");
  return parts.join(" · ");
}

const fileName = ({ name }, end) => `${name.replace(/[^\p{L}\p{N} ._-]+/gu, "-")}${end}`;

/** Yield the rows of a recording part by part, each frame's with the markers that were set since the frame before. */
async function* allRows(shelf, about) {
  const marks = [...about.marks];
  for await (const pieces of shelf.parts("frames", about.id)) {
    yield pieces.flat().flatMap((frame) => {
      const set = [];
      while (marks.length && marks[0].time_s <= frame.time_s) set.push(marks.shift().mark);
      return recordedRows(frame, about, set.join(" ") || null);
    });
  }
}

const saveCsv = async (shelf, about) => save(fileName(about, ".csv"), await toLongCsv(allRows(shelf, about), recordedColumns(about.names, about.measures)));
const saveJsonl = async (shelf, about) => save(fileName(about, ".jsonl"), await toLongJsonl(allRows(shelf, about)));
const saveEvents = async (shelf, about) => save(fileName(about, "-events.tsv"), toEvents(about.marks));

async function saveFilms(shelf, about) {
  const pieces = await shelf.pieces("video", about.id);
  about.films.forEach(({ kind }, number) => {
    const parts = pieces.filter((piece) => piece.number === number).map((piece) => piece.data);
    const end = `${about.films.length > 1 ? `-${number + 1}` : ""}.${kind.includes("mp4") ? "mp4" : "webm"}`;
    if (parts.length) save(fileName(about, end), new Blob(parts, { type: kind }));
  });
}
