// Where tags and panels lie: out of one another's way, and inside the image. The rule is that of mien/output/draw/layout.py.

const STAY = 0.25; // a place that hides so much less is worth moving to, on moving images

const shared = (a, b) => Math.max(0, Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x)) * Math.max(0, Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y));

export class Layout {
  /** Start with the boxes ({x, y, w, h}) of all faces. */
  constructor(boxes, width, height) {
    Object.assign(this, { boxes, width, height, taken: [] });
  }

  add(rect) {
    this.taken.push(rect);
  }

  inside(spot) {
    return { ...spot, x: Math.max(0, Math.min(spot.x, this.width - spot.w)), y: Math.max(0, Math.min(spot.y, this.height - spot.h)) };
  }

  /**
   * Choose the spot that hides least.
   * @param spots all of one size, best liked first
   * @param number which face it is for; its own box may be covered rather than another
   * @param before index of the spot of the last image
   * @return {spot, index, tags, boxes}: the shares of it that lie on tags and panels, and on boxes
   */
  best(spots, number, before = -1) {
    let best = null;
    spots.forEach((place, index) => {
      const spot = this.inside(place);
      const area = spot.w * spot.h;
      const tags = this.taken.reduce((sum, rect) => sum + shared(spot, rect), 0) / area;
      let [boxes, cost] = [0, 10 * tags + 0.02 * index - (index === before ? STAY : 0)];
      this.boxes.forEach((rect, i) => {
        const part = shared(spot, rect) / area;
        boxes += part;
        cost += part * (i === number ? 0.6 : 1);
      });
      if (!best || cost < best.cost) best = { spot, index, tags, boxes, cost };
    });
    return best;
  }
}

/** Return places for a tag of a box: above and below it where there is room, inside it, beside it. */
export function tagSpots({ x, y, w: boxW, h: boxH }, w, h, gap, height) {
  const [right, above, below] = [x + boxW - w, y - h - gap, y + boxH + gap];
  const outside = [[x, above], [right, above], [x, below], [right, below]].filter(([, top]) => top >= 0 && top <= height - h);
  const others = [[x + gap, y + gap], [x + gap, y + boxH - h - gap], [x - w - gap, y], [x + boxW + gap, y]];
  return [...outside, ...others].map(([left, top]) => ({ x: left, y: top, w, h }));
}

/** Return places for a panel: beside the box, then beneath and above it. */
export function panelSpots({ x, y, w: boxW, h: boxH }, w, h, gap) {
  const [after, before, low] = [x + boxW + gap, x - w - gap, y + boxH - h];
  const [beneath, above, right] = [y + boxH + gap, y - h - gap, x + boxW - w];
  const corners = [[after, y], [before, y], [after, low], [before, low], [x, beneath], [x, above], [right, beneath], [right, above]];
  return corners.map(([left, top]) => ({ x: left, y: top, w, h }));
}
