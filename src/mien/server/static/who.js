// Who is who in a video: the names that people gave to tracks, and else what the model says. No page in here.

const before = (a, b) => (a ?? -Infinity) < (b ?? Infinity);

/** Return what somebody is called on the page: a name, or a number where the model or the tracker has no name. */
export const labelOf = (key, tracks = "Person") => key.replace(/^#(\d+)$/, `${tracks} $1`).replace(/^person (\d+)$/, "Person $1");

/** Names for tracks: values as the server keeps them ({track_id, person, start_s, end_s}); models: track → person or null. */
export class Who {
  constructor(values, models) {
    this.models = models;
    this.lines = new Map([...models.keys()].map((track) => [track, []]));
    for (const { track_id: track, person, start_s: start, end_s: end } of values) this.lines.get(track)?.push({ start, end, name: person });
    for (const line of this.lines.values()) line.sort((a, b) => (a.start ?? -Infinity) - (b.start ?? -Infinity));
  }

  /** Return the name that somebody gave a track at a time, or null. */
  given(track, time) {
    return this.lines.get(track)?.find(({ start, end }) => (start ?? -Infinity) <= time && time < (end ?? Infinity))?.name ?? null;
  }

  /** Return what stands for somebody: a name, or # and the track's number. */
  keyOf(track, time) {
    return this.given(track, time) ?? this.modelKey(track);
  }

  modelKey(track) {
    return this.models.get(track) ?? `#${track}`;
  }

  /** Return all of a track's time, cut where the name changes; name is null where nobody gave one. */
  segments(track) {
    const cut = [];
    let from = null;
    for (const one of this.lines.get(track)) {
      if (before(from, one.start) && one.start !== null) cut.push({ start: from, end: one.start, name: null });
      cut.push(one);
      from = one.end;
    }
    if (!cut.length || from !== null) cut.push({ start: from, end: null, name: null });
    return cut;
  }

  /** Return the parts of tracks that are one person: [{track, start, end}]. */
  partsOf(key) {
    return [...this.lines.keys()].flatMap((track) =>
      this.segments(track).filter(({ name }) => (name ?? this.modelKey(track)) === key).map(({ start, end }) => ({ track, start, end })));
  }

  /** Return the values with another name for some parts; null gives them back to the model. */
  assigned(parts, name) {
    const lines = new Map([...this.lines.keys()].map((track) => [track, this.segments(track)]));
    for (const part of parts) lines.set(part.track, lines.get(part.track).flatMap((one) => replaced(one, part, name)));
    return [...lines].flatMap(([track, line]) => joined(line).filter((one) => one.name !== null)
      .map(({ start, end, name: person }) => ({ track_id: track, person, start_s: start, end_s: end })));
  }
}

/** Return what becomes of a segment where a part of it gets another name. */
function replaced(one, { start, end }, name) {
  const [from, to] = [Math.max(one.start ?? -Infinity, start ?? -Infinity), Math.min(one.end ?? Infinity, end ?? Infinity)];
  if (from >= to) return [one];
  const finite = (time) => (Number.isFinite(time) ? time : null);
  const pieces = [{ start: one.start, end: finite(from), name: one.name }, { start: finite(from), end: finite(to), name }, { start: finite(to), end: one.end, name: one.name }];
  return pieces.filter((piece, i) => i === 1 || (i === 0 ? before(one.start, from) && piece.end !== null : before(to, one.end) && piece.start !== null));
}

/** Return segments with neighbours of one name made one. */
function joined(line) {
  const made = [];
  for (const one of line) {
    const last = made.at(-1);
    if (last && last.name === one.name) last.end = one.end;
    else made.push({ ...one });
  }
  return made;
}
