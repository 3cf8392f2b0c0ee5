// Lesions of a mask and their measurements, as bcdseg/inference/lesions.py measures them.

import { findComponents, maskOf } from "./components.js";
import { measureAppearance } from "./descriptors/appearance.js";
import { suggestDescriptors } from "./descriptors/suggestions.js";

const EXAMINED = 8; // lesions whose appearance is measured: the largest, because a noisy map can have hundreds of outlines

/**
 * Remove the small components of a mask and measure the others, the largest first.
 * @param {Uint8Array} mask
 * @param {object} scan
 * @param {number} scan.width
 * @param {number} scan.height
 * @param {Float32Array | null} scan.probability
 * @param {number} scan.minShare Size of the smallest lesion, as a fraction of the mask's pixels.
 * @param {number | null} scan.spacing Millimetres per pixel.
 * @param {Uint8Array} [scan.gray] The scan, in which the appearance of lesions is measured; without it, they have none.
 */
export function findLesions(mask, { width, height, probability, minShare, spacing, gray }) {
  const smallest = Math.max(1, minShare * mask.length);
  const all = findComponents(mask, width, height);
  const large = all.filter((component) => component.pixels >= smallest).sort((one, other) => other.pixels - one.pixels);
  const kept = large.length === all.length ? mask : maskOf(large, width, height);
  const outlined = gray && { gray, mask: kept, width, height, spacing };
  const lesions = large.map((component, at) => measure(component, width, probability, spacing, at < EXAMINED ? outlined : null));
  return { mask: kept, lesions };
}

/** Return the lesions of a scan that is upside down, without what was measured below them. */
export function withoutPosteriorFeatures(lesions) {
  const removed = { posterior_ratio: null, posterior_left: null, posterior_right: null };
  return lesions.map((one) => (one.appearance ? described({ ...one, appearance: { ...one.appearance, ...removed } }) : one));
}

/** Return the size of a lesion in words. */
export function sizeInWords({ long_axis_px: long, short_axis_px: short, long_axis_mm: longMm, short_axis_mm: shortMm }) {
  return longMm === null ? `${long.toFixed(0)} x ${short.toFixed(0)} px` : `${longMm.toFixed(1)} x ${shortMm.toFixed(1)} mm`;
}

/** Measure a lesion; `outlined` is the scan with all its outlines, or null to leave its appearance out. */
function measure(component, width, probability, spacing, outlined) {
  const { rows, starts, stops, pixels } = component;
  /** @type {import("./descriptors/window.js").Box} */
  const box = [rows[0], least(starts), rows.at(-1) + 1, greatest(stops)];
  const [top, left, bottom, right] = box;
  const { centroid, vertical, mixed, horizontal } = moments(component);
  // A uniform ellipse has the variance (axis / 4) ** 2 along each axis; the long one is at this angle from the vertical.
  const turned = Math.atan2(2 * mixed, vertical - horizontal) / 2;
  const angle = turned < -1.2 ? turned + Math.PI : turned; // rounding then swaps the ends of no horizontal, vertical or diagonal axis
  const mean = (vertical + horizontal) / 2, half = Math.hypot((vertical - horizontal) / 2, mixed);
  const long = 4 * Math.sqrt(mean + half), short = 4 * Math.sqrt(Math.max(0, mean - half));
  const [down, across] = [Math.cos(angle), Math.sin(angle)];
  const degrees = (Math.atan2(-down, across) * 180) / Math.PI; // row numbers increase downwards
  const ends = (rows, columns) => [
    [centroid[0] - rows / 2, centroid[1] - columns / 2],
    [centroid[0] + rows / 2, centroid[1] + columns / 2],
  ];
  return described({
    area_px: pixels,
    box,
    centroid,
    long_axis_px: long,
    short_axis_px: short,
    long_axis_ends: ends(down * long, across * long),
    short_axis_ends: ends(-across * short, down * short),
    orientation: degrees <= -90 ? degrees + 180 : degrees > 90 ? degrees - 180 : degrees,
    taller_than_wide: (bottom - top) / (right - left),
    circularity: circularity(component),
    solidity: pixels / hullArea(component),
    probability: meanIn(component, width, probability),
    area_mm2: spacing === null ? null : pixels * spacing * spacing,
    long_axis_mm: spacing === null ? null : long * spacing,
    short_axis_mm: spacing === null ? null : short * spacing,
    appearance: outlined ? measureAppearance(outlined, component, box) : null,
  });
}

/** Return a lesion with its descriptors, which follow from its measurements. */
function described(lesion) {
  const { long_axis_px: long, short_axis_px: short, long_axis_mm: longMm, short_axis_mm: shortMm, area_px: area, area_mm2: areaMm2 } = lesion;
  const { taller_than_wide: tallerThanWide, solidity, appearance } = lesion;
  const inPixels = longMm === null;
  const descriptors = suggestDescriptors(inPixels ? [long, short] : [longMm, shortMm], inPixels ? area : areaMm2, { tallerThanWide, solidity, appearance });
  return { ...lesion, descriptors };
}

const least = (values) => values.reduce((one, other) => Math.min(one, other));
const greatest = (values) => values.reduce((one, other) => Math.max(one, other));
const sum = (values) => values.reduce((one, other) => one + other, 0);

/** Return mean row and column, the variance of the rows, the covariance, and the variance of the columns. */
function moments({ rows, starts, stops, pixels }) {
  const lengths = stops.map((stop, run) => stop - starts[run]), middles = stops.map((stop, run) => (starts[run] + stop - 1) / 2);
  const row = sum(rows.map((one, run) => one * lengths[run])) / pixels, column = sum(middles.map((one, run) => one * lengths[run])) / pixels;
  const variance = (each) => sum(lengths.map((length, run) => each(rows[run] - row, middles[run] - column, length))) / pixels;
  return {
    centroid: [row, column],
    vertical: variance((down, _, length) => down * down * length),
    mixed: variance((down, across, length) => down * across * length),
    // The last term is the sum of the squared distances of the columns of a run from its middle.
    horizontal: variance((_, across, length) => across * across * length + (length * (length * length - 1)) / 12),
  };
}

function meanIn({ rows, starts, stops, pixels }, width, probability) {
  if (!probability) return 0;
  let total = 0;
  rows.forEach((row, run) => {
    for (let at = row * width + starts[run]; at < row * width + stops[run]; at++) total += probability[at];
  });
  return total / pixels;
}

/** Return 4 pi area over perimeter squared; the perimeter is computed by Crofton's formula from the crossings of four directions. */
function circularity({ rows, pixels, shared: [directly, left, right] }) {
  const straight = 2 * rows.length + 2 * (pixels - directly), slanted = 2 * (pixels - left) + 2 * (pixels - right);
  const perimeter = (Math.PI / 8) * (straight + slanted / Math.SQRT2);
  return Math.min(1, (4 * Math.PI * pixels) / perimeter ** 2);
}

/** Return the area of the convex hull of all pixel corners. */
function hullArea({ rows, starts, stops }) {
  const left = [], right = [];
  rows.forEach((row, run) => {
    const at = row - rows[0];
    left[at] = Math.min(left[at] ?? Infinity, starts[run]);
    right[at] = Math.max(right[at] ?? -Infinity, stops[run]);
  });
  return areaUnderHull(corners(right)) + areaUnderHull(corners(left.map((start) => -start)));
}

/** Return the outermost pixel corner on each grid line, from the outermost corner of the pixels in each row. */
const corners = (ends) => [...ends, ends.at(-1)].map((end, at) => Math.max(end, ends[Math.max(0, at - 1)]));

/** Return the area under the upper convex hull of points at the heights and at equal distances of 1. */
function areaUnderHull(heights) {
  const hull = [];
  heights.forEach((height, place) => {
    while (hull.length > 1) {
      const [before, low] = hull.at(-2), [last, high] = hull.at(-1);
      if ((last - before) * (height - low) < (high - low) * (place - before)) break; // the last point is above the line
      hull.pop();
    }
    hull.push([place, height]);
  });
  return sum(hull.slice(1).map(([place, height], at) => ((hull[at][1] + height) * (place - hull[at][0])) / 2));
}
