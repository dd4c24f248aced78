// The list of who is in the image, with a bar per expression.

import { h, percent, plural } from "./dom.js";
import { look } from "./expressions.js";
import { shownName, shownProbs } from "./draw.js";
import { drawPortrait, portrait } from "./faces.js";
import { fillMeasures, measureList } from "./measures.js";

const STAY_MS = 700;
const FRESH_MS = 4000; // for how long the image of a face stays

export class People {
  constructor(list, count) {
    this.list = list;
    this.count = count;
    this.empty = list.firstElementChild;
    this.cards = new Map();
    this.names = [];
  }

  begin(names) {
    this.names = names;
    this.cards.clear();
    this.list.replaceChildren(this.empty);
    this.count.textContent = "";
  }

  /** Show who is there; `seen` says what shows the image ({source, size, mirror}), where there is one. */
  show(faces, now = performance.now(), seen = null) {
    for (const face of faces) {
      const card = this.cards.get(face.track_id) || this.add(face.track_id);
      card.seen = now;
      this.update(card, face);
      if (!seen || now - (card.drawnAt ?? -Infinity) < FRESH_MS) continue;
      card.drawnAt = now;
      drawPortrait(card.face, seen.source, seen.size, face.box, seen.mirror);
    }
    for (const [id, card] of this.cards) if (now - card.seen > STAY_MS) this.remove(id, card);
    const words = this.cards.size ? plural(this.cards.size, "person", "people") : "";
    if (this.count.textContent !== words) this.count.textContent = words;
  }

  add(id) {
    const card = { bars: new Map(), name: h("div", { class: "person-name" }), note: h("div", { class: "person-note" }), measures: measureList() };
    card.face = portrait();
    const rows = this.names.map((name) => {
      const bar = h("i");
      bar.style.background = look(name).colour;
      const value = h("span", { class: "prob-value" });
      const row = h("div", { class: "prob" }, h("span", {}, name), h("div", { class: "prob-bar", "aria-hidden": "true" }, bar), value);
      card.bars.set(name, { row, bar, value });
      return row;
    });
    card.element = h("li", { class: "person" }, h("div", { class: "person-head" }, card.face.element, h("div", {}, card.name, card.note)), h("div", { class: "probs" }, rows), card.measures);
    card.note.textContent = `Person ${id}`;
    this.empty.remove();
    this.list.append(card.element);
    this.cards.set(id, card);
    return card;
  }

  update(card, face) {
    const name = shownName(face);
    const probs = shownProbs(face);
    if (card.name.textContent !== name) {
      card.name.textContent = name;
      card.face.emoji.textContent = look(name).emoji;
      card.face.element.style.background = `${look(name).colour}33`;
    }
    for (const [one, { row, bar, value }] of card.bars) {
      bar.style.transform = `scaleX(${(probs[one] || 0).toFixed(3)})`;
      value.textContent = percent(probs[one] || 0);
      row.classList.toggle("most", one === name);
    }
    if (face.attributes || !card.measures.hidden) fillMeasures(card.measures, face.attributes, face.note);
  }

  remove(id, card) {
    card.element.remove();
    this.cards.delete(id);
    if (!this.cards.size) this.list.replaceChildren(this.empty);
  }
}
