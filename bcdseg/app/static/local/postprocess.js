// Postprocessing: from the outputs of the exported model to the prediction that the page shows, as in bcdseg/inference/postprocess.py and rules.py.
// Thresholds, classes and calibration are those of the model's configuration.

import { edgesOf } from "../review/mask.js";
import { checkDistribution, flag, imageFlags } from "./image_checks.js";
import { findLesions, sizeInWords, withoutPosteriorFeatures } from "./lesions.js";
import { percent, priority } from "./priority.js";

const STEPS = 100;

/**
 * A model as `bcdseg app --static` describes it.
 * @typedef {object} ModelFacts
 * @property {string} name
 * @property {string[]} classes
 * @property {string | null} no_lesion The negative class.
 * @property {boolean} trained
 * @property {any} rules Its decision rules, by the names of `bcdseg.inference.rules.Rules`.
 * @property {Record<string, string>} points Its operating points, in words.
 * @property {string[]} outputs Names of the outputs of the exported model.
 * @property {{channels: number, resize: string, stride: number}} preprocessing
 * @property {string} card Its card, as HTML.
 */

/**
 * Outputs of the exported model for a scan.
 * @typedef {object} Outputs
 * @property {Float32Array | null} probability Probability of a lesion for each pixel.
 * @property {number[] | null} classes Probability of each class.
 */

/**
 * Return the prediction for a scan; its names are those of the server's prediction.
 * @param {ModelFacts} model
 * @param {import("./scan_image.js").ScanImage} image
 * @param {Outputs} outputs
 * @param {{threshold?: number, spacing?: number, point?: string}} options
 */
export function postprocess(model, image, outputs, { threshold, spacing = null, point }) {
  const { rules, no_lesion: negative } = model, { width, height, gray } = image;
  const used = threshold ?? rules.threshold;
  const found = outlined(outputs.probability, used, { width, height, gray, minShare: rules.min_lesion_share, spacing });
  const probabilities = Object.fromEntries((outputs.classes ?? []).map((value, at) => [model.classes[at], value]));
  const presence = negative !== null && outputs.classes ? 1 - probabilities[negative] : 1;
  const isCandidate = found.lesions.length > 0 && rules.presence_threshold !== null && presence < rules.presence_threshold;
  const distribution = checkDistribution(image, rules.training_images);
  const isUpsideDown = distribution.flags.some(({ code }) => code === "upside-down");
  const outlines = isUpsideDown ? withoutPosteriorFeatures(found.lesions) : found.lesions;
  const lesions = isCandidate ? [] : outlines, candidates = isCandidate ? outlines : [];

  const operating = rules.operating_points.find(({ name }) => name === point) ?? null;
  const mostProbable = highest(probabilities), label = operating ? chosen(operating, probabilities) : mostProbable;
  const confidence = label === null ? null : probabilities[label];
  const flags = contradictions(label, confidence, found.mask && lesions.length > 0, model);
  if (isCandidate) flags.push(flag("candidate", `An outline is only a candidate: the probability of a lesion is ${percent(presence)}, below the model's threshold of ${percent(rules.presence_threshold)}.`));
  if (label !== mostProbable) flags.push(flag("operating-point", `Predicted ${label} at the operating point '${point}'; the most probable class is ${mostProbable}.`));
  flags.push(...imageFlags(image), ...distribution.flags);

  const edges = found.mask && edgesOf(found.mask);
  const prediction = {
    source: image.name, height, width, label, probabilities,
    label_set: labelSet(rules, probabilities),
    ood_score: distribution.score === null ? null : rounded(distribution.score, 4),
    lesions, candidates, flags,
    spacing_mm: spacing === null ? null : [spacing, spacing],
    spacing_from: spacing === null ? null : "given",
    frame: null, threshold: used, operating_point: operating?.name ?? null, windows: null, spread: null, uncertainty_from: null,
  };
  return {
    ...prediction,
    confidence,
    sizes: lesions.map(sizeInWords),
    origin: spacing === null ? null : "given by you",
    own_threshold: rules.threshold,
    min_lesion_share: rules.min_lesion_share,
    points: model.points,
    edges: isCandidate ? [] : edges,
    candidate_edges: isCandidate ? edges : null,
    areas: [{ box: [0, 0, height, width], spacing_mm: prediction.spacing_mm }],
    dicom: false,
    model: model.name,
    trained: model.trained,
    priority: priority(prediction, outputs.probability, rules.presence_threshold, negative),
    reviews: [],
  };
}

/** Return the hundredths that each pixel's probability reaches, one byte per pixel. */
export function levelsOf(probability) {
  const steps = Float32Array.from({ length: STEPS + 1 }, (_, step) => step / STEPS), levels = new Uint8Array(probability?.length ?? 0);
  for (let at = 0; at < levels.length; at++) {
    const value = probability[at], near = Math.min(STEPS, Math.floor(value * STEPS)); // one too low or too high where rounding differs
    levels[at] = near < STEPS && value >= steps[near + 1] ? near + 1 : value >= steps[near] ? near : near - 1;
  }
  return levels;
}

/** Return a number with at most some decimals. */
export const rounded = (value, decimals) => Number(value.toFixed(decimals));

function outlined(probability, threshold, scan) {
  if (!probability) return { mask: null, lesions: [] };
  const least = Math.fround(threshold), mask = new Uint8Array(probability.length); // the map has 32 bits
  for (let at = 0; at < mask.length; at++) mask[at] = probability[at] >= least ? 1 : 0;
  return findLesions(mask, { ...scan, probability });
}

/** Return the first of the most probable classes; null without classes. */
function highest(probabilities) {
  const names = Object.keys(probabilities);
  return names.length ? names.reduce((one, other) => (probabilities[other] > probabilities[one] ? other : one)) : null;
}

/** Return the class at an operating point. */
function chosen({ positive, threshold }, probabilities) {
  if (probabilities[positive] >= threshold) return positive;
  return highest(Object.fromEntries(Object.entries(probabilities).filter(([name]) => name !== positive)));
}

/** Return the classes that the model's conformal rules can't exclude; null for a model without such rules. */
function labelSet({ conformal_thresholds: thresholds }, probabilities) {
  const names = Object.keys(probabilities);
  if (!thresholds.length || !names.length) return null;
  const kept = names.filter((name, at) => probabilities[name] >= thresholds[at]);
  return kept.length ? kept : [highest(probabilities)];
}

/** Return warnings about an outline and a class that contradict each other, and about a low confidence. */
function contradictions(label, confidence, isOutlined, { rules, no_lesion: negative }) {
  const flags = [], least = rules.min_confidence;
  if (label === null) return flags;
  if (isOutlined && label === negative) flags.push(flag("outlined-but-no-lesion", `A lesion is outlined, but the predicted class is ${label}: they contradict each other.`));
  if (isOutlined === false && label !== negative) flags.push(flag("no-outline", `The predicted class is ${label}, but no lesion is outlined: they contradict each other.`));
  if (confidence < least) flags.push(flag("low-confidence", `The class is uncertain: ${label} at ${percent(confidence)}, below the model's threshold of ${percent(least)}.`));
  return flags;
}
