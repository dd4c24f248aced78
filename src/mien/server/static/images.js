// The view for still images: dropped, pasted, chosen, or fetched by the server.

import { $, announce, button, bytes, h, icon, percent, plural, save, span, toast } from "./dom.js";
import { Problem, getJson, request } from "./api.js";
import { contain, drawFaces, faceOf } from "./draw.js";
import { catalogue, fillDetectors, fillLabelSets, look, mixBar, ordered } from "./expressions.js";
import { askedToDraw, measureList, measuredColumns, tieMeasures } from "./measures.js";
import { columnsOf, toCsv, toJson } from "./rows.js";
import { tie } from "./settings.js";
import { problemBox, sentenceOf } from "./words.js";

const AT_ONCE = 2;
const BUSY_TRIES = 4;
const EXAMPLES = ["astronaut.jpg", "grace_hopper.jpg"];
const UNDO_MS = 20_000;
const NEAR_PX = 14; // a finger is no mouse

/** Build the view; returns {show}. */
export function createImages() {
  const view = new ImagesView();
  return { show: () => view.show(), hide: () => (view.visible = false) };
}

class ImagesView {
  constructor() {
    this.shots = [];
    this.queue = [];
    this.running = 0;
    this.visible = false;
    fillLabelSets($("#image-labels"));
    fillDetectors($("#image-detector"));
    const { max_body_bytes: most, url_allowed: urls } = catalogue.limits;
    $("#image-limits").textContent = `JPEG, PNG, WebP and more, up to ${bytes(most)} each. They are not kept on the server.`;
    $("#image-url").hidden = !urls;
    $("#image-paste").hidden = !navigator.clipboard?.read;
    this.listen();
  }

  show() {
    this.visible = true;
    if (this.stale) this.again();
    for (const shot of this.shots) paintShot(shot);
  }

  listen() {
    takeFrom($("#image-files"), (files) => this.addFiles(files));
    $("#image-example").onclick = async () => {
      const load = async (name) => new File([await (await request(`examples/${name}`)).blob()], name, { type: "image/jpeg" });
      this.addFiles(await Promise.all(EXAMPLES.map(load)));
    };
    dropInto($("#view-images"), $("#image-drop"), (files) => this.addFiles(files));
    addEventListener("paste", ({ clipboardData }) => {
      const files = [...clipboardData.files].filter((file) => file.type.startsWith("image/"));
      if (this.visible && files.length) this.addFiles(files);
    });
    $("#image-paste").onclick = () => this.paste();
    $("#image-url").onsubmit = (event) => {
      event.preventDefault();
      this.add({ name: $("#image-address").value, url: $("#image-address").value });
      $("#image-address").value = "";
    };
    tie($("#image-labels"), "labels", () => this.again());
    tie($("#image-detector"), "detector", () => this.again());
    tieMeasures($("#image-measures"), () => this.again());
    $("#image-csv").onclick = () => this.saveCsv();
    $("#image-json").onclick = () => save("mien-images.json", toJson(this.done.map((shot) => shot.result)));
    $("#image-clear").onclick = () => {
      this.remove(this.shots);
    };
  }

  get done() {
    return this.shots.filter((shot) => shot.result && !shot.result.error);
  }

  async paste() {
    try {
      const items = await navigator.clipboard.read();
      const files = [];
      for (const item of items) {
        const type = item.types.find((one) => one.startsWith("image/"));
        if (type) files.push(new File([await item.getType(type)], `pasted.${type.slice(6)}`, { type }));
      }
      if (files.length) this.addFiles(files);
      else toast("There is no image in the clipboard.");
    } catch {
      toast("The browser did not allow the page to read the clipboard. Press Ctrl+V instead.");
    }
  }

  addFiles(files) {
    for (const file of [...files].reverse()) this.add({ name: file.name, file });
  }

  add({ name, file = null, url = null }) {
    const shot = { name, file, url, result: null, bitmap: null };
    shot.canvas = h("canvas", { role: "img", "aria-label": name });
    shot.lit = null;
    shot.frame = h("div", { class: "shot-image" }, shot.canvas, h("span", { class: "spinner", "aria-hidden": "true" }));
    shot.note = h("p", { class: "hint" }, "Looking for faces");
    shot.body = h("div", { class: "shot-body" });
    shot.element = h("article", { class: "shot waiting", "aria-busy": "true" }, shot.frame, shot.body);
    this.head(shot);
    shot.canvas.onpointermove = (event) => event.pointerType === "mouse" && this.light(shot, faceAt(shot, event));
    shot.canvas.onpointerleave = () => this.light(shot, null);
    shot.canvas.onclick = (event) => this.open(shot, faceAt(shot, event));
    shot.sized = new ResizeObserver(() => paintShot(shot));
    shot.sized.observe(shot.canvas);
    this.arrange([shot, ...this.shots]);
    this.start(shot);
  }

  head(shot) {
    const remove = h("button", { class: "round", type: "button", "aria-label": `Remove ${shot.name}`, click: () => this.remove([shot]) }, icon("close"));
    shot.body.replaceChildren(h("div", { class: "shot-head" }, h("div", {}, h("h2", {}, shot.name), shot.note), remove));
  }

  start(shot) {
    this.queue.unshift(shot);
    queueMicrotask(() => this.next());
  }

  /** Look at images once more; while the view is hidden, when it is shown. */
  again(shots = this.shots) {
    this.stale = !this.visible;
    if (this.stale) return;
    for (const shot of [...shots].reverse()) {
      shot.result = shot.lit = null;
      this.head(shot);
      shot.note.textContent = "Looking for faces";
      shot.element.classList.add("waiting");
      shot.frame.replaceChildren(shot.canvas, h("span", { class: "spinner", "aria-hidden": "true" }));
      this.start(shot);
    }
  }

  async next() {
    while (this.running < AT_ONCE && this.queue.length) {
      const shot = this.queue.shift();
      this.running += 1;
      this.work(shot).finally(() => {
        this.running -= 1;
        this.next();
      });
    }
  }

  async work(shot) {
    try {
      if (shot.file && !shot.bitmap) {
        shot.bitmap = await createImageBitmap(shot.file).catch(() => null);
        paintShot(shot);
      }
      const answer = await this.ask(shot);
      const [result] = answer.results;
      if (result.error) throw new Problem(result.error);
      this.finish(shot, result, answer.labels);
    } catch (problem) {
      this.fail(shot, problem);
    }
    shot.element.classList.remove("waiting");
    shot.element.removeAttribute("aria-busy");
    shot.frame.querySelector(".spinner")?.remove();
    $("#image-downloads").hidden = !this.done.length;
  }

  /** Send an image; where the browser cannot show it itself, the server returns it as a JPEG. */
  async ask(shot) {
    if (shot.file && shot.file.size > catalogue.limits.max_body_bytes) {
      throw new Problem({ status: 413, title: "Too large", detail: `The image has ${bytes(shot.file.size)}; the server takes ${bytes(catalogue.limits.max_body_bytes)}.` });
    }
    const query = new URLSearchParams({ labels: $("#image-labels").value, detector: $("#image-detector").value });
    if (!shot.bitmap) query.set("annotated", "1");
    if (askedToDraw($("#image-measures")).length) query.set("attributes", askedToDraw($("#image-measures")).join(","));
    for (let tries = 1; ; tries += 1) {
      try {
        return await getJson(`v1/analyze?${query}`, { method: "POST", ...bodyOf(shot) });
      } catch (problem) {
        if (![429, 503].includes(problem.status) || tries === BUSY_TRIES) throw problem;
        shot.note.textContent = "The server is busy; waiting for a place";
        await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(problem.retryAfter || 1, 10)));
      }
    }
  }

  finish(shot, result, names) {
    const { annotated, ...plain } = result;
    shot.result = plain;
    shot.names = names;
    shot.faces = result.faces.map((row) => faceOf(row, names));
    shot.rows = shot.opened = null;
    shot.note.textContent = `${result.width} × ${result.height} · ${result.faces.length ? plural(result.faces.length, "face") : "no face found"}`;
    if (annotated) shot.frame.replaceChildren(h("img", { src: annotated, alt: `${shot.name} with its faces marked` }));
    shot.annotated = annotated;
    const words = shot.faces.map((face) => `${face.expression} ${percent(face.confidence)}`).join(", ");
    shot.canvas.setAttribute("aria-label", `${shot.name}: ${words || "no face"}`);
    if (shot.faces.length) shot.body.append(this.table(shot));
    else shot.body.append(h("p", { class: "hint" }, "No face was found. Small, dark or turned faces are missed more often; another detector may see them."));
    shot.body.append(h("div", { class: "row" }, h("button", { class: "button small", type: "button", click: () => saveAnnotated(shot) }, icon("down"), "Annotated image")));
    paintShot(shot);
    announce(`${shot.name}: ${words || "no face found"}`);
  }

  fail(shot, problem) {
    shot.note.textContent = "Not analyzed";
    if (!shot.bitmap) shot.frame.replaceChildren(icon("warn", "drop-art"));
    shot.body.append(
      problemBox(problem),
      h("div", { class: "row" }, h("button", { class: "button small", type: "button", "aria-label": `Try again: ${shot.name}`, click: () => this.again([shot]) }, "Try again")),
    );
    announce(`${shot.name}: ${sentenceOf(problem)}`);
  }

  table(shot) {
    shot.rows = shot.faces.map((face, i) => {
      const open = h("button", { class: "number", type: "button", "aria-expanded": "false", "aria-label": `Face ${i}: all expressions`, click: () => this.open(shot, i) }, String(i));
      const mix = Object.entries(face.probs).map(([name, p]) => `${name} ${percent(p)}`).join(", ");
      return h("tr", { mouseenter: () => this.light(shot, i), mouseleave: () => this.light(shot, null), focusin: () => this.light(shot, i), focusout: () => this.light(shot, null) },
        h("th", { scope: "row" }, open),
        h("td", {}, h("span", { class: "emoji", "aria-hidden": "true" }, look(face.expression).emoji), ` ${face.expression}`),
        h("td", {}, mixBar(face.probs, mix)),
        h("td", { class: "num" }, percent(face.confidence)));
    });
    const header = h("tr", {}, h("th", { scope: "col" }, "Face"), h("th", { scope: "col" }, "Expression"), h("th", { scope: "col" }, "All"), h("th", { scope: "col", class: "num" }, "Confidence"));
    return h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": `Faces of ${shot.name}` }, h("table", {}, h("thead", {}, header), h("tbody", {}, shot.rows)));
  }

  /** Stress a face, on the image and in the table; null for none. */
  light(shot, number) {
    const lit = number ?? shot.opened ?? null;
    if (!shot.rows || lit === shot.lit) return;
    shot.lit = lit;
    shot.rows.forEach((row, i) => row.classList.toggle("lit", i === lit));
    shot.canvas.classList.toggle("over-face", number !== null);
    paintShot(shot);
  }

  /** Show all expressions of a face below its row, or hide them again. */
  open(shot, number) {
    if (!shot.rows) return;
    const goal = number === shot.opened ? null : number;
    shot.detail?.remove();
    shot.rows.forEach((row, i) => $("button", row).setAttribute("aria-expanded", String(i === goal)));
    shot.opened = goal;
    if (goal !== null) {
      shot.detail = h("tr", { class: "detail" }, h("td", { colspan: 4 }, probBars(shot.faces[goal]), measureList(shot.result.faces[goal], shot.result.faces[goal].note)));
      shot.rows[goal].after(shot.detail);
      shot.detail.scrollIntoView({ block: "nearest" });
    }
    this.light(shot, goal);
  }

  /** Take images off the page; for a while they can be had back. */
  remove(shots) {
    this.forget?.();
    const before = this.shots;
    const words = shots.length === 1 ? shots[0].name : plural(shots.length, "image");
    const undo = button("Undo", () => {
      this.forget = null;
      clearTimeout(timer);
      strip.remove();
      this.arrange([...this.shots.filter((shot) => !before.includes(shot)), ...before]);
      for (const shot of shots) if (shot.element.classList.contains("waiting")) this.start(shot);
      announce(`${words}: back again`);
    }, { kind: "small" });
    const strip = h("div", { class: "undo" }, h("span", {}, `${words} removed`), undo);
    this.forget = () => {
      this.forget = null;
      clearTimeout(timer);
      strip.remove();
      for (const shot of shots) {
        shot.sized.disconnect();
        shot.bitmap?.close();
      }
    };
    const timer = setTimeout(() => this.forget?.(), UNDO_MS);
    this.queue = this.queue.filter((one) => !shots.includes(one));
    this.arrange(before.filter((one) => !shots.includes(one)));
    $("#shots").before(strip);
    undo.focus();
    announce(`${words} removed. Undo is possible for ${span(UNDO_MS / 1000)}.`);
  }

  /** Show these images, the newest first. */
  arrange(shots) {
    this.shots = shots;
    const place = $("#shots");
    for (const element of [...place.children]) if (!shots.some((shot) => shot.element === element)) element.remove();
    shots.forEach(({ element }, i) => place.children[i] === element || place.insertBefore(element, place.children[i] || null));
    $("#image-downloads").hidden = !this.done.length;
    $("#image-drop").classList.toggle("slim", this.shots.length > 0);
    for (const shot of this.shots) shot.element.classList.toggle("large", this.shots.length === 1);
  }

  saveCsv() {
    const shots = [...this.done].reverse();
    const names = shots[0].names;
    save("mien-images.csv", toCsv(shots.flatMap((shot) => shot.result.faces), [...columnsOf(names, false), ...(shots.some((shot) => shot.result.faces.some((row) => "note" in row)) ? measuredColumns() : [])]));
  }
}

function bodyOf(shot) {
  if (shot.url) return { body: JSON.stringify({ urls: [shot.url] }), headers: { "Content-Type": "application/json" } };
  const form = new FormData();
  form.append("file", shot.file, shot.name);
  return { body: form };
}

/** Draw an image with its faces: on the page as sharp as its screen is, to be saved in the image's own pixels. */
function paintShot(shot, canvas = shot.canvas) {
  if (!shot.bitmap) return;
  const { width, height } = shot.bitmap;
  const onPage = canvas === shot.canvas;
  const shown = onPage && canvas.clientWidth ? contain(width, height, canvas.clientWidth, canvas.clientHeight).scale : 640 / Math.max(640, width);
  const sharp = onPage ? Math.max(1, shown * (window.devicePixelRatio || 1)) : 1;
  const [w, t] = [Math.round(width * sharp), Math.round(height * sharp)];
  if (canvas.width !== w || canvas.height !== t) [canvas.width, canvas.height] = [w, t];
  const context = canvas.getContext("2d");
  context.setTransform(sharp, 0, 0, sharp, 0, 0);
  context.drawImage(shot.bitmap, 0, 0);
  const unit = onPage ? Math.max(0.6, 1 / shown) : Math.max(0.7, Math.max(width, height) / 900);
  drawFaces(context, shot.faces || [], { scale: 1, x: 0, y: 0, width, height }, { unit, lit: onPage ? shot.lit : null, numbers: onPage || "with names" });
}

async function saveAnnotated(shot) {
  const name = `${shot.name.split(/[/\\]/).pop().replace(/\.[^.]*$/, "") || "image"}-faces.jpg`;
  if (shot.annotated) return save(name, await (await fetch(shot.annotated)).blob());
  const canvas = document.createElement("canvas");
  paintShot(shot, canvas);
  return canvas.toBlob((blob) => save(name, blob), "image/jpeg", 0.93);
}

/** Return the number of the face under the pointer, or nearest to it; null where there is none. */
function faceAt(shot, { offsetX, offsetY }) {
  if (!shot.bitmap || !shot.faces) return null;
  const { scale, x, y } = contain(shot.bitmap.width, shot.bitmap.height, shot.canvas.clientWidth, shot.canvas.clientHeight);
  const far = ([x1, y1, x2, y2]) => Math.hypot(Math.max(x1 * scale + x - offsetX, 0, offsetX - x2 * scale - x), Math.max(y1 * scale + y - offsetY, 0, offsetY - y2 * scale - y));
  const middle = ([x1, y1, x2, y2]) => Math.hypot(((x1 + x2) * scale) / 2 + x - offsetX, ((y1 + y2) * scale) / 2 + y - offsetY);
  const near = shot.faces.map((face, i) => ({ i, far: far(face.box), middle: middle(face.box) })).filter((one) => one.far < NEAR_PX);
  return near.sort((a, b) => a.far - b.far || a.middle - b.middle)[0]?.i ?? null;
}

/** Return a bar with its figure for each expression of a face. */
function probBars(face) {
  return h("div", { class: "probs" }, ordered(Object.keys(face.probs)).map((name) => {
    const bar = h("i");
    bar.style.background = look(name).colour;
    bar.style.transform = `scaleX(${face.probs[name]})`;
    return h("div", { class: `prob ${name === face.expression ? "most" : ""}` }, h("span", {}, name), h("div", { class: "prob-bar", "aria-hidden": "true" }, bar), h("span", { class: "prob-value" }, percent(face.probs[name])));
  }));
}

/** Take what is chosen in a file input, also what was chosen before the page had loaded its scripts. */
export function takeFrom(input, take) {
  input.onchange = () => {
    if (input.files.length) take([...input.files]);
    input.value = "";
  };
  input.onchange();
}

/** Let files be dropped anywhere in a view; its drop zone shows that they may be. */
export function dropInto(view, zone, take) {
  let depth = 0;
  const over = (on) => zone.classList.toggle("over", on);
  view.addEventListener("dragenter", () => over((depth += 1) > 0));
  view.addEventListener("dragleave", () => over((depth -= 1) > 0));
  view.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
}
