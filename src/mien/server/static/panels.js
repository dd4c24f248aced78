// Who shows what, beside a moving image: the timeline and the list of people, of the live view and the server's camera.

import { $, h } from "./dom.js";
import { fillLegend } from "./expressions.js";
import { People } from "./people.js";
import { LiveTimeline } from "./timeline.js";

export class Panels {
  /** Fill the two panels of a view ("live", "camera"), which the page has empty. */
  constructor(view) {
    const id = (part) => `${view}-${part}`;
    const lanes = h("div", { class: "lanes", id: id("lanes") }, h("p", { class: "empty" }, "Each person gets a lane here, coloured by expression."));
    this.legend = h("ul", { class: "legend", id: id("legend"), "aria-label": "Colours" });
    fill(id("timeline"), "Timeline", h("span", { class: "hint" }, "the last 30 seconds"), lanes, this.legend);
    const list = h("ul", { class: "people", id: id("people") }, h("li", { class: "empty" }, "Nobody yet."));
    const count = h("span", { class: "hint" });
    fill(id("present"), "In the image", count, list);
    this.timeline = new LiveTimeline(lanes);
    this.people = new People(list, count);
  }

  /** Forget everybody; from now on these expressions are shown. */
  begin(names) {
    this.timeline.begin(names);
    this.people.begin(names);
    fillLegend(this.legend, names);
  }

  show(faces, now = performance.now(), seen = null) {
    this.timeline.add(now / 1000, faces);
    this.people.show(faces, now, seen);
  }

  paint(now = performance.now()) {
    this.timeline.paint(now / 1000);
  }

  /** Nobody is in the image any more; the timeline stays. */
  empty() {
    this.people.show([], Infinity);
  }
}

function fill(id, title, hint, ...parts) {
  const heading = h("h2", { id: `${id}-title` }, title);
  const panel = $(`#${id}`);
  panel.setAttribute("aria-labelledby", heading.id);
  panel.append(h("div", { class: "panel-head" }, heading, hint), ...parts);
}
