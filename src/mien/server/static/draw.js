// Draws faces over an image: brackets around each, a tag with emoji, expression and number, and bars if wanted.

import { look, ordered } from "./expressions.js";
import { Layout, panelSpots, tagSpots } from "./layout.js";
import { measured } from "./measures.js";
import { drawMeasures } from "./mesh.js";

const DARK = "#181a1e";
const FONT = '600 {px}px -apple-system, "Segoe UI", Roboto, Inter, "Liberation Sans", "DejaVu Sans", sans-serif';
const EMOJI_FONT = '600 {px}px "Apple Color Emoji", "Segoe UI Emoji", "Noto Color Emoji", sans-serif'; // never for digits: its are wide
const BAR_PX = [12, 10, 8];
const MOST_HIDDEN = 0.12; // share of a panel of bars that may lie on faces and tags

/** Return where an image lies in a box that shows the whole of it. */
export function contain(imageWidth, imageHeight, width, height) {
  const scale = Math.min(width / imageWidth, height / imageHeight);
  return { scale, x: (width - imageWidth * scale) / 2, y: (height - imageHeight * scale) / 2 };
}

/** Return a row of the API as the stream tells of a face. */
export function faceOf(row, names) {
  const smooth = row[`smooth_${names[0]}`] !== undefined && row[`smooth_${names[0]}`] !== null;
  const pick = (prefix) => Object.fromEntries(names.map((name) => [name, Number(row[prefix + name] ?? 0)]));
  return {
    track_id: row.track_id ?? null,
    box: [row.x1, row.y1, row.x2, row.y2],
    score: row.score,
    expression: row.expression,
    confidence: row.confidence,
    probs: pick(""),
    smoothed: smooth ? pick("smooth_") : null,
    steady_expression: row.steady_expression ?? null,
    landmarks: row.landmarks ?? null,
    mesh: row.mesh ?? null,
    ...measured(row),
  };
}

export const shownName = (face) => face.steady_expression || face.expression;
export const shownProbs = (face) => face.smoothed || face.probs || {};

/**
 * Draw faces.
 * @param context 2D context whose unit is a pixel of the page (or of the image, for an image to save)
 * @param faces as /v1/stream tells of them
 * @param place {scale, x, y, width, height}: where the image lies, and how large the canvas is
 * @param style {mirror, bars, unit (size of letters), lit (number of the face to stress), numbers: each face has its
 *     number, and where the whole tags of a group would hide faces or one another, its number alone ("with names": the
 *     longest tag that has room, as the command line draws them); memory (a Map that
 *     lets the tags of moving faces stay where they were)}
 */
export function drawFaces(context, faces, place, style = {}) {
  const unit = style.unit || 1;
  const boxes = faces.map((face) => toBox(face.box, place, style.mirror));
  boxes.forEach((box, i) => drawBrackets(context, box, look(shownName(faces[i])).colour, (style.lit === i ? 1.7 : 1) * unit));
  faces.forEach((face, i) => drawMeasures(context, face, boxes[i], style));
  const tags = tagsOf(context, faces, boxes, place, style);
  const layout = new Layout(boxes, place.width, place.height);
  for (const tag of tags) layout.add(tag.spot);
  if (style.bars) faces.forEach((face, i) => drawBars(context, face, boxes[i], layout, i, unit));
  for (const tag of tags) paintTag(context, tag, unit);
  if (tags.alone && tags[style.lit]) paintTag(context, largeTag(context, faces[style.lit], boxes[style.lit], place, style), unit);
}

/** Return the tag of each face and where it lies; `alone` says that they are numbers alone. */
function tagsOf(context, faces, boxes, place, style) {
  const all = (wordings, how) => {
    const layout = new Layout(boxes, place.width, place.height);
    return faces.map((face, i) => chooseTag(context, face, i, boxes[i], wordings[i], layout, how));
  };
  if (!style.numbers || faces.length < 2) return all(faces.map((face) => wordsOf(face)), style);
  if (style.numbers === "with names") return all(faces.map((face, i) => wordsOf(face, i)), style);
  const tags = all(faces.map((face, i) => wordsOf(face, i).slice(0, 1)), style);
  if (tags.every((tag) => tag.tags < 0.01 && tag.boxes < 0.1)) return tags;
  return Object.assign(all(faces.map((_, i) => [String(i)]), { ...style, small: true }), { alone: true });
}

/** Return what a tag may say, the fullest first; an empty text leaves the emoji alone. */
function wordsOf(face, number = null) {
  const name = shownName(face);
  const tracked = face.track_id !== null && face.track_id !== undefined;
  const prefix = number !== null ? `${number} ` : face.who ? `${face.who} ` : tracked ? `#${face.track_id} ` : "";
  if (!name) return [prefix.trim()];
  const p = shownProbs(face)[name] ?? face.confidence ?? 0;
  return [`${prefix}${name} ${Math.round(100 * p)}%`, `${prefix}${name}`, ...(look(name).emoji ? [prefix.trim(), ...(number === null ? [""] : [])] : [name])];
}

function chooseTag(context, face, number, box, wordings, layout, style) {
  const unit = style.unit || 1;
  const key = face.track_id ?? number;
  const size = Math.max(style.small ? 11 : 12, Math.min(style.small ? 14 : 17, (box.w / unit) * 0.16)) * unit;
  let chosen = null;
  for (const words of wordings) {
    const emoji = style.small ? "" : look(shownName(face)).emoji || "";
    const { width, height } = tagSize(context, words, emoji, size);
    const found = layout.best(tagSpots(box, width, height, 3 * unit, layout.height), number, style.memory?.get(key));
    const hides = 10 * found.tags + (style.numbers ? found.boxes : 0); // moving tags would flicker between wordings
    if (!chosen || hides < chosen.hides - 0.05) chosen = { ...found, hides, words, emoji, size, colour: look(shownName(face)).colour };
    if (hides < 0.05) break;
  }
  style.memory?.set(key, chosen.index);
  layout.add(chosen.spot);
  return chosen;
}

/** Return the whole tag of one face of a group: of all there is it may hide anything but the face. */
function largeTag(context, face, box, place, style) {
  return chooseTag(context, face, 0, box, wordsOf(face, style.lit).slice(0, 1), new Layout([box], place.width, place.height), style);
}

function tagSize(context, words, emoji, size) {
  context.font = FONT.replace("{px}", size);
  const text = words ? context.measureText(words).width : 0;
  return { width: (emoji ? 1.6 : 0) * size + text + (words ? 1.1 : 0.4) * size, height: 1.7 * size };
}

function paintTag(context, { spot: { x, y, w, h }, words, emoji, size, colour }) {
  context.fillStyle = colour;
  context.beginPath();
  context.roundRect(x, y, w, h, h * 0.32);
  context.fill();
  context.fillStyle = inkOn(colour);
  context.textBaseline = "middle";
  const left = x + (words ? 0.55 : 0.3) * size;
  context.font = FONT.replace("{px}", size);
  if (words) context.fillText(words, left + (emoji ? 1.6 * size : 0), y + h / 2 + size * 0.05);
  context.font = EMOJI_FONT.replace("{px}", size);
  if (emoji) context.fillText(emoji, left, y + h / 2 + size * 0.05);
}

function toBox([x1, y1, x2, y2], place, mirror) {
  const w = (x2 - x1) * place.scale;
  const left = place.x + x1 * place.scale;
  return { x: mirror ? place.width - left - w : left, y: place.y + y1 * place.scale, w, h: (y2 - y1) * place.scale };
}

function drawBrackets(context, { x, y, w, h }, colour, unit) {
  const arm = Math.min(w, h) * 0.26;
  const r = Math.min(w, h) * 0.12;
  const corners = () => {
    context.beginPath();
    context.moveTo(x, y + arm), context.arcTo(x, y, x + arm, y, r), context.lineTo(x + arm, y);
    context.moveTo(x + w - arm, y), context.arcTo(x + w, y, x + w, y + arm, r), context.lineTo(x + w, y + arm);
    context.moveTo(x + w, y + h - arm), context.arcTo(x + w, y + h, x + w - arm, y + h, r), context.lineTo(x + w - arm, y + h);
    context.moveTo(x + arm, y + h), context.arcTo(x, y + h, x, y + h - arm, r), context.lineTo(x, y + h - arm);
    context.stroke();
  };
  const line = Math.max(1.2 * unit, Math.min(3.5 * unit, 0.06 * Math.min(w, h))); // small faces are not to vanish under it
  context.lineCap = "round";
  context.strokeStyle = "rgb(0 0 0 / 45%)";
  context.lineWidth = 1.7 * line;
  corners();
  context.strokeStyle = colour;
  context.lineWidth = line;
  corners();
  context.lineWidth = 0.3 * line;
  context.globalAlpha = 0.55;
  context.beginPath();
  context.roundRect(x, y, w, h, r);
  context.stroke();
  context.globalAlpha = 1;
}

/** Draw a bar for every expression beside a face, as large as hides nothing; none where even the smallest hides much. */
function drawBars(context, face, box, layout, number, unit) {
  const probs = shownProbs(face);
  const names = ordered(Object.keys(probs));
  let chosen = null;
  for (const px of BAR_PX) {
    const [width, height] = [10.7 * px * unit, (1.6 * names.length + 1) * px * unit];
    if (width > 0.7 * layout.width || height > 0.96 * layout.height) continue;
    const found = layout.best(panelSpots(box, width, height, 0.8 * px * unit), number);
    if (!chosen || found.tags + found.boxes < chosen.hides) chosen = { ...found, hides: found.tags + found.boxes, px: px * unit };
    if (chosen.hides === 0) break;
  }
  if (!chosen || chosen.hides > MOST_HIDDEN) return;
  const { spot: { x, y, w, h }, px } = chosen;
  layout.add(chosen.spot);
  const bar = (left, middle, width) => {
    context.beginPath();
    context.roundRect(left, middle - px / 3, width, px / 1.5, px / 3);
    context.fill();
  };
  context.fillStyle = "rgb(8 13 15 / 72%)";
  context.beginPath();
  context.roundRect(x, y, w, h, 0.8 * px);
  context.fill();
  context.textBaseline = "middle";
  names.forEach((name, i) => {
    const middle = y + 0.5 * px + 1.6 * px * (i + 0.5);
    const [left, most] = [x + 2.8 * px, w - 3.8 * px];
    context.fillStyle = "#ffffff";
    context.font = (look(name).emoji ? EMOJI_FONT : FONT).replace("{px}", px);
    context.fillText(look(name).emoji || name.slice(0, 2), x + 0.75 * px, middle);
    context.fillStyle = "rgb(255 255 255 / 16%)";
    bar(left, middle, most);
    context.fillStyle = look(name).colour;
    bar(left, middle, Math.max(px / 4, most * probs[name]));
  });
}

/** Return black or white, whichever is easier to read on a colour. */
export function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255).map((c) => (c <= 0.04 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.2 ? DARK : "#ffffff";
}
