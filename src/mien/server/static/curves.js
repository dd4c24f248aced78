// Curves of an expression around time 0: a thin line per person, a thick one per group with its interval.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [640, 240, 44, 26];
const COLOURS = ["#2878c0", "#d9691e", "#2c8a57", "#8a4fa3", "#a8892a", "#b03a5b", "#4f7d8a", "#7b7b7b"];
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300];

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const groupColours = ({ groups }) => new Map(groups.map(({ group }, i) => [group, COLOURS[i % COLOURS.length]]));

/** Return the figure of one expression; found: the answer of /v1/compare. */
export function figure(found, number, colours) {
  const at = (rows) => rows.map((row) => row[number]);
  const all = [...found.curves.flatMap(({ probs }) => at(probs)), ...found.groups.flatMap(({ high }) => at(high))].filter((value) => value !== null);
  const top = Math.min(1, 1.08 * Math.max(0.1, ...all));
  const x = (time) => LEFT + ((WIDTH - LEFT - 10) * (time + found.before_s)) / (found.before_s + found.after_s);
  const y = (value) => 8 + (HEIGHT - BOTTOM - 8) * (1 - Math.max(0, Math.min(top, value)) / top);
  const points = (values) => values.map((value, i) => (value === null ? null : `${x(found.times_s[i]).toFixed(1)} ${y(value).toFixed(1)}`));
  const runs = (values) => points(values).reduce((made, one) => (one === null ? [...made, []] : [...made.slice(0, -1), [...made.at(-1), one]]), [[]]).filter(({ length }) => length);
  const line = (values, attributes) => svg("path", { d: runs(values).map((run) => `M${run.join("L")}`).join(""), fill: "none", ...attributes });
  const band = (low, high, colour) => svg("path", { d: runs(high).map((run, i) => `M${[...run, ...runs(low)[i].reverse()].join("L")}Z`).join(""), fill: colour, "fill-opacity": 0.2 });
  const parts = found.curves.map(({ group, probs }) => line(at(probs), { stroke: colours.get(group), "stroke-width": 1, "stroke-opacity": 0.45 }));
  for (const { group, mean, low, high } of found.groups) {
    parts.push(band(at(low), at(high), colours.get(group)), line(at(mean), { stroke: colours.get(group), "stroke-width": 3, "stroke-linejoin": "round" }));
  }
  const words = `${found.expressions[number]} around time 0. ${found.groups.map(({ group, mean }) => `${group || "all"}: ${inWords(found.times_s, at(mean))}`).join("; ")}`;
  return svg("svg", { class: "curves", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words }, ...axes(found, x, y, top), ...parts);
}

function inWords(times, mean) {
  const average = (values) => values.filter((value) => value !== null).reduce((sum, value, _, { length }) => sum + value / length, 0);
  const parts = [["before", mean.filter((_, i) => times[i] < 0)], ["after", mean.filter((_, i) => times[i] >= 0)]];
  return parts.filter(([, values]) => values.some((value) => value !== null)).map(([when, values]) => `${Math.round(100 * average(values))}% ${when}`).join(", ");
}

function axes({ before_s: before, after_s: after }, x, y, top) {
  const made = [svg("line", { class: "curve-zero", x1: x(0), x2: x(0), y1: 4, y2: HEIGHT - BOTTOM })];
  for (const share of [0, 0.5, 1]) {
    const height = y(share * top);
    made.push(svg("line", { class: "curve-grid", x1: LEFT, x2: WIDTH - 10, y1: height, y2: height }), svg("text", { x: LEFT - 6, y: height + 4, "text-anchor": "end" }, `${Math.round(100 * share * top)}%`));
  }
  const step = STEPS_S.find((one) => (before + after) / one <= 8) || before + after;
  for (let k = -Math.floor(before / step); k <= Math.floor(after / step); k += 1) made.push(svg("text", { x: x(k * step), y: HEIGHT - 8, "text-anchor": "middle" }, `${Number((k * step).toFixed(1))} s`));
  return made;
}
