// The server's own camera: one annotated feed for everybody who watches.

import { $, button, h, icon, relabel, save } from "./dom.js";
import { address, connection, getJson, request } from "./api.js";

const AGAIN_MS = 4000;

/** Build the view; returns {show, hide}. */
export function createCamera() {
  const picture = $("#camera-picture");
  let watching = false;
  let visible = false;
  let timer = 0;

  const enter = (state, ...card) => {
    $("#camera-stage").dataset.state = state;
    picture.hidden = state !== "running";
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
    try {
      await getJson("v1/models"); // asks for the token, which an <img> cannot
    } catch (problem) {
      away(problem);
      return;
    }
    const url = new URL(address("video_feed", { secret: true }));
    url.searchParams.set("t", Date.now());
    picture.src = url.href;
  };

  const away = (problem) => {
    picture.removeAttribute("src");
    if (!watching) return;
    const words = problem?.detail || "The server’s camera gives no picture, or too many people watch.";
    enter("away", ...card("plug", "No picture", `${words} Trying again in a few seconds.`));
    timer = setTimeout(() => visible && watching && watch(), AGAIN_MS);
  };

  const stop = () => {
    clearTimeout(timer);
    watching = false;
    picture.removeAttribute("src");
    enter("idle", ...card("camera", "The camera rests", "It is open only while somebody watches.", button("Watch", watch, { kind: "primary", symbol: "play" })));
  };

  picture.onload = () => watching && enter("running");
  picture.onerror = () => picture.getAttribute("src") && away();
  $("#camera-stop").onclick = () => (watching ? stop() : watch());
  $("#camera-save").onclick = () => {
    const canvas = h("canvas", { width: picture.naturalWidth, height: picture.naturalHeight });
    canvas.getContext("2d").drawImage(picture, 0, 0);
    canvas.toBlob((blob) => save("mien-camera.jpg", blob), "image/jpeg", 0.92);
  };
  connection.addEventListener("change", ({ detail }) => visible && watching && (detail ? watch() : away({ detail: "The server cannot be reached." })));
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
