// The summary of a clip over its frames, next to the scan. Every number comes from the library.

import { by, make, percent } from "../dom.js";
import { bars } from "../panel.js";

/**
 * Return names and values of the summary of a clip.
 * @returns {[string, string][]}
 */
export function summaryFacts(summary, clip) {
  const count = summary.frames.length, outlined = Math.round(summary.outlined_share * count);
  const size = (long, short, unit, digits) => `${long.toFixed(digits)} × ${short.toFixed(digits)} ${unit}`;
  const largest = summary.long_axis_mm !== null ? size(summary.long_axis_mm, summary.short_axis_mm, "mm", 1) : summary.long_axis_px !== null ? size(summary.long_axis_px, summary.short_axis_px, "px", 0) : null;
  /** @type {[string, string][]} */
  const facts = [
    ["Frames", clip.left_out ? `${count} of ${clip.frames}` : String(count)],
    ["With an outline", `${outlined} (${percent(summary.outlined_share)})`],
    ["Key frame", summary.largest_frame === null ? "none, since no lesion is outlined" : `${summary.largest_frame}, with the largest lesion`],
    ["Its size", largest],
    ["Median long axis", summary.median_long_axis_mm === null ? null : `${summary.median_long_axis_mm.toFixed(1)} mm`],
    ["Not read", summary.unread ? String(summary.unread) : null],
  ];
  return facts.filter(([, value]) => value !== null);
}

/** Return the key frame of a clip as a sentence for screen readers. */
export function summaryInWords(summary) {
  const proposed = summary.largest_frame === null ? "No lesion is outlined." : `Proposed key frame: ${summary.largest_frame}.`;
  return `Clip ${summary.name}: ${summary.words}. ${proposed}`;
}

/** Show the summary of the frames that are predicted so far; null where there is none. */
export function showSummary(summary, clip, done, count) {
  by("clip-progress").textContent = done < count ? `${done} of ${count} frames are predicted so far.` : "";
  by("clip-facts").hidden = !summary;
  if (!summary) {
    for (const id of ["clip-label", "clip-bars", "clip-facts"]) by(id).replaceChildren();
    return;
  }
  const { label, probabilities } = summary;
  const shown = label === null ? ["No class"] : [label, " ", make("small", {}, `at ${percent(probabilities[label])} on average`)];
  by("clip-label").replaceChildren(...shown);
  by("clip-bars").replaceChildren(...bars(probabilities, label));
  by("clip-facts").replaceChildren(...summaryFacts(summary, clip).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}
