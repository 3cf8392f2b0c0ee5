// The second pass over the window around the main outline, enlarged, as bcdseg/inference/refinement.py makes it.

import { findComponents } from "./components.js";

const OUTLINED = Math.fround(0.4), SMALLEST = 0.3, LARGEST = 0.9, AGREEMENT = 0.35, SAMPLED = 256;

/** @typedef {{top: number, left: number, width: number, height: number}} Window Part of a scan. */

/**
 * Return the outputs for a scan, whose map is the mean of both passes' logits in the window, if their outlines agree.
 * @param {import("./scan_image.js").ScanImage} image
 * @param {import("./postprocess.js").Outputs} first Of the whole scan.
 * @param {number} factor Height and width of the window as a multiple of the longer side of the outline.
 * @param {(image: import("./scan_image.js").ScanImage) => Promise<import("./postprocess.js").Outputs>} run
 * @returns {Promise<import("./postprocess.js").Outputs>}
 */
export async function refined(image, first, factor, run) {
  const window = mainWindow(first.probability, image.width, image.height, factor);
  if (!window) return first;
  const enlarged = (await run(cut(image, window))).probability, coarse = part(first.probability, image.width, window);
  if (overlap(coarse, enlarged) < AGREEMENT) return first;
  const probability = first.probability.slice();
  for (let row = 0; row < window.height; row++) {
    for (let column = 0; column < window.width; column++) {
      const at = row * window.width + column;
      probability[(row + window.top) * image.width + column + window.left] = meanOfLogits(coarse[at], enlarged[at]);
    }
  }
  return { ...first, probability };
}

/**
 * Return the window around the outline with the largest sum of probabilities; null where nothing is outlined, or where the window is not
 * much smaller than the scan.
 * @param {Float32Array} probability
 * @returns {Window | null}
 */
export function mainWindow(probability, width, height, factor) {
  const step = Math.max(1, Math.floor(Math.min(width, height) / SAMPLED));
  const across = Math.ceil(width / step), down = Math.ceil(height / step), mask = new Uint8Array(across * down);
  const at = (row, column) => probability[row * step * width + column * step];
  for (let row = 0; row < down; row++) for (let column = 0; column < across; column++) mask[row * across + column] = at(row, column) >= OUTLINED ? 1 : 0;
  let main = null, largest = 0;
  for (const component of findComponents(mask, across, down)) {
    let total = 0;
    component.rows.forEach((row, run) => {
      for (let column = component.starts[run]; column < component.stops[run]; column++) total += at(row, column);
    });
    if (total > largest) [main, largest] = [component, total];
  }
  if (!main) return null;
  const rows = [main.rows[0] * step, (main.rows[main.rows.length - 1] + 1) * step];
  const columns = [Math.min(...main.starts) * step, Math.max(...main.stops) * step];
  const longest = Math.max(width, height);
  const side = Math.max(factor * Math.max(rows[1] - rows[0], columns[1] - columns[0]), SMALLEST * longest);
  if (side > LARGEST * longest) return null;
  const [top, bottom] = around(rows, side, height), [left, right] = around(columns, side, width);
  return { top, left, height: bottom - top, width: right - left };
}

/** Return an interval of a length with the centre of another one, cut at the edges of the scan. */
function around(ends, side, size) {
  const centre = (ends[0] + ends[1]) / 2;
  return [Math.max(0, Math.trunc(centre - side / 2)), Math.min(size, Math.ceil(centre + side / 2))];
}

/** Return a part of a scan as a scan of its own. */
function cut({ name, width, gray, rgba }, window) {
  const pixels = part(rgba, 4 * width, { ...window, left: 4 * window.left, width: 4 * window.width });
  return { name, width: window.width, height: window.height, gray: part(gray, width, window), rgba: pixels };
}

/** Return the values of a window, row by row. */
function part(values, width, window) {
  const cut = new values.constructor(window.width * window.height);
  for (let row = 0; row < window.height; row++) {
    const from = (row + window.top) * width + window.left;
    cut.set(values.subarray(from, from + window.width), row * window.width);
  }
  return cut;
}

/** Return the Dice coefficient of the outlines of two maps; at least one of them must have pixels. */
function overlap(first, second) {
  let shared = 0, both = 0;
  first.forEach((value, at) => {
    const [one, other] = [value >= OUTLINED, second[at] >= OUTLINED];
    both += Number(one) + Number(other);
    shared += Number(one && other);
  });
  return (2 * shared) / both;
}

/** Return the probability whose logit is the mean of two logits. */
function meanOfLogits(first, second) {
  const inside = Math.sqrt(first * second), outside = Math.sqrt((1 - first) * (1 - second));
  return inside / Math.max(inside + outside, Number.MIN_VALUE);
}
