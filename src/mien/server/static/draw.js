// Draws faces over an image: brackets around each, a tag with emoji, expression and number, and bars if wanted.

import { look, ordered } from "./expressions.js";

const DARK = "#181a1e";
const FONT = '600 {px}px -apple-system, "Segoe UI", Roboto, Inter, "Liberation Sans", "DejaVu Sans", sans-serif';
const EMOJI_FONT = '600 {px}px "Apple Color Emoji", "Segoe UI Emoji", "Noto Color Emoji", sans-serif'; // never for digits: its are wide
const LEAST_BARS_PX = 90;
const LEAST_WIDTH_PX = 420;

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
  };
}

export const shownName = (face) => face.steady_expression || face.expression;
export const shownProbs = (face) => face.smoothed || face.probs || {};

/**
 * Draw faces.
 * @param context 2D context whose unit is a pixel of the page (or of the image, for an image to save)
 * @param faces as /v1/stream tells of them
 * @param place {scale, x, y, width, height}: where the image lies, and how large the canvas is
 * @param style {mirror, bars, unit (size of letters), lit (number of the face to stress), numbers}
 */
export function drawFaces(context, faces, place, style = {}) {
  const boxes = faces.map((face) => toBox(face.box, place, style.mirror));
  faces.forEach((face, i) => drawBrackets(context, boxes[i], look(shownName(face)).colour, (style.lit === i ? 1.7 : 1) * (style.unit || 1)));
  faces.forEach((face, i) => {
    if (style.bars && place.width > LEAST_WIDTH_PX && boxes[i].h > LEAST_BARS_PX * (style.unit || 1)) drawBars(context, face, boxes[i], place, style.unit || 1);
  });
  faces.forEach((face, i) => drawTag(context, face, boxes[i], place, style, i));
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
  context.lineCap = "round";
  context.strokeStyle = "rgb(0 0 0 / 45%)";
  context.lineWidth = 6 * unit;
  corners();
  context.strokeStyle = colour;
  context.lineWidth = 3.5 * unit;
  corners();
  context.lineWidth = unit;
  context.globalAlpha = 0.55;
  context.beginPath();
  context.roundRect(x, y, w, h, r);
  context.stroke();
  context.globalAlpha = 1;
}

function drawTag(context, face, box, place, style, number) {
  const name = shownName(face);
  if (!name) return;
  const unit = style.unit || 1;
  const size = Math.max(12, Math.min(17, (box.w / unit) * 0.16)) * unit;
  const id = face.track_id !== null && face.track_id !== undefined ? `#${face.track_id} ` : style.numbers ? `${number}. ` : "";
  const p = shownProbs(face)[name] ?? face.confidence ?? 0;
  const words = `${id}${name} ${Math.round(100 * p)}%`;
  const before = look(name).emoji ? size * 1.6 : 0;
  context.font = FONT.replace("{px}", size);
  const width = before + context.measureText(words).width + size * 1.1;
  const height = size * 1.75;
  const x = Math.max(2, Math.min(box.x, place.width - width - 2));
  const above = box.y - height - 5 * unit;
  const y = above > 2 ? above : Math.min(box.y + box.h + 5 * unit, place.height - height - 2);
  const colour = look(name).colour;
  context.fillStyle = colour;
  context.beginPath();
  context.roundRect(x, y, width, height, height * 0.32);
  context.fill();
  context.fillStyle = inkOn(colour);
  context.textBaseline = "middle";
  context.fillText(words, x + size * 0.55 + before, y + height / 2 + size * 0.05);
  if (!before) return;
  context.font = EMOJI_FONT.replace("{px}", size);
  context.fillText(look(name).emoji, x + size * 0.55, y + height / 2 + size * 0.05);
}

function drawBars(context, face, box, place, unit) {
  const probs = shownProbs(face);
  const names = ordered(Object.keys(probs));
  const size = 12 * unit;
  const [width, line] = [128 * unit, 19 * unit];
  const height = names.length * line + 12 * unit;
  const right = box.x + box.w + 10 * unit;
  const x = right + width < place.width - 4 ? right : box.x - width - 10 * unit > 4 ? box.x - width - 10 * unit : place.width - width - 4;
  const y = Math.max(4, Math.min(box.y, place.height - height - 4));
  context.fillStyle = "rgb(8 13 15 / 72%)";
  context.beginPath();
  context.roundRect(x, y, width, height, 10 * unit);
  context.fill();
  context.textBaseline = "middle";
  names.forEach((name, i) => {
    const middle = y + 6 * unit + line * (i + 0.5);
    const most = width - 46 * unit;
    context.fillStyle = "#ffffff";
    context.font = (look(name).emoji ? EMOJI_FONT : FONT).replace("{px}", size);
    context.fillText(look(name).emoji || name.slice(0, 2), x + 9 * unit, middle);
    context.fillStyle = "rgb(255 255 255 / 16%)";
    context.beginPath();
    context.roundRect(x + 34 * unit, middle - 4 * unit, most, 8 * unit, 4 * unit);
    context.fill();
    context.fillStyle = look(name).colour;
    context.beginPath();
    context.roundRect(x + 34 * unit, middle - 4 * unit, Math.max(3 * unit, most * probs[name]), 8 * unit, 4 * unit);
    context.fill();
  });
}

/** Return black or white, whichever is easier to read on a colour. */
export function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255).map((c) => (c <= 0.04 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.2 ? DARK : "#ffffff";
}
