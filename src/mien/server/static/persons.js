// The people of a video: what each showed for how long, and the tools to name, merge and split them.

import { announce, button, h, moment, percent, plural, span } from "./dom.js";
import { look, mixBar } from "./expressions.js";
import { portrait } from "./faces.js";
import { fillMeasures, measureList } from "./measures.js";

const MOST_SHARES = 4;

/** The panel beside the player. Fires "seek" with a time as detail. */
export class Persons extends EventTarget {
  /** data: VideoData; note: the Note of kind "people"; seconds: length of the video. */
  constructor(data, note, seconds) {
    super();
    Object.assign(this, { data, note, seconds, time: 0, cards: [] });
    this.hint = h("span", { class: "hint" });
    this.list = h("ul", { class: "people" });
    this.undo = button("Undo", () => this.goBack(), { kind: "small quiet", "data-do": "undo-people", hidden: true, "aria-label": "Undo the last change of people" });
    this.element = h("section", { class: "panel", "aria-label": "People" }, h("div", { class: "panel-head" }, h("h2", {}, "People"), this.hint, this.undo), this.list);
  }

  /** Show people, as VideoData has them. */
  show(people, most) {
    this.people = people;
    const focused = this.focused();
    const open = new Set(this.cards.filter(({ fold }) => fold.open).map(({ person, goesTo }) => goesTo ?? person.key));
    const words = plural(people.length, "person", "people");
    this.hint.textContent = `${span(this.seconds)}, ${words}`;
    this.undo.hidden = !this.note.undoable;
    this.cards = people.slice(0, most).map((person) => this.card(person, open.has(person.key)));
    this.list.replaceChildren(...(this.cards.length ? this.cards.map(({ element }) => element) : [h("li", { class: "empty" }, "Nobody was found.")]));
    if (focused) this.focus(focused);
  }

  focused() {
    if (document.activeElement === this.undo) return { what: "undo" };
    const card = this.cards.find(({ element }) => element.contains(document.activeElement));
    return card && { key: card.goesTo ?? card.person.key, what: document.activeElement.dataset.do };
  }

  focus({ key, what }) {
    const card = this.cards.find(({ person }) => person.key === key) || this.cards[0];
    const there = what === "undo" ? [this.undo] : [card?.element.querySelector(`[data-do="${what}"]:not([disabled])`), card?.element.querySelector("summary")];
    there.find((one) => one?.checkVisibility())?.focus();
  }

  at(time) {
    return moment(time, this.seconds);
  }

  card(person, open) {
    const face = (person.image = portrait());
    face.emoji.textContent = look(person.dominant).emoji;
    face.element.style.background = `${look(person.dominant).colour}33`;
    const shares = Object.entries(person.share).filter(([, share]) => share >= 0.005).sort((a, b) => b[1] - a[1]);
    const words = shares.map(([name, share]) => `${name} ${percent(share)}`).join(", ");
    const changes = person.transitions.reduce((sum, one) => sum + one.count, 0);
    const when = `${this.at(person.first_s)}–${this.at(person.last_s)} · ${plural(changes, "change")}`;
    const card = { person, measures: measureList() };
    card.fold = this.tools(person, open, card);
    card.element = h("li", { class: "person", "data-person": person.label },
      h("div", { class: "person-head" }, face.element, h("div", {}, h("div", { class: "person-name" }, person.label), h("div", { class: "person-note" }, when), this.model(person))),
      mixBar(person.share, words),
      h("ul", { class: "shares" }, shares.slice(0, MOST_SHARES).map(([name, share]) => h("li", { class: "prob most" }, h("span", {}, name), h("span", { class: "person-note" }, this.longest(person, name)), h("span", { class: "prob-value" }, percent(share))))),
      card.measures, card.fold);
    return card;
  }

  /** Say what the model calls somebody who was corrected. */
  model(person) {
    if (!person.corrected_person) return null;
    const said = [...new Set(person.tracks.map((track) => this.data.labelOf(this.data.who.modelKey(track))))].join(", ");
    return h("div", { class: "person-note" }, `by the model: ${said}`);
  }

  /** Where the longest span of an expression begins, as a button that goes there. */
  longest(person, name) {
    const found = person.longest_spans.find((one) => one.expression === name);
    if (!found) return "";
    const label = `longest at ${this.at(found.start_s)}: go to this ${name} moment of ${person.label}`;
    return h("button", { class: "jump", type: "button", "aria-label": label, click: () => this.seek(found.start_s) }, `longest at ${this.at(found.start_s)}`);
  }

  seek(time) {
    this.dispatchEvent(new CustomEvent("seek", { detail: time }));
  }

  // Corrections ---------------------------------------------------------------------------------------------------

  tools(person, open, card) {
    const { who } = this.data;
    const name = h("input", { type: "text", maxlength: 80, value: person.label, "aria-label": `Name of ${person.label}`, autocomplete: "off", "data-do": "name" });
    const rename = h("form", { class: "row", submit: (event) => (event.preventDefault(), this.rename(card, name.value)) }, name, h("button", { class: "button small", type: "submit", "aria-label": `Name ${person.label}` }, "Name"));
    const others = this.people.filter(({ key }) => key !== person.key);
    const other = h("select", { "aria-label": `The same person as ${person.label}`, "data-do": "other" }, others.map(({ key, label }) => h("option", { value: key }, label)));
    const merge = others.length > 0 && h("div", { class: "row" }, h("span", { class: "person-note" }, "the same as"), other, button("Merge", () => this.merge(card, other.value), { kind: "small", "data-do": "merge", "aria-label": `Merge ${person.label} with the chosen person` }));
    const parts = who.partsOf(person.key);
    const pieces = parts.length > 1 && h("ul", { class: "parts" }, parts.map((part) => this.part(card, part)));
    card.split = button("Split here", () => this.split(card), { kind: "small", "data-do": "split" });
    this.aim(card);
    return h("details", { class: "correct", open }, h("summary", { "data-do": "fold" }, "Name, merge, split"), rename, merge, pieces, h("div", { class: "row" }, card.split));
  }

  /** A part of somebody's time that can be taken out: somebody else's. */
  part(card, part) {
    const times = card.person.points.length ? this.timesOf(part) : "";
    const words = `track ${part.track}${times && ` · ${times}`}`;
    return h("li", { class: "row" }, h("span", { class: "person-note" }, words), button("Take out", () => this.assign(card, [part], this.free(), `${words} is taken out`), { kind: "small", "data-do": `out-${part.track}`, "aria-label": `Take out of ${card.person.label}: ${words}` }));
  }

  timesOf({ track, start, end }) {
    const seen = this.data.times.filter((t, i) => (start ?? 0) <= t && t < (end ?? Infinity) && this.data.frames[i].some((face) => face.track_id === track));
    return seen.length ? `${this.at(seen[0])}–${this.at(seen.at(-1))}` : "";
  }

  /** Return a name that nobody has yet. */
  free() {
    const taken = new Set([...this.people.flatMap(({ key, label }) => [key.toLowerCase(), label.toLowerCase()]), ...[...this.data.models].flatMap(([track, name]) => [name, `person ${track}`])]);
    for (let number = 1; ; number += 1) if (!taken.has(`person ${number}`)) return `person ${number}`;
  }

  rename(card, words) {
    const name = words.trim();
    if (name === card.person.label) return undefined;
    return this.assign(card, this.data.who.partsOf(card.person.key), name || null, name ? `${card.person.label} is now ${name}` : `${card.person.label} has the model’s name again`);
  }

  merge(card, key) {
    const other = this.people.find((one) => one.key === key);
    const { key: stands, label } = [other, card.person].find((one) => one.corrected_person) || other;
    const name = stands.startsWith("#") ? label : stands;
    const parts = [...this.data.who.partsOf(card.person.key), ...this.data.who.partsOf(key)];
    return this.assign(card, parts, name, `${card.person.label} and ${other.label} are one person`);
  }

  split(card) {
    const parts = this.data.who.partsOf(card.person.key).filter(({ end }) => end === null || end > this.time);
    const later = parts.map((part) => ({ ...part, start: Math.max(part.start ?? 0, this.time) }));
    return this.assign(card, later, this.free(), `${card.person.label} is somebody else from ${this.at(this.time)} on`);
  }

  async assign(card, parts, name, words) {
    card.goesTo = name ?? undefined;
    const { who } = this.data;
    if (await this.note.change(() => who.assigned(parts, name))) announce(words);
    else card.goesTo = undefined;
  }

  async goBack() {
    if (await this.note.undo()) announce("The last change of people is undone");
  }

  // While it plays ------------------------------------------------------------------------------------------------

  /** Follow the video: what was measured of each person now, and whether somebody can be split here. */
  follow(time, faces) {
    this.time = time;
    for (const card of this.cards) {
      this.aim(card);
      const face = faces.find((one) => this.data.who.keyOf(one.track_id, time) === card.person.key);
      if (face?.attributes || !card.measures.hidden) fillMeasures(card.measures, face?.attributes, face?.note);
    }
  }

  aim(card) {
    const { first_s: first, last_s: last, label } = card.person;
    const words = `Split at ${this.at(this.time)}`;
    card.split.disabled = !(first < this.time && this.time < last);
    if (card.split.textContent === words) return;
    card.split.textContent = words;
    card.split.setAttribute("aria-label", `Split at ${this.at(this.time)}: ${label} is somebody else from then on`);
  }
}
