// What was really shown, marked by keyboard while the video plays, and how often the answers are right; and events.

import { $, announce, button, h, icon, moment, percent, plural, toast } from "./dom.js";
import { address, getJson, tell } from "./api.js";
import { swatch } from "./expressions.js";

const ALL = "";
const LEAST_S = 0.04;
const END_KEYS = ["0", "Enter"];

/** The panel for marking. Fires "seek" with a time, and "draft" with the spans as they would be now. */
export class TruthPanel extends EventTarget {
  /** job: the job; data: VideoData; notes: {truth, events}; seconds: length of the video. */
  constructor(job, data, notes, seconds, download) {
    super();
    Object.assign(this, { job, data, notes, seconds, time: 0, running: null, people: [] });
    const root = `v1/jobs/${job.id}`;
    this.path = `${root}/truth.csv`;
    this.whose = h("select", { id: "truth-whose" });
    this.keys = h("div", { class: "row truth-keys", role: "group", "aria-label": "Expressions" });
    this.stopper = button("End", () => this.end(), { kind: "small", "data-do": "end", "aria-keyshortcuts": "0", disabled: true });
    this.list = h("ul", { class: "spans", "aria-label": "What was marked" });
    this.score = h("div", { class: "score", role: "status" });
    this.events = h("ul", { class: "spans", "aria-label": "Events" });
    this.eventName = h("input", { type: "text", id: "event-name", maxlength: 80, value: "event", autocomplete: "off" });
    this.tools = h("div", { class: "row" },
      button("Score", () => this.tellScore(), { kind: "small", "data-do": "score" }),
      button("Undo", () => this.undo(), { kind: "small quiet", "data-do": "undo-truth", "aria-label": "Undo the last change of what was shown" }),
      h("a", { class: "button small", href: address(this.path), download: true, "data-kind": "truth", click: (event) => download(event, this.path) }, icon("down"), "CSV"),
      h("label", { class: "button small", for: "truth-file" }, icon("up"), "Read a CSV"),
      h("input", { class: "file", id: "truth-file", type: "file", accept: ".csv,text/csv", "aria-label": "Read a CSV", change: ({ target }) => this.read(target) }));
    this.element = h("details", { class: "panel marking" }, h("summary", {}, "Mark what was really shown, and events"), this.body());
    notes.truth.addEventListener("change", () => this.draw());
    notes.events.addEventListener("change", () => this.drawEvents());
    this.drawEvents();
  }

  body() {
    this.keys.append(...this.data.names.map((name, i) => button([swatch(name), `${i + 1} ${name}`], () => this.press(name), { kind: "small", "data-name": name, "aria-pressed": "false", "aria-keyshortcuts": String(i + 1) })), this.stopper);
    const words = "Play the video, press the number of an expression when it begins, and 0 when it ends; another number begins the next one. Delete takes away the span at the position, Ctrl+Z the last change, E notes an event.";
    return h("div", { class: "marking-body" },
      h("p", { class: "hint" }, words),
      h("label", { class: "field inline" }, "Of", this.whose), this.keys, this.list, this.tools, this.score,
      h("form", { class: "row", submit: (event) => (event.preventDefault(), this.addEvent()) },
        h("label", { class: "field inline" }, "Event", this.eventName), button("Note it here", () => this.addEvent(), { kind: "small", "data-do": "event", "aria-keyshortcuts": "E" }),
        button("Undo", () => this.notes.events.undo(), { kind: "small quiet", "data-do": "undo-events", "aria-label": "Undo the last change of events" })),
      this.events);
  }

  /** Show whose time can be marked. */
  show(people) {
    this.people = people;
    const { value } = this.whose;
    this.whose.replaceChildren(h("option", { value: ALL }, "everybody"), ...people.map(({ key, label }) => h("option", { value: key }, label)));
    this.whose.value = [...this.whose.options].some((one) => one.value === value) ? value : ALL;
    this.draw();
  }

  follow(time) {
    this.time = time;
    if (this.running) this.sendDraft();
  }

  at(time) {
    return moment(time, this.seconds);
  }

  // Marking -------------------------------------------------------------------------------------------------------

  /** Handle a key of the page; returns whether it was one for marking. */
  key(event) {
    if (!this.element.open || event.altKey || event.target.closest("input, select, textarea, dialog")) return false;
    const undo = (event.ctrlKey || event.metaKey) && event.key === "z";
    if (undo) this.undo();
    else if (event.ctrlKey || event.metaKey) return false;
    else if (/^[1-9]$/.test(event.key) && this.data.names[event.key - 1]) this.press(this.data.names[event.key - 1]);
    else if (END_KEYS.includes(event.key) && this.running && !event.target.closest("button, a, summary")) this.end();
    else if (event.key === "0") this.end();
    else if (["Delete", "Backspace"].includes(event.key)) this.removeHere();
    else if (event.key.toLowerCase() === "e") this.addEvent();
    else return false;
    event.preventDefault();
    return true;
  }

  /** Begin a span, and end the one before; the same expression once more ends it alone. */
  press(name) {
    const same = this.running?.expression === name;
    if (this.running) this.end();
    if (!same) this.running = { expression: name, start: this.time, whose: this.whose.value };
    if (!same) announce(`${name} from ${this.at(this.time)}`);
    this.tellRunning();
  }

  async end() {
    const { running } = this;
    this.running = null;
    this.tellRunning();
    if (!running) return;
    const [start, end] = [Math.min(running.start, this.time), Math.max(running.start, this.time)];
    if (end - start < LEAST_S) return;
    const made = this.spansFor(running.whose, start, end, running.expression);
    if (await this.notes.truth.change((before) => [...made.reduce((all, one) => without(all, one), before), ...made])) announce(`${running.expression} until ${this.at(end)}`);
  }

  tellRunning() {
    for (const one of this.keys.querySelectorAll("[data-name]")) one.setAttribute("aria-pressed", String(one.dataset.name === this.running?.expression));
    this.stopper.disabled = !this.running;
    this.sendDraft();
  }

  sendDraft() {
    const { running } = this;
    const made = running ? this.spansFor(running.whose, Math.min(running.start, this.time), Math.max(running.start, this.time) + 0.001, running.expression) : [];
    this.dispatchEvent(new CustomEvent("draft", { detail: [...made.reduce((all, one) => without(all, one), this.notes.truth.value), ...made] }));
  }

  /** Return spans for all tracks of a person, each as long as it is that person's. */
  spansFor(whose, start, end, expression) {
    const round = (time) => Math.round(1000 * time) / 1000;
    if (whose === ALL) return [{ start_s: round(start), end_s: round(end), expression, track_id: null }];
    return this.data.who.partsOf(whose).map((part) => ({ start_s: round(Math.max(start, part.start ?? 0)), end_s: round(Math.min(end, part.end ?? Infinity)), expression, track_id: part.track }))
      .filter((span) => span.end_s > span.start_s);
  }

  async removeHere() {
    const tracks = this.tracks();
    const here = (one) => tracks.includes(one.track_id) && one.start_s <= this.time && this.time < (one.end_s ?? Infinity);
    if (!this.notes.truth.value.some(here)) return;
    if (await this.notes.truth.change((before) => before.filter((one) => !here(one)))) announce("The span is taken away");
  }

  tracks() {
    return this.whose.value === ALL ? [null] : this.people.find(({ key }) => key === this.whose.value)?.tracks || [];
  }

  async undo() {
    if (await this.notes.truth.undo()) announce("Undone");
  }

  async read(input) {
    const [file] = input.files;
    if (file && (await this.notes.truth.read(this.path, file))) toast(`${plural(this.notes.truth.value.length, "span")} read.`);
    input.value = "";
  }

  // The list ------------------------------------------------------------------------------------------------------

  draw() {
    const groups = new Map();
    for (const one of this.notes.truth.value) {
      const person = this.people.find(({ tracks }) => tracks.includes(one.track_id));
      const key = [one.start_s, one.end_s, one.expression, one.track_id === null ? ALL : person?.key ?? one.track_id].join(" ");
      if (!groups.has(key)) groups.set(key, { ...one, label: one.track_id === null ? "everybody" : person?.label ?? `track ${one.track_id}`, all: [] });
      groups.get(key).all.push(one);
    }
    const rows = [...groups.values()].sort((a, b) => a.start_s - b.start_s);
    const focused = this.list.contains(document.activeElement);
    this.list.replaceChildren(...rows.map((row) => this.row(row)));
    if (focused) (this.list.querySelector("button") || this.whose).focus();
    $("[data-do=undo-truth]", this.tools).disabled = !this.notes.truth.undoable;
    $("[data-do=score]", this.tools).disabled = !rows.length;
    this.score.replaceChildren();
    this.sendDraft();
  }

  row({ start_s: start, end_s: end, expression, label, all }) {
    const until = end === null ? "the end" : this.at(end);
    const words = `${label} · ${this.at(start)}–${until}`;
    const go = h("button", { class: "jump", type: "button", "aria-label": `${expression}, ${words}: go there`, click: () => this.seek(start) }, words);
    const remove = h("button", { class: "round", type: "button", "aria-label": `Take away ${expression}, ${words}`, click: () => this.notes.truth.change((before) => before.filter((one) => !all.some((gone) => same(one, gone)))) }, icon("bin"));
    return h("li", {}, swatch(expression), h("b", {}, expression), go, remove);
  }

  seek(time) {
    this.dispatchEvent(new CustomEvent("seek", { detail: time }));
  }

  // Scores and events ---------------------------------------------------------------------------------------------

  async tellScore() {
    try {
      const found = await getJson(`v1/jobs/${this.job.id}/score`);
      this.score.replaceChildren(...scoreOf(found));
    } catch (problem) {
      tell(problem);
    }
  }

  async addEvent() {
    const name = this.eventName.value.trim() || "event";
    const time = Math.round(1000 * this.time) / 1000;
    const kept = await this.notes.events.change((before) => [...before.filter((one) => one.time_s !== time || one.name !== name), { time_s: time, name }]);
    if (kept) announce(`${name} at ${this.at(time)}`);
  }

  drawEvents() {
    const { value, undoable } = this.notes.events;
    const focused = this.events.contains(document.activeElement);
    this.events.replaceChildren(...value.map(({ time_s: time, name }) => {
      const go = h("button", { class: "jump", type: "button", "aria-label": `${name} at ${this.at(time)}: go there`, click: () => this.seek(time) }, this.at(time));
      const remove = h("button", { class: "round", type: "button", "aria-label": `Take away ${name} at ${this.at(time)}`, click: () => this.notes.events.change((before) => before.filter((one) => one.time_s !== time || one.name !== name)) }, icon("bin"));
      return h("li", {}, icon("flag"), h("b", {}, name), go, remove);
    }));
    if (focused) (this.events.querySelector("button") || this.eventName).focus();
    const undo = $("[data-do=undo-events]", this.element);
    if (undo) undo.disabled = !undoable;
  }
}

const same = (a, b) => a.start_s === b.start_s && a.end_s === b.end_s && a.track_id === b.track_id;

/** Return spans without the time of another of the same track. */
function without(spans, { start_s: start, end_s: end, track_id: track }) {
  return spans.flatMap((one) => {
    const stop = one.end_s ?? Infinity;
    if (one.track_id !== track || stop <= start || (end !== null && one.start_s >= end)) return [one];
    const left = one.start_s < start ? [{ ...one, end_s: start }] : [];
    return end !== null && stop > end ? [...left, { ...one, start_s: end }] : left;
  });
}

function scoreOf({ n, seconds, accuracy, accuracy_by_time: byTime, macro_f1: f1, missed, per_class: classes }) {
  if (!n) return [h("p", {}, `There is no face in a marked frame (${plural(missed, "frame")} without one), so nothing can be scored.`)];
  const number = (value) => (value === null ? "–" : percent(value));
  const lost = missed ? ` ${plural(missed, "marked frame")} had no face.` : "";
  const rows = Object.entries(classes).filter(([, one]) => one.n || one.precision !== null);
  return [
    h("p", {}, h("b", {}, `Right in ${percent(accuracy)}`), ` of ${plural(n, "frame")} and ${percent(byTime)} of ${seconds.toFixed(1)} s; macro F1 ${f1.toFixed(2)}.${lost}`),
    h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": "Score by expression" }, h("table", {},
      h("thead", {}, h("tr", {}, ["really", "frames", "recall", "precision", "F1"].map((words, i) => h("th", { scope: "col", class: i && "num" }, words)))),
      h("tbody", {}, rows.map(([name, one]) => h("tr", {}, h("th", { scope: "row" }, swatch(name), ` ${name}`), [one.n.toLocaleString("en"), number(one.recall), number(one.precision), number(one.f1)].map((words) => h("td", { class: "num" }, words))))))),
  ];
}
