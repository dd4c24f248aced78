// The rows of a video: its frames with their faces, and the people in them, as the model or somebody who looked says.

import { faceOf } from "./draw.js";
import { ordered } from "./expressions.js";
import { Who, labelOf } from "./who.js";

const HOLD_S = 0.6;

export class VideoData {
  constructor() {
    this.names = null;
    this.times = [];
    this.frames = []; // the faces of each time
    this.models = new Map(); // track → the model's name for its person, or null
    this.setWho([]);
  }

  /** Read the rows as they come; `progress` hears how many letters there are. */
  async read(answer, progress) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let size = 0;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const lines = (rest + part.value).split("\n");
      rest = lines.pop();
      progress((size += part.value.length));
      for (const line of lines) if (line) this.take(JSON.parse(line));
    }
    if (rest.trim()) this.take(JSON.parse(rest));
    this.names ??= [];
  }

  take(row) {
    if (row.frame === null || row.frame === undefined || row.error) return;
    if (this.times.at(-1) !== row.time_s) {
      this.times.push(row.time_s);
      this.frames.push([]);
    }
    if (row.x1 === null || row.x1 === undefined) return;
    this.names ??= ordered(Object.keys(row).filter((key) => key.startsWith("smooth_")).map((key) => key.slice(7)));
    if (!this.models.get(row.track_id)) this.models.set(row.track_id, row.person || null);
    this.frames.at(-1).push(faceOf(row, this.names));
  }

  /** From now on people are who the corrections say, as the server keeps them. */
  setWho(corrections) {
    this.who = new Who(corrections, this.models);
  }

  /** Return what a person is called on the page. */
  labelOf(key) {
    return labelOf(key, [...this.models.values()].some(Boolean) ? "Track" : "Person");
  }

  /** Return the people with their figures of a summary and their probabilities over time, those seen longest first. */
  people(summary) {
    const found = new Map();
    this.times.forEach((t, i) => {
      for (const face of this.frames[i]) {
        const key = this.who.keyOf(face.track_id, t);
        face.who = key.startsWith("#") ? null : this.labelOf(key);
        if (!found.has(key)) found.set(key, { key, label: this.labelOf(key), points: [], tracks: new Set(), best: null });
        this.see(found.get(key), face, t);
      }
    });
    const keyOf = (entry) => entry.corrected_person ?? entry.person ?? `#${entry.track_id}`;
    const known = new Map(summary.tracks.map((entry) => [keyOf(entry), entry]));
    const people = [...found.values()].filter(({ key }) => known.has(key)).map((one) => ({ ...known.get(one.key), ...one, tracks: [...one.tracks] }));
    return people.sort((a, b) => b.seconds - a.seconds);
  }

  see(person, face, t) {
    person.points.push({ t, p: this.names.map((name) => face.smoothed?.[name] || 0) });
    person.tracks.add(face.track_id);
    const worth = face.score * (face.box[2] - face.box[0]);
    if (!(person.best?.worth >= worth)) person.best = { worth, time: t, box: face.box };
  }

  /** The faces of the last analyzed frame at or before a time. */
  facesAt(time) {
    let [low, high] = [0, this.times.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= time + 0.002) low = middle + 1;
      else high = middle;
    }
    return low && time - this.times[low - 1] < HOLD_S ? this.frames[low - 1] : [];
  }

  /** The longest gap between frames over which a lane is still drawn through, seconds. */
  get gap() {
    const { times } = this;
    return times.length > 1 ? Math.max(0.5, (2.5 * (times.at(-1) - times[0])) / times.length) : 0.5;
  }
}
