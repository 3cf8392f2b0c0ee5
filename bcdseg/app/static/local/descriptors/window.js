// A window around a lesion, reduced to a grid of cells, as bcdseg/inference/descriptors/appearance.py reduces it. The region of the scan is
// the whole image, and pixels are square.

import { boxMeans, roundedToEven } from "../resampling.js";

const ACROSS = 50; // cells across a lesion
const AROUND = 0.75, ABOVE = 0.2, BELOW = 1; // window around the box of a lesion, in widths and heights of the box
const SAMPLED = 3; // pixels of a cell that are read down and across, of more

/** @typedef {import("../components.js").Component} Component */
/** @typedef {[number, number, number, number]} Box Top, left, bottom and right; bottom and right are one past the last. */
/** @typedef {{gray: Uint8Array, mask: Uint8Array, width: number, height: number, spacing: number | null}} Outlined A scan with all its outlines. */
/** @typedef {{width: number, height: number}} Size */

/** A window around a lesion. */
export class Window {
  /**
   * @param {Size} size Numbers of cells.
   * @param {{gray: Float32Array, lesion: Uint8Array, tissue: Uint8Array, box: Box, diameter: number, reach: number}} cells
   */
  constructor({ width, height }, { gray, lesion, tissue, box, diameter, reach }) {
    this.width = width;
    this.height = height;
    /** Mean gray of each cell, 0 to 1. */
    this.gray = gray;
    /** 1 in the lesion. */
    this.lesion = lesion;
    /** 1 outside of all outlines. */
    this.tissue = tissue;
    /** Box of the lesion, in cells. */
    this.box = box;
    /** Diameter of a disc of the lesion's area, in cells. */
    this.diameter = diameter;
    /** Distance from the outline in cells, from 1 outside and from -1 inside; 0 where it is farther than `reach`. */
    this.levels = levelsOf(lesion, width, height, this.cells(reach));
  }

  /** Return a fraction of the lesion's diameter as a number of cells, at least 1. */
  cells(fraction) {
    return Math.max(1, roundedToEven(fraction * this.diameter));
  }
}

/**
 * Reduce the window around a lesion.
 * @param {Outlined} scan
 * @param {Component} lesion
 * @param {Box} box Box of the lesion.
 * @param {number} reach Largest distance from the outline in `levels`, over the lesion's diameter.
 */
export function readWindow(scan, lesion, [top, left, bottom, right], reach) {
  const side = scan.spacing ?? 1;
  const above = roundedToEven(ABOVE * (bottom - top)), below = roundedToEven(BELOW * (bottom - top)), around = roundedToEven(AROUND * (right - left));
  const firstRow = Math.max(0, top - above), lastRow = Math.min(scan.height, bottom + below);
  const first = Math.max(0, left - around), last = Math.min(scan.width, right + around);
  const diameter = 2 * Math.sqrt((lesion.pixels * side * side) / Math.PI);
  const cell = Math.max(diameter / ACROSS, side); // no cell is smaller than a pixel
  const cellsOf = (pixels) => Math.max(1, roundedToEven((pixels * side) / cell));
  const size = { width: cellsOf(last - first), height: cellsOf(lastRow - firstRow) };
  // Of large cells only some pixels are read, so that the window of a huge lesion costs little.
  const step = Math.max(1, Math.floor(cell / side / SAMPLED));
  const part = { top: firstRow, left: first, step, width: Math.ceil((last - first) / step), height: Math.ceil((lastRow - firstRow) / step) };
  const tall = size.height / (lastRow - firstRow), wide = size.width / (last - first);
  return new Window(size, {
    gray: cellMeans(sampled(scan.gray, scan.width, part), part, size),
    lesion: new Uint8Array(maskMeans(painted(lesion, part), part, size).map((share) => Number(share >= 0.5))),
    tissue: new Uint8Array(maskMeans(sampled(scan.mask, scan.width, part), part, size).map((share) => Number(share === 0))),
    box: [
      Math.floor((top - firstRow) * tall),
      Math.floor((left - first) * wide),
      Math.ceil((bottom - firstRow) * tall),
      Math.ceil((right - first) * wide),
    ],
    diameter: diameter / cell,
    reach,
  });
}

/**
 * Return the mean of the values in each cell of a grid, from 0 to 1.
 * @param {Uint8Array | Float32Array} values
 * @param {Size} from
 * @param {Size} to
 */
export function cellMeans(values, from, to) {
  const white = values instanceof Float32Array ? 1 : 255;
  return new Float32Array(boxMeans(values, from, to)).map((mean) => mean / white);
}

/**
 * Return the fraction of each cell that is in a mask, in steps of 1/255.
 * @param {Uint8Array} mask
 * @param {Size} from
 * @param {Size} to
 */
export function maskMeans(mask, from, to) {
  const levels = new Uint8Array(mask.length);
  for (let at = 0; at < mask.length; at++) levels[at] = 255 * mask[at];
  return cellMeans(levels, from, to);
}

/** Return every `step`-th row and column of a part of a scan. */
function sampled(values, width, part) {
  const made = new Uint8Array(part.width * part.height);
  for (let row = 0, to = 0; row < part.height; row++) {
    const from = (part.top + row * part.step) * width + part.left;
    for (let column = 0; column < part.width; column++) made[to++] = values[from + column * part.step];
  }
  return made;
}

/** Return the mask of a lesion in such a part, which contains the lesion. */
function painted({ rows, starts, stops }, part) {
  const mask = new Uint8Array(part.width * part.height);
  const columnOf = (column) => Math.ceil((column - part.left) / part.step);
  rows.forEach((row, run) => {
    const at = (row - part.top) / part.step;
    if (Number.isInteger(at)) mask.fill(1, at * part.width + columnOf(starts[run]), at * part.width + columnOf(stops[run]));
  });
  return mask;
}

/** Return the distance of each cell from the outline, up to a count: 1, 2... outside, -1, -2... inside, else 0. */
function levelsOf(lesion, width, height, count) {
  const levels = new Int8Array(lesion.length);
  for (const [sign, start] of [[1, 1], [-1, 0]]) {
    let latest = []; // cells that the last step has reached, at first those at the outline
    for (let cell = 0; cell < lesion.length; cell++) {
      if (lesion[cell] !== start) continue;
      const isAtOutline = lesion[cell - width] === 1 - start || lesion[cell + width] === 1 - start || lesion[cell - 1] === 1 - start || lesion[cell + 1] === 1 - start;
      if (isAtOutline) latest.push(cell);
    }
    for (let level = 1; level <= count; level++) {
      const reached = [];
      for (const cell of latest) {
        for (const near of neighbours(cell, width, height, level % 3 === 0)) { // of three steps, one diagonal makes an octagon, about a disc
          if (lesion[near] === start || levels[near] !== 0) continue;
          levels[near] = sign * level;
          reached.push(near);
        }
      }
      latest = reached;
    }
  }
  return levels;
}

/** Return the neighbours of a cell in its row and column, and with `diagonally` those at corners. */
function neighbours(cell, width, height, diagonally) {
  const row = Math.floor(cell / width), column = cell % width, found = [];
  for (let down = Math.max(-1, -row); down <= Math.min(1, height - 1 - row); down++) {
    for (let across = Math.max(-1, -column); across <= Math.min(1, width - 1 - column); across++) {
      if (diagonally || down === 0 || across === 0) found.push(cell + down * width + across);
    }
  }
  return found;
}
