// Masks as they are corrected: painted, filled, and written as runs. One byte per pixel, row by row; 1 is lesion.

/** Return the flat indices where the runs of a mask start and end, as the server reads them: the inverse of `maskFromEdges`. */
export function edgesOf(mask) {
  const edges = [];
  let inside = 0;
  for (let at = 0; at < mask.length; at++) {
    if (mask[at] === inside) continue;
    edges.push(at);
    inside = mask[at];
  }
  if (inside) edges.push(mask.length);
  return edges;
}

/** Paint the pixels whose middle is within a radius of a point, at least the pixel that contains it. */
export function paintDisc(mask, width, height, [x, y], radius, value) {
  const top = Math.max(0, Math.ceil(y - radius - 0.5)), bottom = Math.min(height - 1, Math.floor(y + radius - 0.5));
  for (let row = top; row <= bottom; row++) {
    const reach = Math.sqrt(radius * radius - (row + 0.5 - y) ** 2);
    const left = Math.max(0, Math.ceil(x - reach - 0.5)), right = Math.min(width - 1, Math.floor(x + reach - 0.5));
    if (left <= right) mask.fill(value, row * width + left, row * width + right + 1);
  }
  const row = Math.floor(y), column = Math.floor(x);
  if (row >= 0 && row < height && column >= 0 && column < width) mask[row * width + column] = value;
}

/** Paint a stroke of a round brush from one point to another. */
export function paintStroke(mask, width, height, from, to, radius, value) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const count = Math.max(1, Math.ceil(Math.hypot(dx, dy) / Math.max(0.5, radius / 3)));
  for (let at = 0; at <= count; at++) paintDisc(mask, width, height, [from[0] + (dx * at) / count, from[1] + (dy * at) / count], radius, value);
}

/** Fill the pixels whose middle is inside a polygon, by the even-odd rule. */
export function fillPolygon(mask, width, height, points, value) {
  for (let row = 0; row < height; row++) {
    const y = row + 0.5, crossings = [];
    points.forEach(([x1, y1], at) => {
      const [x2, y2] = points[(at + 1) % points.length];
      if (y1 > y !== y2 > y) crossings.push(x1 + ((y - y1) / (y2 - y1)) * (x2 - x1));
    });
    crossings.sort((one, other) => one - other);
    for (let at = 0; at + 1 < crossings.length; at += 2) {
      const left = Math.max(0, Math.ceil(crossings[at] - 0.5)), right = Math.min(width, Math.ceil(crossings[at + 1] - 0.5));
      if (left < right) mask.fill(value, row * width + left, row * width + right);
    }
  }
}

const MOST = 200; // states that can be undone

/** States of an outline: undo and redo. A state is the runs of the reader's own outline, or null for the model's. */
export class History {
  #states;
  #at = 0;

  constructor(state) {
    this.#states = [state];
  }

  get state() {
    return this.#states[this.#at];
  }

  get canUndo() {
    return this.#at > 0;
  }

  get canRedo() {
    return this.#at < this.#states.length - 1;
  }

  push(state) {
    this.#states = [...this.#states.slice(0, this.#at + 1), state].slice(-MOST);
    this.#at = this.#states.length - 1;
  }

  replace(state) {
    this.#states[this.#at] = state;
  }

  undo() {
    this.#at = Math.max(0, this.#at - 1);
    return this.state;
  }

  redo() {
    this.#at = Math.min(this.#states.length - 1, this.#at + 1);
    return this.state;
  }
}
