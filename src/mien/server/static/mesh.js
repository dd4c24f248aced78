// What was measured, drawn over a face: the lines of its mesh, and its pose as three axes, as the command line draws them.

// Numbers of the mesh's points: oval of the face, lips outside and inside, right eye, left eye. See output/draw/measures.py.
export const CLOSED_LINES = [
  [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109],
  [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185],
  [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191],
  [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246],
  [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466],
];
export const OPEN_LINES = [
  [70, 63, 105, 66, 107],
  [336, 296, 334, 293, 300],
  [168, 6, 197, 195, 5, 4],
  [98, 2, 327],
];
const NOSE = 4;
const AXES = ["#eb4034", "#48bb5a", "#4285f4"]; // to the person's left, upwards, forwards
const AXIS_SHARE = 0.42; // of the width of the box

/** Return where a head's left, its top and its nose point to ([x, y, z]: right, down, away), or null where its pose is not known. */
export function axesOf({ yaw, pitch, roll } = {}) {
  if (![yaw, pitch, roll].every(Number.isFinite)) return null;
  const [a, b, c] = [yaw, pitch, roll].map((angle) => Math.cos((angle * Math.PI) / 180));
  const [s, t, u] = [yaw, pitch, roll].map((angle) => Math.sin((angle * Math.PI) / 180));
  const turned = ([x, y, z]) => {
    const [y1, z1] = [b * y + t * z, -t * y + b * z]; // about x first, then y, then z
    const [x2, z2] = [a * x - s * z1, s * x + a * z1];
    return [c * x2 - u * y1, u * x2 + c * y1, z2];
  };
  return [[1, 0, 0], [0, -1, 0], [0, 0, -1]].map(turned);
}

/**
 * Draw what was measured.
 * @param face with mesh (points, pixels of the image) and attributes; seen: the box in which it was measured, where the
 *     box that is drawn glides after it
 * @param box where the face is drawn
 * @param style {mirror, unit}
 */
export function drawMeasures(context, face, box, style) {
  const axes = axesOf(face.attributes);
  if (!face.mesh && !axes) return;
  const [left, top, right, bottom] = face.seen || face.box;
  const toPage = ([x, y]) => {
    const across = (x - left) / (right - left);
    return [box.x + box.w * (style.mirror ? 1 - across : across), box.y + (box.h * (y - top)) / (bottom - top)];
  };
  const line = Math.max(0.8, Math.min(1.6, box.w / 180)) * (style.unit || 1);
  if (face.mesh) {
    const points = face.mesh.map(toPage);
    strokeMesh(context, points, 2.4 * line, "rgb(0 0 0 / 35%)");
    strokeMesh(context, points, line, "rgb(255 255 255 / 90%)");
  }
  if (axes) strokeAxes(context, axes, toPage(face.mesh?.[NOSE] || face.landmarks?.[2] || [(left + right) / 2, (top + bottom) / 2]), AXIS_SHARE * box.w, 2.4 * line, style.mirror);
}

function strokeMesh(context, points, width, colour) {
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.lineJoin = "round";
  context.beginPath();
  for (const [lines, closed] of [[CLOSED_LINES, true], [OPEN_LINES, false]]) {
    for (const [first, ...rest] of lines) {
      context.moveTo(...points[first]);
      for (const number of rest) context.lineTo(...points[number]);
      if (closed) context.closePath();
    }
  }
  context.stroke();
}

function strokeAxes(context, axes, [x, y], length, width, mirror) {
  const far = axes.map((axis, number) => [axis, number]).sort(([a], [b]) => b[2] - a[2]); // what points away first
  context.lineCap = "round";
  for (const [[dx, dy], number] of far) {
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + (mirror ? -1 : 1) * length * dx, y + length * dy);
    context.lineWidth = 1.7 * width;
    context.strokeStyle = "rgb(0 0 0 / 40%)";
    context.stroke();
    context.lineWidth = width;
    context.strokeStyle = AXES[number];
    context.stroke();
  }
}
