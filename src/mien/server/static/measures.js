// What else was measured of a face: a short list of words and numbers, and the switch that asks for it.

import { h } from "./dom.js";
import { catalogue } from "./expressions.js";
import { tie } from "./settings.js";

const SHOWN = ["pose", "eyes", "mouth", "brows", "gaze", "blinks", "quality"];
const degrees = (value) => `${Math.abs(Math.round(value))}°`; // the words say in which direction
const signed = (value) => (Math.abs(value) < 0.005 ? "0.00" : `${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(2)}`);
const plain = (value) => value.toFixed(2);
const share = (value) => `${Math.round(100 * value)} %`;

const ROWS = [
  ["Head", [["yaw", ["turned to their left", "turned to their right"], degrees], ["pitch", ["up", "down"], degrees], ["roll", ["tilted left", "tilted right"], degrees]]],
  ["Eyes open", [["eye_left", "left", plain], ["eye_right", "right", plain]]],
  ["Mouth", [["mouth_opening", "open", plain], ["mouth_width", "wide", plain]]],
  ["Its corners", [["mouth_corners", "up", signed], ["mouth_asymmetry", "left higher", signed]]],
  ["Brows", [["brow_raise", "raised", signed], ["brow_furrow", "together", signed]]],
  ["Gaze", [["gaze_yaw", ["to their left", "to their right"], degrees], ["gaze_pitch", ["up", "down"], degrees]]],
  ["Eyes closed", [["eyes_closed", "", share]]],
  ["Quality", [["quality", "", share]]],
];

/** Return the names of what can be measured here and shown. */
export const offered = () => SHOWN.filter((name) => catalogue.attributes?.some((one) => one.name === name));

/** Return the columns that rows have while measures are asked for. */
export const measuredColumns = () => [...catalogue.attributes.filter(({ name }) => offered().includes(name)).flatMap(({ columns }) => columns), "note"];

/** Tie a checkbox to the choice; it hides where nothing can be measured. */
export function tieMeasures(checkbox, changed) {
  checkbox.closest("label").hidden = !offered().length;
  tie(checkbox, "measures", changed);
}

/** Return what to ask the server for: a list of names, empty where the checkbox is off. */
export const asked = (checkbox) => (checkbox.checked ? offered() : []);

/** Return what to ask for where it is drawn at once: the points of the mesh, too, which tables do not hold. */
export const askedToDraw = (checkbox) => (checkbox.checked ? [...offered(), ...(catalogue.attributes.some(({ name }) => name === "mesh") ? ["mesh"] : [])] : []);

/** Return what was measured of a face, from a row, as a live face has it; nothing where nothing was asked for. */
export function measured(row) {
  if (!("note" in row)) return {};
  const names = ROWS.flatMap(([, columns]) => columns.map(([name]) => name)).filter((name) => name in row);
  return { attributes: Object.fromEntries(names.map((name) => [name, row[name] === "" ? null : row[name]])), note: row.note };
}

/** Return the words of a measure; of one with a direction, those of its direction. */
const wordsFor = (words, value) => (Array.isArray(words) ? words[Math.round(value) < 0 ? 1 : 0] : words);

/** Fill an element with what was measured, from values by column and a note; empty it where nothing was. */
export function fillMeasures(element, values, note) {
  const known = ROWS.map(([title, columns]) => [title, columns.filter(([name]) => values && name in values)]).filter(([, columns]) => columns.length);
  element.replaceChildren(
    ...known.map(([title, columns]) => h("div", { class: "measure" }, h("dt", {}, title), h("dd", {}, columns.map(([name, words, form]) => h("span", {}, words && `${wordsFor(words, values[name])} `, h("b", {}, Number.isFinite(values[name]) ? form(values[name]) : "–")))))),
  );
  if (known.length && note) element.append(h("div", { class: "measure note" }, h("dt", {}, "Note"), h("dd", {}, note)));
  element.hidden = !known.length;
}

/** Return a new list for them. */
export const measureList = (values = null, note = "") => {
  const list = h("dl", { class: "measures", "aria-label": "Measures" });
  fillMeasures(list, values, note);
  return list;
};
