// Reduction of a gray image as Pillow's `resize(size, BILINEAR, reducing_gap=3)` does it: by block means, then with weights that are
// integers, rounded to 8 bits across and then down.

const GAP = 3, PRECISION = 22;

/**
 * A gray image with at most `most` rows and columns, and at least `least`.
 * @param {{gray: Uint8Array, width: number, height: number}} image
 */
export function reduced({ gray, width, height }, most, least) {
  const scale = Math.min(1, most / Math.max(width, height));
  const [across, down] = [width, height].map((side) => Math.max(least, roundedToEven(side * scale)));
  if (across === width && down === height) return { gray, width, height };
  const [byColumns, byRows] = [Math.floor(width / across / GAP) || 1, Math.floor(height / down / GAP) || 1];
  const blocks = blockMeans(gray, width, height, byColumns, byRows);
  const rows = resampled(blocks.gray, blocks.width, blocks.height, across, width / byColumns);
  const turned = transposed(rows, across, blocks.height);
  const columns = resampled(turned, blocks.height, across, down, height / byRows);
  return { gray: transposed(columns, down, across), width: across, height: down };
}

/** Python's round: of two nearest integers the even one. */
function roundedToEven(value) {
  const low = Math.floor(value), rest = value - low;
  return rest === 0.5 ? low + (low % 2) : Math.round(value);
}

/** The means of blocks of pixels; those at the right and the bottom edge may be smaller. */
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

/** A sum of pixels over their number, rounded: exactly for whole blocks of a power of two, else with a factor of 24 bits that is cut. */
function divided(total, pixels, whole) {
  const raised = total + Math.floor(pixels / 2);
  if (pixels === whole && Number.isInteger(Math.log2(pixels))) return Math.floor(raised / pixels);
  return Math.floor((raised * Math.floor((2 ** 32 - 1) / (256 * pixels))) / 2 ** 24);
}

/** Resizes each row to another number of pixels; the last pixel of a row may be cut off by its end. */
function resampled(gray, width, height, size, end) {
  const scale = end / size, reach = Math.max(1, scale), half = 2 ** (PRECISION - 1);
  const made = new Uint8Array(size * height);
  for (let column = 0; column < size; column++) {
    const middle = (column + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - reach + 0.5)), last = Math.min(width, Math.trunc(middle + reach + 0.5));
    const weights = Array.from({ length: last - first }, (_, at) => Math.max(0, 1 - Math.abs((first + at - middle + 0.5) / reach)));
    const whole = weights.reduce((one, other) => one + other, 0);
    const integers = weights.map((weight) => Math.trunc((weight / whole) * 2 ** PRECISION + 0.5));
    for (let row = 0; row < height; row++) {
      const total = integers.reduce((one, weight, at) => one + weight * gray[row * width + first + at], half);
      made[row * size + column] = Math.min(255, Math.floor(total / 2 ** PRECISION));
    }
  }
  return made;
}

function transposed(gray, width, height) {
  const made = new Uint8Array(gray.length);
  for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) made[column * height + row] = gray[row * width + column];
  return made;
}
