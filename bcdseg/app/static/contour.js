// From a map of levels to a line around what is outlined: marching squares, drawn smoothly between the pixels.
// The mask decides which pixels are inside; the levels only determine where the line runs between two pixels.

const LEFT = 0, TOP = 1, RIGHT = 2, BOTTOM = 3;

// For each way in which the corners of a cell are inside (8 top left, 4 top right, 2 bottom right, 1 bottom left): from which
// edge to which the line runs, so that inside is on its right. Corners that touch across a cell belong together.
const RUNS = [
  [], [[LEFT, BOTTOM]], [[BOTTOM, RIGHT]], [[LEFT, RIGHT]],
  [[RIGHT, TOP]], [[RIGHT, BOTTOM], [LEFT, TOP]], [[BOTTOM, TOP]], [[LEFT, TOP]],
  [[TOP, LEFT]], [[TOP, BOTTOM]], [[TOP, RIGHT], [BOTTOM, LEFT]], [[TOP, RIGHT]],
  [[RIGHT, LEFT]], [[RIGHT, BOTTOM]], [[BOTTOM, LEFT]], [],
];

/** Return the mask of the library from the flat indices where its runs start and end. */
export function maskFromEdges(edges, length) {
  const mask = new Uint8Array(length);
  for (let at = 0; at < edges.length; at += 2) mask.fill(1, edges[at], edges[at + 1]);
  return mask;
}

/** Return the pixels whose probability reaches a step of the slider, small components included. */
export function maskFromLevels(levels, step) {
  const mask = new Uint8Array(levels.length);
  for (let at = 0; at < levels.length; at++) mask[at] = levels[at] >= step ? 1 : 0;
  return mask;
}

/** Return the outline as the data of an SVG path, in pixels of the scan, the middle of the first pixel at 0.5, 0.5. */
export function outline(mask, levels, width, height, threshold) {
  const height_at = (row, column) => {
    if (row < 0 || column < 0 || row >= height || column >= width) return -50;
    const at = row * width + column;
    const over = levels.length ? levels[at] + 0.5 - threshold * 100 : 0;
    return mask[at] ? Math.max(over, 0.5) : Math.min(over, -0.5);
  };
  const next = new Map();
  const [top, left, bottom, right] = bounds(mask, width, height);
  const wide = width + 2; // edges are numbered over a frame one pixel wider on each side
  const edge = (row, column, side) => {
    const cell = (row + 1) * wide + column + 1;
    return side === TOP ? 2 * cell : side === LEFT ? 2 * cell + 1 : side === BOTTOM ? 2 * (cell + wide) : 2 * (cell + 1) + 1;
  };
  const none = new Uint8Array(right);
  for (let row = top - 1; row < bottom; row++) {
    const upper = row < top ? none : mask.subarray(row * width, row * width + right), lower = row + 1 < bottom ? mask.subarray((row + 1) * width, (row + 1) * width + right) : none;
    for (let column = left - 1, corners = 0; column < right; column++) { // the right corners of a cell are the left ones of the next
      corners = ((corners & 4) << 1) | ((corners & 2) >> 1) | (upper[column + 1] ? 4 : 0) | (lower[column + 1] ? 2 : 0);
      if (corners === 0 || corners === 15) column = Math.max(column, nextChange(upper, lower, column + 2, corners ? 0 : 1) - 2);
      else for (const [from, to] of RUNS[corners]) next.set(edge(row, column, from), edge(row, column, to));
    }
  }
  const point = (number) => {
    const cell = number >> 1, row = Math.floor(cell / wide) - 1, column = (cell % wide) - 1, down = number & 1;
    const here = height_at(row, column), there = down ? height_at(row + 1, column) : height_at(row, column + 1);
    const share = here / (here - there);
    return `${(column + 0.5 + (down ? 0 : share)).toFixed(2)} ${(row + 0.5 + (down ? share : 0)).toFixed(2)}`;
  };
  return rings(next, point);
}

/** Return the first column from a given one on where one of two rows has a value; their length if there is none. */
function nextChange(upper, lower, from, value) {
  const above = upper.indexOf(value, from), below = lower.indexOf(value, from);
  return Math.min(above < 0 ? upper.length : above, below < 0 ? lower.length : below);
}

function rings(next, point) {
  const parts = [];
  for (const start of next.keys()) {
    if (!next.has(start)) continue;
    const points = [];
    for (let at = start; next.has(at); ) {
      points.push(point(at));
      const following = next.get(at);
      next.delete(at);
      at = following;
    }
    parts.push(`M${points.join("L")}Z`);
  }
  return parts.join("");
}

/** Return the smallest box that contains the mask: bottom and right are one past the last pixel. */
function bounds(mask, width, height) {
  let top = height, left = width, bottom = 0, right = 0;
  for (let first = mask.indexOf(1); first >= 0; first = mask.indexOf(1, bottom * width)) {
    const row = Math.floor(first / width);
    top = Math.min(top, row);
    bottom = row + 1;
    left = Math.min(left, first - row * width);
    right = Math.max(right, mask.lastIndexOf(1, bottom * width - 1) - row * width + 1);
    if (bottom >= height) break;
  }
  return [top, left, bottom, right];
}
