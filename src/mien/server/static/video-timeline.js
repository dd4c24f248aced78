// The timeline of a video: a lane per person, what was really shown below it, events across all, and the position.

import { h, moment } from "./dom.js";
import { fillLegend, look } from "./expressions.js";
import { paintLane } from "./timeline.js";

const STEP_S = 1;

/** Fires "seek" with a time as detail, and "play" when it shall play or pause. */
export class VideoTimeline extends EventTarget {
  constructor(data, seconds) {
    super();
    Object.assign(this, { data, seconds, lanes: [], spans: [], events: [] });
    this.head = h("div", { class: "head" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.happened = h("div", { class: "events", "aria-hidden": "true" });
    this.scrub = h("div", { class: "scrub", role: "slider", tabindex: "0", "aria-label": "Position in the video", "aria-valuemin": 0, "aria-valuemax": Math.round(seconds), "aria-valuenow": 0 }, this.happened, this.head, this.tip);
    this.hint = h("span", { class: "hint" });
    this.body = h("div");
    this.element = h("section", { class: "panel", "aria-label": "Timeline" }, h("div", { class: "panel-head" }, h("h2", {}, "Timeline"), this.hint), this.body);
    this.listen();
  }

  show(people, most) {
    const focused = document.activeElement === this.scrub;
    this.lanes = people.slice(0, most).map((person) => {
      const canvas = h("canvas", { role: "img", "aria-label": `${person.label}, mostly ${person.dominant}` });
      const truth = h("div", { class: "truth", hidden: true });
      const head = h("div", { class: "lane-head" }, h("b", { title: person.label }, person.label), h("span", {}, person.dominant));
      return { person, canvas, truth, element: h("div", { class: "lane" }, head, h("div", {}, canvas, truth)) };
    });
    const legend = h("ul", { class: "legend", "aria-label": "Colours" });
    fillLegend(legend, this.data.names);
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => h("span", {}, this.at(share * this.seconds)));
    this.body.replaceChildren(...(this.lanes.length
      ? [h("div", { class: "track" }, this.lanes.map((lane) => lane.element), this.scrub), h("div", { class: "axis", "aria-hidden": "true" }, ticks), legend]
      : [h("p", { class: "empty" }, "Nobody was found in this video.")]));
    this.hint.textContent = !this.lanes.length ? "" : people.length > most ? `the ${most} seen longest of ${people.length}` : "click to go there";
    this.showSpans(this.spans);
    this.paint();
    if (focused) this.scrub.focus();
  }

  paint() {
    for (const { person, canvas } of this.lanes) paintLane(canvas, person.points, this.data.names, this.seconds, this.data.gap);
  }

  /** Show what was really shown: spans as the server keeps them. */
  showSpans(spans) {
    this.spans = spans;
    const all = spans.filter(({ track_id: track }) => track === null);
    for (const { person, truth } of this.lanes) {
      const own = spans.filter(({ track_id: track }) => person.tracks.includes(track));
      truth.replaceChildren(...(own.length ? own : all).map((one) => this.span(one)));
      truth.hidden = !spans.length;
    }
  }

  span({ start_s: start, end_s: end, expression }) {
    const element = h("i", { title: `really ${expression}, ${this.at(start)}–${this.at(end ?? this.seconds)}` }, expression);
    element.style.left = `${(100 * start) / this.seconds}%`;
    element.style.width = `${(100 * (Math.min(end ?? this.seconds, this.seconds) - start)) / this.seconds}%`;
    element.style.borderColor = look(expression).colour;
    return element;
  }

  showEvents(events) {
    this.events = events;
    this.happened.replaceChildren(...events.map(({ time_s: time, name }) => {
      const element = h("i", {}, h("span", {}, name));
      element.style.left = `${Math.min(100, (100 * time) / this.seconds)}%`;
      return element;
    }));
  }

  follow(time) {
    this.time = time;
    this.head.style.left = `${100 * Math.max(0, Math.min(1, time / this.seconds))}%`;
    this.scrub.setAttribute("aria-valuenow", String(Math.round(time)));
    this.scrub.setAttribute("aria-valuetext", this.at(time));
  }

  at(time) {
    return moment(time, this.seconds);
  }

  listen() {
    const { scrub } = this;
    const seek = (detail) => this.dispatchEvent(new CustomEvent("seek", { detail }));
    const at = (event) => {
      const box = scrub.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * this.seconds;
    };
    scrub.onpointerdown = (event) => {
      scrub.setPointerCapture(event.pointerId);
      seek(at(event));
    };
    scrub.onpointermove = (event) => {
      if (event.buttons) seek(at(event));
      this.tip.hidden = false;
      this.tip.textContent = this.at(at(event));
      this.tip.style.left = `${(100 * at(event)) / this.seconds}%`;
    };
    scrub.onpointerleave = () => (this.tip.hidden = true);
    scrub.onkeydown = (event) => {
      const { time: now = 0 } = this;
      const step = event.shiftKey ? STEP_S / 10 : STEP_S;
      const goals = { ArrowLeft: now - step, ArrowDown: now - step, ArrowRight: now + step, ArrowUp: now + step, PageDown: now - 10 * STEP_S, PageUp: now + 10 * STEP_S, Home: 0, End: this.seconds };
      if (event.key === " ") this.dispatchEvent(new Event("play"));
      else if (event.key in goals) seek(goals[event.key]);
      else return;
      event.preventDefault();
    };
  }
}
