// The frames of a clip in time: the next frame, the time that it is shown, and texts about both.

import { percent } from "../dom.js";

const USUAL = 100; // milliseconds from frame to frame where a file states none
const SHORTEST = 33, LONGEST = 4000; // milliseconds that a frame is shown

/**
 * Properties of a clip before its frames are predicted.
 * @typedef {object} Clip
 * @property {string} id
 * @property {string} name
 * @property {number} frames Number of frames of the file.
 * @property {number} every n where each n-th frame is used.
 * @property {number} left_out Number of frames that are not used.
 * @property {number | null} milliseconds Time from one frame of the file to the next.
 */

/**
 * Return the milliseconds that each used frame is shown.
 * @param {Clip} clip
 */
export function shownFor(clip, speed) {
  const time = ((clip.milliseconds ?? USUAL) * clip.every) / speed;
  return Math.min(LONGEST, Math.max(SHORTEST, time));
}

/**
 * Return the place of the frame that follows another one, after the last the first; frames that can't be read are skipped. -1 where none
 * can be read.
 * @param {any[]} frames
 */
export function following(frames, at, steps = 1) {
  for (let count = 1; count <= frames.length; count++) {
    const place = (((at + steps * count) % frames.length) + frames.length) % frames.length;
    if (!frames[place].error) return place;
  }
  return -1;
}

/** Return the place of the readable frame that is nearest to one; -1 where none can be read. */
export function nearest(frames, at) {
  const readable = [...frames.keys()].filter((place) => !frames[place].error);
  return readable.reduce((best, place) => (best < 0 || Math.abs(place - at) < Math.abs(best - at) ? place : best), -1);
}

/** Return the position of a frame along the slider, from 0 to 1. */
export const alongTheSlider = (at, count) => (count > 1 ? at / (count - 1) : 0);

/** Return a sentence on which frames are used, and which are left out. */
export function usedInWords(clip) {
  if (!clip.left_out) return `All ${clip.frames} frames are used.`;
  const nth = { 2: "second", 3: "third" }[clip.every] ?? `${clip.every}th`;
  return `Each ${nth} frame is used: ${clip.frames - clip.left_out} of ${clip.frames}; ${clip.left_out} are left out.`;
}

/** Return a sentence on the frame rate of the recording. */
export function rateInWords(clip) {
  if (!clip.milliseconds) return `The file states no rate: at speed 1, it is played with ${1000 / USUAL} frames per second.`;
  return `Recorded with ${Number((1000 / clip.milliseconds).toFixed(1))} frames per second.`;
}

/** Return the text of a frame for the slider: its number, whether it is the key frame, and its prediction. */
export function frameInWords(entry, clip, keyFrame) {
  const parts = [`Frame ${entry.frame} of ${clip.frames}`, entry.frame === keyFrame && "key frame", predictionInWords(entry)];
  return parts.filter(Boolean).join(", ");
}

/** Return the prediction of a frame in few words. */
export function predictionInWords({ drawn, error }) {
  if (error) return "not read";
  if (!drawn) return "not predicted yet";
  const count = drawn.lesions.length;
  const outlined = drawn.edges === null ? null : count ? `${count} ${count === 1 ? "lesion" : "lesions"} outlined` : "nothing outlined";
  return [drawn.label === null ? null : `${drawn.label} ${percent(drawn.confidence)}`, outlined].filter(Boolean).join(", ");
}

/** Return the class of the mark of a frame on the slider. */
export function kindOf({ drawn, error }) {
  if (error) return "unread";
  if (!drawn) return "ahead";
  return drawn.lesions.length ? "outlined" : "empty";
}
