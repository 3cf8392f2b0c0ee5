// The statistics of an image that its out-of-distribution score compares, as bcdseg/inference/out_of_distribution.py computes them.

import { reduced } from "./resampling.js";

const SIDE = 160, ROWS = 8, COLUMNS = 4, SCALES = 4, TILE = 8, TINY = 1e-3;
const BRIGHTNESS = 7, SIGNS = BRIGHTNESS + ROWS + COLUMNS + 5;

/** A plane of numbers, row by row. */
class Plane {
  constructor(values, width, height) {
    this.values = values;
    this.width = width;
    this.height = height;
  }

  at(row, column) {
    return this.values[row * this.width + column];
  }

  map(change) {
    return new Plane(this.values.map(change), this.width, this.height);
  }

  /** Return a plane of another size whose numbers are computed from their position. */
  static of(width, height, value) {
    const values = new Float64Array(width * height);
    for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) values[row * width + column] = value(row, column);
    return new Plane(values, width, height);
  }

  /** Return the numbers of some rows and columns. */
  part([top, bottom], [left, right]) {
    return Plane.of(right - left, bottom - top, (row, column) => this.at(top + row, left + column)).values;
  }
}

/**
 * Return the statistics of an image.
 * @param {import("./scan_image.js").ScanImage} image
 * @returns {number[]}
 */
export function imageStatistics(image) {
  const small = reduced(image, SIDE, TILE);
  const gray = new Plane(Float64Array.from(small.gray, (value) => value / 255), small.width, small.height);
  const middle = mean(gray.values), contrast = deviation(gray.values) + TINY;
  const scaled = gray.map((value) => (value - middle) / contrast);
  const { width, height } = scaled;
  const across = differences(scaled, 0, 1), down = differences(scaled, 1, 0);
  const roughness = [across, down, differences(scaled, 0, 4), differences(scaled, 4, 0)].map((step) => Math.log(mean(step.map(Math.abs)) + TINY));
  const { scales, tails } = detail(scaled), { means, deviations } = tiles(gray);
  const speckle = deviations.map((one, at) => one / (means[at] + 0.05));
  const cubed = down.map((value) => value ** 3);
  const bright = sorted(gray.values), speckled = sorted(speckle);
  return [
    ...[0.1, 0.25, 0.5, 0.75, 0.9, 0.98].map((share) => Math.sqrt(quantile(bright, share))),
    Math.log(contrast),
    ...parts(height, ROWS).map((part) => mean(scaled.part(part, [0, width]))),
    ...parts(width, COLUMNS).map((part) => mean(scaled.part([0, height], part))),
    ...roughness,
    roughness[0] - roughness[1],
    mean(across.map(Math.sign)),
    mean(down.map(Math.sign)),
    mean(cubed) / (mean(cubed.map(Math.abs)) + TINY),
    ...scales,
    mean(scaled.values.map((value) => value ** 3)),
    Math.log(mean(scaled.values.map((value) => value ** 4)) + TINY),
    tails,
    quantile(speckled, 0.5),
    quantile(speckled, 0.9),
    correlation(means, deviations),
    Math.sqrt(mean(gray.values.map((value) => Number(value < 0.01)))),
    Math.sqrt(mean(gray.values.map((value) => Number(value > 0.98)))),
  ];
}

/** Return the statistics of the image turned upside down. */
export function turned(statistics) {
  const other = [...statistics];
  other.splice(BRIGHTNESS, ROWS, ...statistics.slice(BRIGHTNESS, BRIGHTNESS + ROWS).reverse());
  other[SIGNS + 1] *= -1;
  other[SIGNS + 2] *= -1;
  return other;
}

function mean(values) {
  let total = 0;
  for (const value of values) total += value;
  return total / values.length;
}

function deviation(values) {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
}

const sorted = (values) => Float64Array.from(values).sort();

/** Return a quantile of sorted numbers, interpolated between the nearest two. */
function quantile(values, share) {
  const place = share * (values.length - 1), low = Math.floor(place), high = Math.min(low + 1, values.length - 1);
  return values[low] + (place - low) * (values[high] - values[low]);
}

/** Return the differences between each number and the one some rows further down and columns further right. */
function differences(plane, rows, columns) {
  return Plane.of(plane.width - columns, plane.height - rows, (row, column) => plane.at(row + rows, column + columns) - plane.at(row, column)).values;
}

/**
 * Divide a length into parts, the longer ones first.
 * @returns {[number, number][]}
 */
function parts(length, count) {
  const least = Math.floor(length / count), longer = length % count;
  const starts = Array.from({ length: count + 1 }, (_, at) => at * least + Math.min(at, longer));
  return starts.slice(1).map((stop, at) => [starts[at], stop]);
}

/** Return the logarithm of the detail at each scale of a pyramid of block means, and the kurtosis of the finest detail. */
function detail(plane) {
  const scales = [];
  let tails = 0;
  for (let scale = 0; scale < SCALES; scale++) {
    const width = Math.floor(plane.width / 2), height = Math.floor(plane.height / 2), whole = plane;
    if (Math.min(width, height) === 0) {
      scales.push(Math.log(TINY));
      continue;
    }
    const means = Plane.of(width, height, (row, column) => (whole.at(2 * row, 2 * column) + whole.at(2 * row, 2 * column + 1) + whole.at(2 * row + 1, 2 * column) + whole.at(2 * row + 1, 2 * column + 1)) / 4);
    const rest = Plane.of(2 * width, 2 * height, (row, column) => whole.at(row, column) - means.at(row >> 1, column >> 1)).values;
    scales.push(Math.log(deviation(rest) + TINY));
    if (scale === 0) tails = Math.log(mean(rest.map((value) => value ** 4)) / (mean(rest.map((value) => value ** 2)) ** 2 + 1e-9) + TINY);
    plane = means;
  }
  return { scales, tails };
}

/** Return mean and standard deviation of each square tile. */
function tiles(plane) {
  const means = [], deviations = [];
  for (let top = 0; top + TILE <= plane.height; top += TILE) {
    for (let left = 0; left + TILE <= plane.width; left += TILE) {
      const tile = plane.part([top, top + TILE], [left, left + TILE]);
      means.push(mean(tile));
      deviations.push(deviation(tile));
    }
  }
  return { means, deviations };
}

function correlation(first, second) {
  const [one, other] = [mean(first), mean(second)];
  const product = mean(first.map((value, at) => (value - one) * (second[at] - other)));
  return product / (deviation(first) * deviation(second) + 1e-6);
}
