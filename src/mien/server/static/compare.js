// Videos and people side by side, aligned at an event: curves, means of groups with intervals, changes, and the report.

import { $, announce, button, fitCanvas, h, icon, plural, save } from "./dom.js";
import { getJson, request, tell } from "./api.js";
import { fillLegend, swatch } from "./expressions.js";
import { figure, groupColours } from "./curves.js";
import { paintPoints } from "./timeline.js";
import { labelOf } from "./who.js";
import { problemBox } from "./words.js";

const BEGINNING = "";
const LANE_GAP_S = 0.6;

export class ComparePage {
  constructor() {
    this.place = $("#video-page");
    this.left = new Map(); // job → names of people that are left away
    this.load();
  }

  close() {
    this.closed = true;
    this.sized?.disconnect();
    this.place.replaceChildren();
  }

  async load() {
    const head = h("div", { class: "video-head" }, h("a", { class: "round", href: "#videos", "aria-label": "All videos" }, icon("back")), h("h1", { tabindex: "-1" }, "Compare videos"));
    this.form = h("form", { class: "panel compare", submit: (event) => (event.preventDefault(), this.compare()) });
    this.result = h("div", { class: "compare-result", "aria-live": "off" });
    this.place.replaceChildren(head, this.form, this.result);
    head.querySelector("h1").focus({ preventScroll: true });
    try {
      const { jobs } = await getJson("v1/jobs");
      const done = jobs.filter(({ state }) => state === "done");
      const events = await Promise.all(done.map(({ id }) => getJson(`v1/jobs/${id}/notes/events`)));
      this.videos = done.map((job, i) => ({ job, events: events[i].value }));
      if (!this.closed) this.fill();
    } catch (problem) {
      if (!this.closed) this.form.replaceChildren(problemBox(problem));
    }
  }

  // What is asked -------------------------------------------------------------------------------------------------

  fill() {
    if (!this.videos.length) {
      this.form.replaceChildren(h("p", { class: "empty" }, "There are no finished videos yet. Add some under Videos, then compare them here."));
      return;
    }
    for (const one of this.videos) {
      one.box = h("input", { type: "checkbox", checked: true, change: () => this.fillEvents() });
      one.group = h("input", { type: "text", maxlength: 80, placeholder: "group", "aria-label": `Group of ${one.job.source}`, autocomplete: "off" });
    }
    const rows = this.videos.map(({ job, box, group, events }) => h("li", { class: "row" }, h("label", { class: "check" }, box, h("span", {}, job.source, " ", h("small", { class: "hint" }, plural(events.length, "event")))), group));
    this.event = h("select", { id: "compare-event" });
    const number = { type: "number", min: 0, max: 600, step: 0.5, required: true };
    this.before = h("input", { ...number, id: "compare-before", value: 2 });
    this.after = h("input", { ...number, id: "compare-after", value: 5 });
    const field = (words, control) => h("label", { class: "field" }, words, control);
    this.fillEvents();
    this.form.replaceChildren(
      h("fieldset", {}, h("legend", {}, "Videos, and the groups that they belong to"), h("ul", { class: "chosen" }, rows)),
      h("div", { class: "fields" }, field("Time 0", this.event), field("Seconds before", this.before), field("Seconds after", this.after)),
      h("div", { class: "row" }, h("button", { class: "button primary", type: "submit" }, "Compare"), button("Report", () => this.report(), { symbol: "down", "data-do": "report" }),
        h("span", { class: "hint" }, "Events are noted on a video’s page, under «Mark what was really shown, and events».")));
  }

  get chosen() {
    return this.videos.filter(({ box }) => box.checked);
  }

  /** Offer the events that all chosen videos have. */
  fillEvents() {
    const { value } = this.event;
    const sets = this.chosen.map(({ events }) => new Set(events.map(({ name }) => name)));
    const names = [...(sets[0] || [])].filter((name) => sets.every((set) => set.has(name)));
    this.event.replaceChildren(...names.map((name) => h("option", { value: name }, name)), h("option", { value: BEGINNING }, "the beginning of each video"));
    if (names.includes(value)) this.event.value = value;
  }

  body() {
    const event = this.event.value || null;
    return {
      videos: this.chosen.map(({ job, group }) => {
        const people = this.left.get(job.id)?.size ? this.found.filter((one) => one.job === job.id && !this.left.get(job.id).has(one.person)).map(({ person }) => person) : null;
        return { job: job.id, label: this.nameOf(job), group: group.value.trim(), people };
      }).filter(({ people }) => people === null || people.length),
      event,
      before_s: event === null ? 0 : Number(this.before.value),
      after_s: Number(this.after.value) || 1,
    };
  }

  /** Return a video's name, with a number where others have the same. */
  nameOf(job) {
    const alike = this.videos.filter((one) => one.job.source === job.source);
    return alike.length > 1 ? `${job.source.slice(0, 70)} (${alike.findIndex((one) => one.job === job) + 1})` : job.source.slice(0, 80);
  }

  async ask(path, body) {
    return request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  }

  async compare() {
    try {
      const found = await (await this.ask("v1/compare", this.body())).json();
      if (this.closed) return;
      this.show(found);
      announce(`${plural(found.curves.length, "person", "people")} compared`);
    } catch (problem) {
      tell(problem);
    }
  }

  async report() {
    try {
      save("mien-report.html", await (await this.ask("v1/report", this.body())).blob());
    } catch (problem) {
      tell(problem);
    }
  }

  // What came -----------------------------------------------------------------------------------------------------

  show(found) {
    this.colours = groupColours(found);
    if (!this.found || ![...this.left.values()].some(({ size }) => size)) {
      const ids = new Map(this.videos.map(({ job }) => [this.nameOf(job), job.id]));
      this.found = found.curves.map((curve) => ({ job: ids.get(curve.video), video: curve.video, person: curve.person }));
    }
    this.sized?.disconnect();
    this.result.replaceChildren(this.curves(found), this.lanes(found), found.before_s ? this.changes(found) : "");
    this.sized = new ResizeObserver(() => this.paint(found));
    this.sized.observe(this.result);
    this.paint(found);
  }

  curves(found) {
    const select = h("select", { id: "compare-expression" }, found.expressions.map((name) => h("option", { value: name, selected: name === (this.expression || mostVaried(found)) }, name)));
    const place = h("div");
    const draw = () => place.replaceChildren(figure(found, found.expressions.indexOf(select.value), this.colours));
    select.onchange = () => ((this.expression = select.value), draw());
    draw();
    const key = found.groups.map(({ group, n }) => h("li", {}, this.dot(group), `${group || "all"}, N = ${n}`));
    return h("section", { class: "panel", "aria-label": "Curves" },
      h("div", { class: "panel-head" }, h("h2", {}, "Around time 0"), h("span", { class: "hint" }, "thick: mean of a group with its 95 % t interval over people; thin: a person")),
      h("label", { class: "field inline" }, "Expression", select), place, h("ul", { class: "legend", "aria-label": "Groups" }, key));
  }

  dot(group) {
    const element = h("i", { class: "swatch", "aria-hidden": "true" });
    element.style.background = this.colours.get(group);
    return element;
  }

  lanes(found) {
    this.canvases = [];
    const rows = this.found.map((one) => {
      const curve = found.curves.find(({ video, person }) => video === one.video && person === one.person);
      const box = h("input", { type: "checkbox", checked: Boolean(curve), "aria-label": `${labelOf(one.person)} of ${one.video}`, change: ({ target }) => this.leave(one, !target.checked) });
      const canvas = h("canvas", { role: "img", "aria-label": `What ${labelOf(one.person)} of ${one.video} showed around time 0` });
      if (curve) this.canvases.push([canvas, curve]);
      const words = [one.video, curve?.group, curve && plural(curve.events, "event")].filter(Boolean).join(" · ");
      return h("li", { class: "lane" }, h("label", { class: "check lane-head" }, box, h("span", {}, h("b", {}, labelOf(one.person)), h("span", { title: words }, words))), curve ? canvas : h("p", { class: "hint" }, "left away, or not seen around time 0"));
    });
    const legend = h("ul", { class: "legend", "aria-label": "Colours" });
    fillLegend(legend, found.expressions);
    return h("section", { class: "panel", "aria-label": "People" }, h("div", { class: "panel-head" }, h("h2", {}, "Side by side"), h("span", { class: "hint" }, "the line is time 0")), h("ul", { class: "lanes" }, rows), legend);
  }

  leave({ job, person }, away) {
    if (!this.left.has(job)) this.left.set(job, new Set());
    if (away) this.left.get(job).add(person);
    else this.left.get(job).delete(person);
    const focus = document.activeElement?.getAttribute("aria-label");
    this.compare().then(() => [...this.result.querySelectorAll("input")].find((one) => one.getAttribute("aria-label") === focus)?.focus());
  }

  paint(found) {
    const length = found.before_s + found.after_s;
    for (const [canvas, curve] of this.canvases) {
      const { context, width, height } = fitCanvas(canvas);
      const toX = (t) => (width * (t + found.before_s)) / length;
      const points = curve.probs.flatMap((p, i) => (p[0] === null ? [] : [{ t: found.times_s[i], p }]));
      paintPoints(context, points, found.expressions, height, toX, Math.max(LANE_GAP_S, (2.5 * length) / found.times_s.length));
      context.fillStyle = getComputedStyle(canvas).color;
      context.fillRect(toX(0) - 1, 0, 2, height);
    }
  }

  changes(found) {
    const points = (value) => (value === null ? "–" : `${value >= 0 ? "+" : "−"}${Math.abs(100 * value).toFixed(1)}`);
    const rows = found.expressions.flatMap((name, k) => found.changes.map(({ group, n, mean, low, high }) =>
      h("tr", {}, h("th", { scope: "row" }, swatch(name), ` ${name}`), h("td", {}, group || "all"), h("td", { class: "num" }, n), h("td", { class: "num" }, points(mean[k])), h("td", { class: "num" }, low[k] === null ? "–" : `${points(low[k])} to ${points(high[k])}`))));
    const heads = ["expression", "group", "people", "change, points", "95 % interval"].map((words, i) => h("th", { scope: "col", class: i > 1 && "num" }, words));
    return h("section", { class: "panel", "aria-label": "Changes" }, h("div", { class: "panel-head" }, h("h2", {}, "Change at time 0"), h("span", { class: "hint" }, "mean after, less mean before, of people seen in both")),
      h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": "Changes by expression and group" }, h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows))));
  }
}

/** Return the expression whose mean varies most. */
function mostVaried({ expressions, groups }) {
  const spread = (k) => Math.max(...groups.map(({ mean }) => {
    const known = mean.map((row) => row[k]).filter((value) => value !== null);
    return known.length ? Math.max(...known) - Math.min(...known) : 0;
  }));
  return expressions.reduce((best, name, k) => (spread(k) > spread(expressions.indexOf(best)) ? name : best), expressions[0]);
}
