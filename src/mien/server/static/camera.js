// The server's own camera: one annotated feed for everybody who watches, with a timeline of who shows what.

import { $, button, h, icon, relabel, save } from "./dom.js";
import { connection, getJson, request, signed } from "./api.js";
import { catalogue, namesOf } from "./expressions.js";
import { Panels } from "./panels.js";
import { sentenceOf } from "./words.js";

const AGAIN_MS = 4000;

/** Hand every object of a stream of JSON lines to `take`. */
async function readLines(answer, take) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) take(JSON.parse(line));
  }
}

/** Build the view; returns {show, hide}. */
export function createCamera() {
  const image = $("#camera-image");
  let watching = false;
  let visible = false;
  let timer = 0;
  let listening = null;
  const panels = new Panels("camera");

  const seen = (width, height) => image.naturalWidth && { source: image, size: { width, height, across: image.naturalWidth } };
  const begin = () => panels.begin(namesOf(catalogue.label_sets.find((set) => set.default)?.key));

  /** Follow the faces of the feed until `deafen`; the image does without them if they cannot be had. */
  const listen = async () => {
    const mine = (listening = new AbortController());
    const paint = () => {
      if (listening !== mine) return;
      panels.paint();
      requestAnimationFrame(paint);
    };
    try {
      const answer = await request("v1/feed", { signal: mine.signal });
      requestAnimationFrame(paint);
      await readLines(answer, ({ faces, width, height }) => panels.show(faces, performance.now(), seen(width, height)));
    } catch {
      // the image tells of trouble
    }
    if (listening === mine) listening = null;
  };

  const deafen = () => {
    listening?.abort();
    listening = null;
  };

  const enter = (state, ...card) => {
    $("#camera-stage").dataset.state = state;
    image.hidden = state !== "running";
    $("#camera-save").disabled = state !== "running";
    $("#camera-tools").hidden = state === "idle";
    relabel($("#camera-stop"), watching ? "stop" : "play", watching ? "Stop" : "Watch");
    $("#camera-card").replaceChildren(...card);
  };

  const card = (symbol, title, words, ...rest) => [
    symbol === "spinner" ? h("span", { class: "spinner", "aria-hidden": "true" }) : icon(symbol, "art"), h("h2", {}, title), h("p", {}, words), ...rest,
  ];

  const watch = async () => {
    clearTimeout(timer);
    watching = true;
    enter("joining", ...card("spinner", "Opening the camera", "It is opened for the first viewer, which takes a moment."));
    let url;
    try {
      await getJson("v1/models"); // asks for the token, which an <img> cannot
      url = new URL(await signed("video_feed"));
    } catch (problem) {
      away(problem);
      return;
    }
    if (!watching) return;
    url.searchParams.set("t", Date.now());
    image.src = url.href;
  };

  const away = (problem) => {
    deafen();
    image.removeAttribute("src");
    if (!watching) return;
    const words = problem?.status ? sentenceOf(problem) : problem?.detail || "The server’s camera gives no image, or too many people watch.";
    enter("away", ...card("plug", "No image", `${words} Trying again in a few seconds.`));
    timer = setTimeout(() => visible && watching && watch(), AGAIN_MS);
  };

  const stop = () => {
    clearTimeout(timer);
    watching = false;
    deafen();
    begin();
    image.removeAttribute("src");
    enter("idle", ...card("camera", "The camera is off", "It is open only while somebody watches.", button("Watch", watch, { kind: "primary", symbol: "play" })));
  };

  image.onload = () => {
    if (!watching) return;
    enter("running");
    if (!listening) listen();
  };
  image.onerror = () => image.getAttribute("src") && away();
  $("#camera-stop").onclick = () => (watching ? stop() : watch());
  $("#camera-save").onclick = () => {
    const canvas = h("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    canvas.getContext("2d").drawImage(image, 0, 0);
    canvas.toBlob((blob) => save("mien-camera.jpg", blob), "image/jpeg", 0.92);
  };
  connection.addEventListener("change", ({ detail }) => visible && watching && (detail ? watch() : away({ detail: "The server cannot be reached." })));
  begin();
  setInterval(() => visible && watching && request("health").catch(() => {}), 5000);

  return {
    show: () => {
      visible = true;
      watch();
    },
    hide: () => {
      visible = false;
      stop();
    },
  };
}
