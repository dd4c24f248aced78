// Small helpers for the page: elements, words for numbers, messages, files to save.

const SVG = "http://www.w3.org/2000/svg";
const QUIET_MS = 4000;

export const $ = (selector, root = document) => root.querySelector(selector);

/** Return a new element; attributes that are functions become listeners ("click"), null and false are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Return an icon of icons.svg; it says nothing to screen readers. */
export function icon(name, className = "icon") {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `icons.svg#${name}`);
  svg.append(use);
  return svg;
}

export function button(words, click, { kind = "", symbol = null, ...attributes } = {}) {
  return h("button", { class: `button ${kind}`.trim(), type: "button", click, ...attributes }, symbol && icon(symbol), words);
}

/** Show words in a button without touching its icon's size or place. */
export function relabel(element, symbol, words) {
  element.replaceChildren(icon(symbol), words);
}

export const percent = (p) => `${Math.round(100 * p)}%`;

export function plural(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** Return a time as 1:05 or 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, "0"));
  const hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${parts.join(":")}` : parts.join(":").replace(/^0/, "");
}

/** Return a moment of a video; of a short one with tenths of seconds. */
export const moment = (seconds, length) => (length < 20 ? `${seconds.toFixed(1)} s` : clock(seconds));

/** Return a length of time in words. */
export function span(seconds) {
  if (seconds < 90) return plural(Math.max(1, Math.round(seconds)), "second");
  if (seconds < 5400) return plural(Math.round(seconds / 60), "minute");
  return seconds < 129600 ? plural(Math.round(seconds / 3600), "hour") : plural(Math.round(seconds / 86400), "day");
}

export function bytes(number) {
  const step = number < 1 << 20 ? [1 << 10, "KB"] : number < 2 ** 30 ? [1 << 20, "MB"] : [2 ** 30, "GB"];
  const value = number / step[0];
  return `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} ${step[1]}`;
}

let waiting = null;
let spokenAt = -QUIET_MS;

/** Tell screen readers; of messages in quick succession only the newest is said. */
export function announce(words) {
  const due = spokenAt + QUIET_MS - performance.now();
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    spokenAt = performance.now();
    $("#announcer").textContent = words;
  }, Math.max(50, due));
}

/** Show a message for a few seconds. */
export function toast(words, kind = "") {
  const element = h("div", { class: `toast ${kind}`.trim() }, words);
  $("#toasts").append(element);
  setTimeout(() => element.remove(), kind === "bad" ? 8000 : 4500);
}

export function save(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 30_000);
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Fit a canvas to its place on the page and return its context in CSS pixels, with that place's size. */
export function fitCanvas(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const dense = window.devicePixelRatio || 1;
  const [w, t] = [Math.round(width * dense), Math.round(height * dense)];
  if (canvas.width !== w || canvas.height !== t) [canvas.width, canvas.height] = [w, t];
  const context = canvas.getContext("2d");
  context.setTransform(dense, 0, 0, dense, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}
