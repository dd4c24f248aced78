// What the server offers, and how each expression looks.

import { h } from "./dom.js";

const UNKNOWN = { emoji: "", colour: "#26a69a" };

/** The answer of /v1/models; filled once when the page starts. */
export const catalogue = { version: "", models: [], detectors: [], label_sets: [], limits: {} };

const looks = new Map();

export function learn(models) {
  Object.assign(catalogue, models);
  for (const set of models.label_sets) for (const label of set.labels) if (!looks.has(label.name)) looks.set(label.name, label);
}

export const look = (name) => looks.get(name) || UNKNOWN;

/** Return the names of a label set as `ordered` has them. */
export function namesOf(key) {
  const set = catalogue.label_sets.find((one) => one.key === key) || catalogue.label_sets[0];
  return ordered(set.labels.map((label) => label.name));
}

/** Return names, each once, in an order that is the same for all label sets; the neutral one comes last: drawn on top, it leaves the colours to the others. */
export function ordered(names) {
  const known = [...looks.keys()];
  const place = (name) => (name === "neutral" ? Infinity : known.includes(name) ? known.indexOf(name) : known.length);
  return [...new Set(names)].sort((a, b) => (place(a) === place(b) ? 0 : place(a) - place(b)));
}

const SET_NAMES = { fer2013: "FER2013 (7)", ferplus: "FER+ (8)", combined: "Combined (8)", five: "Five" };

export function fillLabelSets(select) {
  select.replaceChildren(
    ...catalogue.label_sets.map((set) =>
      h("option", { value: set.key, selected: set.default }, SET_NAMES[set.key] || `${set.key} (${set.labels.length})`)),
  );
}

/** What people choose by; the names that programs use stand in «About mien». */
const DETECTOR_NAMES = {
  mtcnn: "Thorough",
  haar: "Simple, frontal faces",
  "haar-alt2": "Simple, finds more",
  "dlib-hog": "Close frontal faces",
  "dlib-mmod": "Thorough, slow",
  yunet: "Very quick",
  "blazeface-short": "Quick, close faces",
  "blazeface-full": "Quick, near and far",
  none: "None: one face fills it",
};

const detectorName = (name) => DETECTOR_NAMES[name] || name;

/** Return which detector goes by which name in programs. */
export const detectorFacts = () => ({ Detectors: catalogue.detectors.map(({ name }) => `${detectorName(name)} = ${name}`).join(" · ") });

export function fillDetectors(select) {
  select.replaceChildren(
    ...catalogue.detectors.map((one) => h("option", { value: one.name, selected: one.default }, detectorName(one.name))),
  );
}

export function fillLegend(list, names) {
  list.replaceChildren(...names.map((name) => h("li", {}, swatch(name), name)));
}

export function swatch(name) {
  const element = h("i", { class: "swatch", "aria-hidden": "true" });
  element.style.background = look(name).colour;
  return element;
}

/** Return a bar of shares ({name: 0-1}), largest first. */
export function mixBar(shares, words) {
  const parts = Object.entries(shares).filter(([, share]) => share > 0.004).sort((a, b) => b[1] - a[1]);
  const bar = h("div", { class: "mix", role: "img", "aria-label": words });
  for (const [name, share] of parts) {
    const part = h("i", { title: `${name} ${Math.round(100 * share)}%` });
    part.style.background = look(name).colour;
    part.style.width = `${100 * share}%`;
    bar.append(part);
  }
  return bar;
}
