// Stacked probabilities over time: a scrolling lane per person of a live stream, a still one per person of a video.

import { h, fitCanvas, percent } from "./dom.js";
import { look } from "./expressions.js";
import { shownName, shownProbs } from "./draw.js";

const WINDOW_S = 30;
const GAP_S = 1.2;
const MOST_LANES = 6;

/** Paint columns [{x, p: [one per name]}] that follow one another without a gap. */
function paintRun(context, run, names, height) {
  const sums = run.map(() => 0);
  names.forEach((name, k) => {
    context.beginPath();
    run.forEach(({ x }, i) => context.lineTo(x, height * (1 - sums[i])));
    for (let i = run.length - 1; i >= 0; i -= 1) {
      sums[i] += run[i].p[k];
      context.lineTo(run[i].x, height * (1 - sums[i]));
    }
    context.fillStyle = look(name).colour;
    context.globalAlpha = name === "neutral" ? 0.28 : 0.92;
    context.fill();
  });
  context.globalAlpha = 1;
}

/** Paint points [{t, p}] with breaks where nobody was seen. */
export function paintPoints(context, points, names, height, toX, gap) {
  let run = [];
  let before = null;
  for (const point of points) {
    if (before && point.t - before.t > gap) {
      paintRun(context, widened(run), names, height);
      run = [];
    }
    run.push({ x: toX(point.t), p: point.p });
    before = point;
  }
  if (run.length) paintRun(context, widened(run), names, height);
}

/** A face seen for an instant is still to be seen in the timeline. */
function widened(run) {
  const last = run[run.length - 1];
  return last.x - run[0].x < 1.5 ? [...run, { x: run[0].x + 1.5, p: last.p }] : run;
}

/** The lanes below a live image. */
export class LiveTimeline {
  constructor(place) {
    this.place = place;
    this.empty = place.firstElementChild;
    this.names = [];
    this.lanes = new Map();
  }

  /** Forget everything; from now on these expressions are shown. */
  begin(names) {
    this.names = names;
    this.lanes.clear();
    this.place.replaceChildren(this.empty);
  }

  add(now, faces) {
    for (const face of faces) {
      const lane = this.lanes.get(face.track_id) || this.open(face.track_id);
      if (!lane) continue;
      const probs = shownProbs(face);
      lane.points.push({ t: now, p: this.names.map((name) => probs[name] || 0) });
      const name = shownName(face);
      const words = `${name} ${percent(probs[name] || 0)}`;
      if (lane.words.textContent !== words) lane.words.textContent = words;
    }
  }

  open(id) {
    if (this.lanes.size >= MOST_LANES) return null;
    const words = h("span");
    const canvas = h("canvas", { role: "img", "aria-label": `Expressions of person ${id} over the last ${WINDOW_S} seconds` });
    const element = h("div", { class: "lane" }, h("div", { class: "lane-head" }, h("b", {}, `Person ${id}`), words), canvas);
    const lane = { points: [], words, canvas, element };
    this.empty.remove();
    this.place.append(element);
    this.lanes.set(id, lane);
    return lane;
  }

  paint(now) {
    for (const [id, lane] of this.lanes) {
      const start = now - WINDOW_S - GAP_S;
      const first = lane.points.findIndex((point) => point.t > start);
      if (first > 0) lane.points.splice(0, first);
      if (first < 0) this.shut(id, lane);
      else this.paintLane(lane, now);
    }
  }

  shut(id, lane) {
    lane.element.remove();
    this.lanes.delete(id);
    if (!this.lanes.size) this.place.replaceChildren(this.empty);
  }

  paintLane(lane, now) {
    const { context, width, height } = fitCanvas(lane.canvas);
    paintPoints(context, lane.points, this.names, height, (t) => width * (1 - (now - t) / WINDOW_S), GAP_S);
  }
}

/** Return per pixel column the average of the points in it, for a video of any length. */
function thinned(points, columns, seconds) {
  if (points.length < 2 * columns) return points;
  const bins = [];
  let bin = null;
  for (const point of points) {
    const number = Math.floor((point.t / seconds) * columns);
    if (!bin || bin.number !== number) bins.push((bin = { number, t: point.t, n: 0, p: point.p.map(() => 0) }));
    bin.n += 1;
    point.p.forEach((p, k) => (bin.p[k] += p));
  }
  return bins.map(({ t, n, p }) => ({ t, p: p.map((sum) => sum / n) }));
}

export function paintLane(canvas, points, names, seconds, gap) {
  const { context, width, height } = fitCanvas(canvas);
  if (!width) return;
  paintPoints(context, thinned(points, width, seconds), names, height, (t) => (t / seconds) * width, Math.max(gap, (2 * seconds) / width));
}
