// Gray values in, around and behind a lesion, as bcdseg/inference/descriptors/appearance.py measures them.

import { roundedToEven } from "../resampling.js";
import { cellMeans, maskMeans, readWindow } from "./window.js";

const SMALLEST = 16; // pixels across a lesion; fewer don't separate its core from its margin
const SMALLEST_MARGIN = 32; // pixels across a lesion whose edge is judged: a blur of one pixel is then 3 % of it
const LEAST_ADJACENT = 0.2, LEAST_BELOW = 0.3; // least size of the tissue, in widths and heights of the box
const EDGES = 0.2; // fraction of the width at either side that is ignored behind the lesion, since refraction makes shadows there
const BLACK = Math.fround(0.06); // mean gray of a patch up to which it is echo-free; white is 1
const DARK = 0.04; // mean gray of tissue below which a ratio to it means nothing
const PATCHES = 8, FEWEST_PATCHES = 4; // patches across a lesion whose mean gray is compared, and the fewest for a deviation
const SECTORS = 12; // parts of the outline whose edge is judged
const STEP = 0.06, REACH = 0.16; // width of an abrupt edge, and of the profile on either side of the outline, over the lesion's diameter
const VISIBLE = 0.08; // gray difference across an abrupt edge
const ABRUPT = 0.4; // its fraction of the range of gray along the profile

/**
 * Gray values in, around and behind a lesion; a number is null where it can't be measured. Adjacent tissue is left and right
 * of its box, at the same depth, outside of all outlines.
 * @typedef {object} Appearance
 * @property {number | null} echo_ratio Mean gray of the core, without the margin, over that of the adjacent tissue.
 * @property {number | null} echo_variation Standard deviation of the gray of patches of the core over the mean gray adjacent to it.
 * @property {number | null} echo_free Fraction of these patches that are almost black.
 * @property {number | null} abrupt_edge Fraction of the outline across which the gray changes abruptly.
 * @property {number | null} posterior_ratio Mean gray behind the lesion over that of the adjacent tissue, at the same depth.
 * @property {number | null} posterior_left The same behind the left half of the lesion.
 * @property {number | null} posterior_right The same behind the right half.
 */

/** @typedef {import("./window.js").Window} Window */

/** @type {Appearance} */
const UNKNOWN = { echo_ratio: null, echo_variation: null, echo_free: null, abrupt_edge: null, posterior_ratio: null, posterior_left: null, posterior_right: null };

/** @typedef {{values: Float32Array, known: Uint8Array}} Rows Mean gray of the adjacent tissue in each row, and where there is enough of it. */

/**
 * Measure the gray values of one lesion.
 * @param {import("./window.js").Outlined} scan
 * @param {import("./window.js").Component} lesion
 * @param {import("./window.js").Box} box Box of the lesion.
 * @returns {Appearance}
 */
export function measureAppearance(scan, lesion, box) {
  const [top, left, bottom, right] = box, across = 2 * Math.sqrt(lesion.pixels / Math.PI);
  if (across < SMALLEST || Math.min(bottom - top, right - left) < SMALLEST / 2) return UNKNOWN;
  const window = readWindow(scan, lesion, box, REACH);
  const isApart = top > 0 && left > 0 && bottom < scan.height && right < scan.width;
  const adjacent = adjacentGray(window), margin = window.cells(STEP);
  const core = window.lesion.map((inside, at) => Number(inside && (window.levels[at] === 0 || window.levels[at] < -margin)));
  const patches = patchesOf(window, core);
  return {
    echo_ratio: ratio(window, core, adjacent),
    echo_variation: variation(window, patches, core, adjacent),
    echo_free: patches.length ? patches.filter((gray) => gray <= BLACK).length / patches.length : null,
    abrupt_edge: isApart && across >= SMALLEST_MARGIN ? abruptEdge(window) : null,
    ...posteriorRatios(window, adjacent),
  };
}

/**
 * Return the mean gray of the adjacent tissue in each row.
 * @param {Window} window
 * @returns {Rows}
 */
function adjacentGray(window) {
  const { width, height, tissue, gray } = window, [, left, , right] = window.box;
  const least = LEAST_ADJACENT * (right - left), gap = window.cells(STEP);
  const sides = [[0, Math.max(0, left - gap)], [Math.min(width, right + gap), width]].filter(([from, to]) => to - from >= least);
  const values = new Float32Array(height), known = new Uint8Array(height);
  for (let row = 0; row < height; row++) {
    let count = 0, total = 0;
    for (const [from, to] of sides) {
      for (let at = row * width + from; at < row * width + to; at++) {
        count += tissue[at];
        total += tissue[at] * gray[at];
      }
    }
    known[row] = Number(count >= least);
    values[row] = total / Math.max(count, 1);
  }
  return { values, known };
}

/**
 * Return the mean gray of the adjacent tissue in the rows of some cells, and that of the cells in rows where it is known; null where
 * it is known for less than half of the cells, or almost black.
 * @param {Window} window
 * @param {Uint8Array} chosen
 * @param {Rows} adjacent
 */
function expected({ width, height, gray }, chosen, adjacent) {
  let all = 0, cells = 0, outside = 0, inside = 0;
  for (let row = 0; row < height; row++) {
    let count = 0, total = 0;
    for (let at = row * width; at < (row + 1) * width; at++) {
      count += chosen[at];
      total += chosen[at] * gray[at];
    }
    all += count;
    if (!adjacent.known[row]) continue;
    cells += count;
    outside += count * adjacent.values[row];
    inside += total;
  }
  if (cells === 0 || cells < all / 2 || outside / cells < DARK) return null;
  return { adjacent: outside / cells, chosen: inside / cells };
}

/** Return the mean gray of some cells over that of the adjacent tissue in the same rows. */
function ratio(window, chosen, adjacent) {
  const means = expected(window, chosen, adjacent);
  return means && means.chosen / means.adjacent;
}

/**
 * Return the mean gray of patches of the core, which has much less speckle than that of cells.
 * @param {Window} window
 * @param {Uint8Array} core
 */
function patchesOf(window, core) {
  const patch = Math.max(1, roundedToEven(window.diameter / PATCHES));
  const patches = { width: Math.max(1, Math.floor(window.width / patch)), height: Math.max(1, Math.floor(window.height / patch)) };
  const filled = maskMeans(core, window, patches), sums = cellMeans(window.gray.map((gray, at) => core[at] * gray), window, patches);
  return sums.map((sum, at) => sum / filled[at]).filter((_, at) => filled[at] >= 0.5);
}

/** Return the deviation of the gray of patches of the core over the gray of the adjacent tissue. */
function variation(window, patches, core, adjacent) {
  const means = expected(window, core, adjacent);
  if (means === null || patches.length < FEWEST_PATCHES) return null;
  const middle = sum(patches) / patches.length;
  return Math.sqrt(sum(patches.map((gray) => (gray - middle) ** 2)) / patches.length) / means.adjacent;
}

/**
 * Return the gray behind the middle of the lesion, and behind both of its halves, over that of the adjacent tissue.
 * @param {Window} window
 * @param {Rows} adjacent
 */
function posteriorRatios(window, adjacent) {
  const { width, height, tissue } = window, [top, left, bottom, right] = window.box;
  const below = bottom + window.cells(STEP), isRoom = height - below >= LEAST_BELOW * (bottom - top);
  const [start, middle, stop] = [EDGES, 0.5, 1 - EDGES].map((part) => roundedToEven(left + part * (right - left)));
  const behind = (from, to) => {
    const chosen = new Uint8Array(tissue.length);
    for (let row = below; row < height; row++) chosen.set(tissue.subarray(row * width + from, row * width + to), row * width + from);
    const cells = sum(chosen);
    return cells > 0 && cells >= ((height - below) * (to - from)) / 2 ? ratio(window, chosen, adjacent) : null;
  };
  if (!isRoom) return { posterior_ratio: null, posterior_left: null, posterior_right: null };
  return { posterior_ratio: behind(start, stop), posterior_left: behind(start, middle), posterior_right: behind(middle, stop) };
}

/**
 * Return the fraction of the outline across which the gray changes abruptly.
 * @param {Window} window
 */
function abruptEdge(window) {
  const { profiles, lengths } = profilesOf(window), reach = window.cells(REACH), step = window.cells(STEP);
  const whole = sum(lengths);
  if (whole === 0) return null;
  // The outline may be a step away from the edge. The direction of the change of gray is that along most of the outline.
  const outwards = profiles.map((profile) => sum(profile.slice(reach)) - sum(profile.slice(0, reach)));
  const direction = Math.sign(sum(outwards.map((change, sector) => lengths[sector] * change)));
  const first = Math.max(step, reach - step), last = Math.min(2 * reach - step, reach + step);
  const isAbrupt = (profile) => {
    let largest = -Infinity;
    for (let place = first; place <= last; place++) {
      const change = sum(profile.slice(place, place + step)) - sum(profile.slice(place - step, place));
      largest = Math.max(largest, (direction * change) / step);
    }
    return largest >= VISIBLE && largest >= ABRUPT * (Math.max(...profile) - Math.min(...profile));
  };
  return sum(lengths.map((length, sector) => (isAbrupt(profiles[sector]) ? length : 0))) / whole;
}

/**
 * Return the mean gray by distance from the outline, from inside to outside, in each sector, and each sector's length.
 * @param {Window} window
 */
function profilesOf(window) {
  const { width, levels, gray } = window, [top, left, bottom, right] = window.box, reach = window.cells(REACH);
  const counts = new Float64Array(SECTORS * 2 * reach), sums = new Float64Array(SECTORS * 2 * reach);
  for (let at = 0; at < levels.length; at++) {
    const level = levels[at];
    if (level === 0) continue;
    const down = (Math.floor(at / width) - (top + bottom - 1) / 2) / (bottom - top);
    const across = ((at % width) - (left + right - 1) / 2) / (right - left);
    const sector = Math.trunc((Math.atan2(down, across) / (2 * Math.PI) + 0.5) * SECTORS) % SECTORS;
    const place = sector * 2 * reach + reach + level - Number(level > 0);
    counts[place] += 1;
    sums[place] += gray[at];
  }
  const means = sums.map((total, place) => total / Math.max(counts[place], 1));
  const sectors = Array.from({ length: SECTORS }, (_, sector) => sector * 2 * reach);
  return {
    profiles: sectors.map((from) => [...means.subarray(from, from + 2 * reach)]),
    lengths: sectors.map((from) => counts[from + reach - 1]),
  };
}

/** @param {ArrayLike<number>} values */
function sum(values) {
  let total = 0;
  for (let at = 0; at < values.length; at++) total += values[at];
  return total;
}
