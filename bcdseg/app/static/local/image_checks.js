// Warnings about an image, as bcdseg/inference/postprocess.py and out_of_distribution.py give them. Images have 8 bits.

import { imageStatistics, turned } from "./image_statistics.js";

const TINY = 64, SAMPLED = 128;
const FAR = 6, MARGIN = 0.5; // of out_of_distribution.py

/**
 * Return warnings about an image that is tiny, blank, saturated or otherwise unlike a scan.
 * @param {import("./scan_image.js").ScanImage} image
 */
export function imageFlags({ width, height, gray, rgba }) {
  const flags = [], step = Math.max(1, Math.floor(Math.min(width, height) / SAMPLED));
  if (Math.min(width, height) < TINY) flags.push(flag("tiny", `The image is only ${height}x${width} pixels; a scan has more detail.`));
  let count = 0, total = 0, squares = 0, low = 255, high = 0, white = 0, black = 0, coloured = 0;
  for (let row = 0; row < height; row += step) {
    for (let column = 0; column < width; column += step) {
      const at = row * width + column, value = gray[at];
      count += 1;
      total += value;
      squares += value * value;
      low = Math.min(low, value);
      high = Math.max(high, value);
      white += Number(value >= 0.98 * 255);
      black += Number(value <= 0.02 * 255);
      const [red, green, blue] = [rgba[4 * at], rgba[4 * at + 1], rgba[4 * at + 2]];
      coloured += Number(Math.max(red, green, blue) - Math.min(red, green, blue) > 0.12 * 255);
    }
  }
  const deviation = Math.sqrt(Math.max(0, squares / count - (total / count) ** 2));
  if (high - low < 0.04 * 255 || deviation < 0.01 * 255) flags.push(flag("blank", "The image is blank or almost so."));
  else if (white / count > 0.3) flags.push(flag("saturated", "Much of the image is saturated white, unlike a scan."));
  else if (black / count > 0.9) flags.push(flag("dark", "Almost all of the image is black, unlike a scan."));
  if (coloured / count > 0.15) flags.push(flag("colour", "Much of the image is in colour, unlike a gray-scale scan."));
  return flags;
}

/** Return the out-of-distribution score of an image, null for a model without statistics of its training images, and the warnings from it. */
export function checkDistribution(image, known) {
  if (!known.length) return { score: null, flags: [] };
  const statistics = imageStatistics(image), upsideDown = turned(statistics), flags = [];
  const score = Math.min(...known.map((one) => distance(one, statistics) / one.threshold));
  if (score >= 1) {
    const text = `The image is unlike the scans that the model was trained on: the out-of-distribution score is ${score.toFixed(2)}.`;
    flags.push(flag("out-of-distribution", `${text} From 1, predictions are not reliable.`));
  }
  if (known.every((one) => distance(one, upsideDown) < distance(one, statistics) - MARGIN)) {
    flags.push(flag("upside-down", "The image seems to be upside down: the skin belongs at the top."));
  }
  return { score, flags };
}

/** Return the Mahalanobis distance of an image from the training images of a model. */
function distance({ centre, spread, mean, whitening }, statistics) {
  const deviation = statistics.map((value, at) => Math.min(FAR, Math.max(-FAR, (value - centre[at]) / spread[at])) - mean[at]);
  return Math.hypot(...whitening.map((row) => row.reduce((total, weight, at) => total + weight * deviation[at], 0)));
}

export const flag = (code, message) => ({ code, message });
