// BI-RADS descriptors of a mass in ultrasound, suggested from numbers as bcdseg/inference/descriptors/suggestions.py suggests them.

const ROUND_FROM = 0.9; // short over long axis
const REGULAR_FROM = 0.9; // area over the area of the ellipse with the same second moments
const SMOOTH_FROM = 0.9; // fraction of its convex hull that a lesion without spicules, corners or lobes fills
const CIRCUMSCRIBED_FROM = 0.75, INDISTINCT_BELOW = 0.5; // fraction of the outline across which the gray changes abruptly
const ECHO_FREE_FROM = 0.75, CYSTIC_FROM = 0.25; // fraction of the patches of the core that are almost black
const HETEROGENEOUS_FROM = 0.2; // variation of the core
const ISOECHOIC = [0.8, 1.25]; // lowest and highest gray of the core over that of the adjacent tissue
const UNCHANGED = [0.75, 1.25]; // lowest and highest gray behind a lesion without posterior features, over that of the adjacent tissue

/** @typedef {import("./appearance.js").Appearance} Appearance */

/**
 * BI-RADS descriptors; null where none can be suggested.
 * @typedef {object} Descriptors
 * @property {string} shape
 * @property {string} orientation
 * @property {string | null} margin
 * @property {string | null} echo_pattern
 * @property {string | null} posterior
 */

/**
 * Suggest descriptors.
 * @param {[number, number]} axes Long and short axis of the ellipse with the lesion's second moments.
 * @param {number} area Area, in the square of their unit.
 * @param {{tallerThanWide: number, solidity: number, appearance: Appearance | null}} lesion
 * @returns {Descriptors}
 */
export function suggestDescriptors([long, short], area, { tallerThanWide, solidity, appearance }) {
  const isIrregular = area < ((REGULAR_FROM * Math.PI) / 4) * long * short || short === 0;
  const shape = isIrregular ? "irregular" : short >= ROUND_FROM * long ? "round" : "oval";
  const isParallel = tallerThanWide < 1 && shape !== "round";
  const orientation = isParallel ? "parallel" : "not parallel";
  if (appearance === null) return { shape, orientation, margin: null, echo_pattern: null, posterior: null };
  return { shape, orientation, margin: margin(solidity, appearance), echo_pattern: echoPattern(appearance), posterior: posterior(appearance) };
}

/**
 * @param {number} solidity
 * @param {Appearance} appearance
 */
function margin(solidity, { abrupt_edge: abrupt }) {
  if (abrupt === null) return null;
  if (solidity < SMOOTH_FROM) return "not circumscribed";
  if (abrupt >= CIRCUMSCRIBED_FROM) return "circumscribed";
  return abrupt < INDISTINCT_BELOW ? "indistinct" : null;
}

/** @param {Appearance} appearance */
function echoPattern({ echo_ratio: ratio, echo_free: free, echo_variation: variation, posterior_ratio: behind }) {
  if (ratio === null || free === null) return null;
  // Black where the sound passes is fluid; where it doesn't, or where nothing behind is visible, it can be the shadow of the lesion.
  const [darkest, brightest] = ISOECHOIC, passes = behind !== null && behind >= UNCHANGED[0];
  if (free >= ECHO_FREE_FROM && ratio < darkest) return passes ? "anechoic" : null;
  if (variation !== null && variation >= HETEROGENEOUS_FROM) return free >= CYSTIC_FROM && passes ? "complex cystic and solid" : "heterogeneous";
  return ratio < darkest ? "hypoechoic" : ratio > brightest ? "hyperechoic" : "isoechoic";
}

/** @param {Appearance} appearance */
function posterior({ posterior_ratio: ratio, posterior_left: left, posterior_right: right }) {
  if (ratio === null) return null;
  const [darkest, brightest] = UNCHANGED, halves = [left, right].filter((half) => half !== null);
  if (halves.length && Math.min(...halves) < darkest && Math.max(...halves) > brightest) return "combined pattern";
  return ratio < darkest ? "shadowing" : ratio > brightest ? "enhancement" : "no posterior features";
}
