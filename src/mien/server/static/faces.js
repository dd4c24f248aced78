// Small images of faces, cut out of whatever shows the image.

import { h } from "./dom.js";

const MARGIN = 0.22;
const SIDE_PX = 92;

/** Return a square for a face's image, with the emoji of an expression in its corner (or alone, while there is no image). */
export function portrait() {
  const canvas = h("canvas", { width: SIDE_PX, height: SIDE_PX, hidden: true });
  const emoji = h("span", { class: "emoji" });
  return { element: h("div", { class: "face", "aria-hidden": "true" }, canvas, emoji), canvas, emoji };
}

/**
 * Draw a face.
 * @param source a video, image or bitmap
 * @param size its width and height in the pixels of `box`, and how many pixels it really has across
 * @param box [left, top, right, bottom]
 */
export function drawPortrait({ canvas, element }, source, { width, height, across }, [x1, y1, x2, y2], mirror = false) {
  const side = Math.max(x2 - x1, y2 - y1) * (1 + 2 * MARGIN);
  const [left, top] = [(x1 + x2 - side) / 2, (y1 + y2 - side) / 2];
  const scale = across / width;
  const context = canvas.getContext("2d");
  context.setTransform(mirror ? -1 : 1, 0, 0, 1, mirror ? SIDE_PX : 0, 0);
  context.fillStyle = "#0c1113"; // where the square reaches over the image
  context.fillRect(0, 0, SIDE_PX, SIDE_PX);
  const [l, t, r, b] = [Math.max(left, 0), Math.max(top, 0), Math.min(left + side, width), Math.min(top + side, height)];
  const to = SIDE_PX / side;
  context.drawImage(source, l * scale, t * scale, (r - l) * scale, (b - t) * scale, (l - left) * to, (t - top) * to, (r - l) * to, (b - t) * to);
  canvas.hidden = false;
  element.classList.add("with-image");
}
