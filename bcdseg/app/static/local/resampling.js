// Reduction of images as Pillow does it: across, then down. Images of 8 bits have weights that are integers, and are rounded to 8 bits
// after each step; images of 32-bit numbers have neither.

const GAP = 3, BITS = 22, UNIT = 2 ** BITS;

/**
 * A filter: how far it reaches, in pixels of the result, and its weights by the distance from the middle.
 * @typedef {{reach: number, weight: (distance: number) => number}} Filter
 */

/** @type {Filter} */
const BILINEAR = { reach: 1, weight: (distance) => Math.max(0, 1 - Math.abs(distance)) };
/** @type {Filter} */
const BOX = { reach: 0.5, weight: (distance) => Number(distance > -0.5 && distance <= 0.5) };

/**
 * Return the mean of the values in each cell of a grid, as `resize(size, BOX)` computes it.
 * @template {Uint8Array | Float32Array} Values
 * @param {Values} values
 * @param {{width: number, height: number}} from
 * @param {{width: number, height: number}} to
 * @returns {Values}
 */
export function boxMeans(values, from, to) {
  const rows = resampled(values, from.width, from.height, to.width, from.width, BOX);
  const turned = transposed(rows, to.width, from.height);
  return transposed(resampled(turned, from.height, to.width, to.height, from.height, BOX), to.height, to.width);
}

/**
 * Return a gray image with at most `most` rows and columns, and at least `least`, as `resize(size, BILINEAR, reducing_gap=3)` makes it.
 * @param {{gray: Uint8Array, width: number, height: number}} image
 */
export function reduced({ gray, width, height }, most, least) {
  const scale = Math.min(1, most / Math.max(width, height));
  const [across, down] = [width, height].map((side) => Math.max(least, roundedToEven(side * scale)));
  if (across === width && down === height) return { gray, width, height };
  const [byColumns, byRows] = [Math.floor(width / across / GAP) || 1, Math.floor(height / down / GAP) || 1];
  const blocks = blockMeans(gray, width, height, byColumns, byRows);
  const rows = resampled(blocks.gray, blocks.width, blocks.height, across, width / byColumns, BILINEAR);
  const turned = transposed(rows, across, blocks.height);
  const columns = resampled(turned, blocks.height, across, down, height / byRows, BILINEAR);
  return { gray: transposed(columns, down, across), width: across, height: down };
}

/** Round as Python does: of two nearest integers to the even one. */
export function roundedToEven(value) {
  const low = Math.floor(value), rest = value - low;
  return rest === 0.5 ? low + (low % 2) : Math.round(value);
}

/** Return the means of blocks of pixels; those at the right and the bottom edge may be smaller. */
function blockMeans(gray, width, height, byColumns, byRows) {
  if (byColumns === 1 && byRows === 1) return { gray, width, height };
  const across = Math.ceil(width / byColumns), down = Math.ceil(height / byRows), means = new Uint8Array(across * down);
  const whole = byColumns * byRows;
  for (let row = 0; row < down; row++) {
    for (let column = 0; column < across; column++) {
      const bottom = Math.min(height, (row + 1) * byRows), right = Math.min(width, (column + 1) * byColumns);
      let total = 0;
      for (let y = row * byRows; y < bottom; y++) for (let x = column * byColumns; x < right; x++) total += gray[y * width + x];
      means[row * across + column] = divided(total, (bottom - row * byRows) * (right - column * byColumns), whole);
    }
  }
  return { gray: means, width: across, height: down };
}

/** Return a sum of pixels over their number, rounded: exactly for whole blocks of a power of two, else with a factor of 24 bits that is cut. */
function divided(total, pixels, whole) {
  const raised = total + Math.floor(pixels / 2);
  if (pixels === whole && Number.isInteger(Math.log2(pixels))) return Math.floor(raised / pixels);
  return Math.floor((raised * Math.floor((2 ** 32 - 1) / (256 * pixels))) / 2 ** 24);
}

/** Resize each row to another number of pixels; the last pixel of a row may be cut off by its end. */
function resampled(values, width, height, size, end, filter) {
  const isBytes = values instanceof Uint8Array, made = sameKind(values, size * height);
  const spans = Array.from({ length: size }, (_, column) => spanOf(column, width, end / size, filter));
  if (isBytes) for (const span of spans) span.weights = span.weights.map((weight) => Math.trunc(weight * UNIT + 0.5));
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < size; column++) {
      const { first, weights } = spans[column], from = row * width + first;
      let total = 0;
      for (let at = 0; at < weights.length; at++) total += weights[at] * values[from + at];
      made[row * size + column] = isBytes ? Math.min(255, (total + UNIT / 2) >> BITS) : total;
    }
  }
  return made;
}

/** Return the pixels of a row that contribute to a pixel of the result: the first one, and the weights, whose sum is 1. */
function spanOf(column, width, scale, { reach, weight }) {
  const middle = (column + 0.5) * scale, larger = Math.max(1, scale), far = reach * larger;
  const first = Math.max(0, Math.trunc(middle - far + 0.5)), last = Math.min(width, Math.trunc(middle + far + 0.5));
  const weights = Array.from({ length: last - first }, (_, at) => weight((first + at - middle + 0.5) * (1 / larger)));
  const whole = weights.reduce((one, other) => one + other, 0);
  return { first, weights: weights.map((one) => one / whole) };
}

function transposed(values, width, height) {
  const made = sameKind(values, values.length);
  for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) made[column * height + row] = values[row * width + column];
  return made;
}

const sameKind = (values, length) => new values.constructor(length);
