// Talks to the server: problems as errors, the token where the server asks for one, and whether it can be reached.

import { $, toast } from "./dom.js";
import { sentenceOf } from "./words.js";

const KEY = "mien-token";
const LIST = "mien-list";
const RETRY_MS = [1000, 1500, 2500, 4000, 6000];

const pageKey = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

let memory = "";
let asking = null;
let online = null;
let tries = 0;

/** Fires "change" with detail true or false when the server is found or lost. */
export const connection = new EventTarget();

/** An error of the server (RFC 9457), or of the way to it (status 0). */
export class Problem extends Error {
  constructor({ status = 0, title = "Error", detail = "" }, retryAfter = null) {
    super(detail || title);
    Object.assign(this, { status, title, detail, retryAfter });
  }
}

export function token() {
  try {
    return sessionStorage.getItem(KEY) || memory;
  } catch {
    return memory;
  }
}

function keep(value) {
  memory = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // storage is switched off: the token lives as long as the page
  }
}

/** Return the key of this browser's list of videos; the server has lists, but not whose they are. */
export function listKey() {
  try {
    if (!localStorage.getItem(LIST)) localStorage.setItem(LIST, pageKey);
    return localStorage.getItem(LIST);
  } catch {
    return pageKey; // storage is switched off: the list lasts as long as the page
  }
}

const headersOf = (path, sent) => ({ ...(sent && { Authorization: `Bearer ${sent}` }), ...(path.replace(/^\//, "").startsWith("v1/jobs") && { "Mien-List": listKey() }) });

/** Return an address of the server below the page's own. */
export function address(path) {
  return new URL(path.replace(/^\//, ""), document.baseURI.replace(/#.*/, "")).href;
}

/** Return an address that the browser itself can load for a quarter of an hour: the token never stands in one. */
export async function signed(path) {
  if (!token()) return address(path);
  const query = new URLSearchParams({ path: path.replace(/^\/?/, "/") });
  return address((await getJson(`v1/addresses?${query}`)).address);
}

export function streamAddress() {
  return address("v1/stream").replace(/^http/, "ws");
}

/** Return the subprotocols of the live stream: browsers send no header with a web socket, so the token is one of them. */
export function streamProtocols() {
  const text = String.fromCharCode(...new TextEncoder().encode(token()));
  const coded = btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  return coded ? ["mien", `mien.token.${coded}`] : ["mien"];
}

export const isOnline = () => online === true;

/** Note whether the server answered; while it does not, ask again and again. */
export function note(answered) {
  if (answered) tries = 0;
  if (answered === online) return;
  online = answered;
  connection.dispatchEvent(new CustomEvent("change", { detail: online }));
  if (!online) setTimeout(look, RETRY_MS[0]);
}

async function look() {
  try {
    await fetch(address("health"), { cache: "no-store", signal: AbortSignal.timeout(4000) });
    note(true);
  } catch {
    tries += 1;
    setTimeout(look, RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]);
  }
}

/** Ask the person for the token; everybody who needs it waits for the same dialog. */
export function askForToken(refused) {
  asking ??= new Promise((resolve) => {
    const dialog = $("#token-dialog");
    const input = $("#token-input");
    $("#token-error").textContent = refused ? "That is not the token of this server." : "";
    input.value = "";
    $("#token-form").onsubmit = (event) => {
      if (!input.value.trim()) {
        event.preventDefault();
        $("#token-error").textContent = "Type or paste the token.";
        return;
      }
      keep(input.value.trim());
    };
    dialog.oncancel = (event) => event.preventDefault();
    dialog.onclose = () => {
      asking = null;
      resolve();
    };
    dialog.showModal();
    input.focus();
  });
  return asking;
}

function toProblem(status, body, retryAfter) {
  let value = {};
  try {
    value = JSON.parse(body);
  } catch {
    value = { detail: body.slice(0, 200) };
  }
  return new Problem({ title: `Error ${status}`, ...value, status }, retryAfter && Number(retryAfter));
}

function lost() {
  note(false);
  return new Problem({ title: "The server cannot be reached", detail: "It may have been stopped, or there is no network." });
}

/** Return the server's answer. Raises Problem; asks for the token where one is needed. */
export async function request(path, options = {}) {
  for (;;) {
    const sent = token();
    const headers = { ...options.headers, ...headersOf(path, sent) };
    let answer;
    try {
      answer = await fetch(address(path), { cache: "no-store", ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw lost();
    }
    note(true);
    if (answer.ok) return answer;
    if (answer.status !== 401) throw toProblem(answer.status, await answer.text(), answer.headers.get("Retry-After"));
    if (sent === token()) await askForToken(Boolean(sent));
  }
}

export const getJson = async (path, options) => (await request(path, options)).json();

/** Send a form and tell how much of it has left; `begun` gets a function that gives up. */
export function upload(path, form, { progress, begun }) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", address(path));
    for (const [name, value] of Object.entries(headersOf(path, token()))) call.setRequestHeader(name, value);
    call.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    call.onload = () => {
      if (call.status < 300) resolve(JSON.parse(call.responseText));
      else reject(toProblem(call.status, call.responseText, call.getResponseHeader("Retry-After")));
    };
    call.onerror = () => reject(lost());
    call.onabort = () => reject(new DOMException("given up", "AbortError"));
    begun(() => call.abort());
    call.send(form);
  });
}

/** Tell of a problem in passing. */
export function tell(problem) {
  if (problem.name !== "AbortError") toast(sentenceOf(problem), "bad");
}
