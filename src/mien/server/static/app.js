// Starts the page: what the server offers, the views, the colours, and whether the server can be reached.

import { $, announce, button, h, icon, relabel } from "./dom.js";
import { connection, getJson, isOnline, note } from "./api.js";
import { catalogue, detectorFacts, learn } from "./expressions.js";
import { createCamera } from "./camera.js";
import { createVideos } from "./videos.js";
import { createLive } from "./live.js";
import { createImages } from "./images.js";
import { said, technicalOf } from "./words.js";

const VIEWS = { live: createLive, images: createImages, videos: createVideos, camera: createCamera };
const THEMES = { auto: ["auto", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };

const built = {};
let current = null;

function theme() {
  return document.documentElement.dataset.theme || "auto";
}

function showTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  relabel($("#theme"), THEMES[name][0], "");
  $("#theme").setAttribute("aria-label", `Colours: ${THEMES[name][1]}`);
}

function nextTheme() {
  const names = Object.keys(THEMES);
  const name = names[(names.indexOf(theme()) + 1) % names.length];
  showTheme(name);
  try {
    localStorage.setItem("mien-theme", name);
  } catch {
    // storage is switched off: the choice lasts as long as the page
  }
  announce($("#theme").getAttribute("aria-label"));
}

function showConnection() {
  const online = isOnline();
  $("#connection").dataset.state = online ? "online" : "offline";
  $("#connection span").textContent = online ? "Connected" : "No connection";
  $("#banner").hidden = online;
  $("#banner").textContent = online ? "" : "The server cannot be reached. Trying again; the page continues when it answers.";
}

/** Show the view that the address names: #live, #images, #videos, #videos/JOB, #camera. */
function route(event) {
  const [name, rest] = location.hash.slice(1).split("/");
  const view = VIEWS[name] && (name !== "camera" || catalogue.limits.server_camera) ? name : "live";
  if (current && current !== view) built[current].hide?.();
  for (const section of document.querySelectorAll("main > .view")) section.hidden = section.id !== `view-${view}`;
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  built[view] ??= VIEWS[view]();
  current = view;
  document.title = `${$(`.tabs a[data-view="${view}"]`).textContent} · mien`;
  built[view].show?.(rest);
  if (event) {
    $(`#view-${view} h1:not([hidden] *)`)?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function fillAbout() {
  const [model] = catalogue.models;
  const facts = { Version: catalogue.version, Model: model && `${model.name} ${model.version}`, "Learnt from": model?.data, Licence: model?.licence, ...detectorFacts() };
  $("#about-facts").replaceChildren(
    ...Object.entries(facts).filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
  $("#version").textContent = `· mien ${catalogue.version}`;
}

async function boot() {
  try {
    learn(await getJson("v1/models"));
  } catch (problem) {
    showConnection();
    $("#boot").replaceChildren(icon("plug", "drop-art"), h("h1", {}, said(problem).title), h("p", {}, said(problem).words), technicalOf(problem), button("Try again", boot, { kind: "primary" }));
    connection.addEventListener("change", boot, { once: true });
    return;
  }
  connection.removeEventListener("change", boot);
  $('.tabs a[data-view="camera"]').hidden = !catalogue.limits.server_camera;
  fillAbout();
  addEventListener("hashchange", route);
  route();
}

showTheme(theme());
$("#theme").onclick = nextTheme;
$("#about").onclick = () => $("#about-dialog").showModal();
$(".skip").onclick = (event) => {
  event.preventDefault();
  $("#main").focus();
};
connection.addEventListener("change", showConnection);
addEventListener("offline", () => !["localhost", "127.0.0.1", "[::1]"].includes(location.hostname) && note(false));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => event.preventDefault());
boot();
