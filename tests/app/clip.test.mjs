// Unit tests of the player's modules that need no document: time, order and words.

import assert from "node:assert/strict";
import { test } from "node:test";

import { summaryFacts, summaryInWords } from "../../bcdseg/app/static/clip/summary.js";
import { alongTheSlider, following, frameInWords, kindOf, nearest, predictionInWords, rateInWords, shownFor, usedInWords } from "../../bcdseg/app/static/clip/timeline.js";

const CLIP = { id: "c", name: "clip.dcm", frames: 120, every: 3, left_out: 80, milliseconds: 40 };
const DRAWN = { label: "benign", confidence: 0.8, edges: [1, 2], lesions: [{}] };
const read = { error: null }, unread = { error: "damaged" };

test("a frame is shown as long as the frames that it stands for", () => {
  assert.equal(shownFor(CLIP, 1), 120);
  assert.equal(shownFor(CLIP, 2), 60);
  assert.equal(shownFor({ ...CLIP, milliseconds: null, every: 1 }, 1), 100);
});

test("no frame is too short to be drawn or so long that the clip seems to stand", () => {
  assert.equal(shownFor({ ...CLIP, milliseconds: 1, every: 1 }, 4), 33);
  assert.equal(shownFor({ ...CLIP, milliseconds: 10_000, every: 40 }, 0.25), 4000);
});

test("after the last frame the first follows, and frames that can't be read are skipped", () => {
  const frames = [read, unread, read, unread];
  assert.deepEqual([0, 2].map((at) => following(frames, at)), [2, 0]);
  assert.deepEqual([0, 2].map((at) => following(frames, at, -1)), [2, 0]);
  assert.equal(following([read], 0), 0);
  assert.equal(following([unread, unread], 0), -1);
});

test("the slider stops at the nearest frame that can be read", () => {
  assert.equal(nearest([read, unread, unread, read], 1), 0);
  assert.equal(nearest([read, unread, unread, read], 2), 3);
  assert.equal(nearest([unread], 0), -1);
});

test("marks are spread from one end of the slider to the other", () => {
  assert.deepEqual([0, 2, 4].map((at) => alongTheSlider(at, 5)), [0, 0.5, 1]);
  assert.equal(alongTheSlider(0, 1), 0);
});

test("the frames that a long clip leaves out are stated", () => {
  assert.equal(usedInWords(CLIP), "Each third frame is used: 40 of 120; 80 are left out.");
  assert.match(usedInWords({ ...CLIP, every: 12 }), /^Each 12th frame/);
  assert.equal(usedInWords({ ...CLIP, frames: 9, every: 1, left_out: 0 }), "All 9 frames are used.");
});

test("the rate is the file's, or stated as unknown", () => {
  assert.equal(rateInWords(CLIP), "Recorded with 25 frames per second.");
  assert.match(rateInWords({ ...CLIP, milliseconds: null }), /states no rate: .* 10 frames per second/);
});

test("a frame has its number, whether it is the key frame, and its prediction", () => {
  assert.equal(frameInWords({ frame: 4, drawn: DRAWN }, CLIP, 4), "Frame 4 of 120, key frame, benign 80 %, 1 lesion outlined");
  assert.equal(frameInWords({ frame: 7, drawn: null }, CLIP, 4), "Frame 7 of 120, not predicted yet");
  assert.equal(predictionInWords({ drawn: { ...DRAWN, lesions: [] } }), "benign 80 %, nothing outlined");
  assert.equal(predictionInWords({ drawn: { ...DRAWN, edges: null, lesions: [] } }), "benign 80 %");
  assert.equal(predictionInWords({ drawn: { ...DRAWN, label: null } }), "1 lesion outlined");
  assert.equal(predictionInWords({ drawn: null, error: "damaged" }), "not read");
});

test("each frame has a mark of its kind", () => {
  const kinds = [{ drawn: DRAWN }, { drawn: { ...DRAWN, lesions: [] } }, { drawn: null }, { drawn: null, error: "damaged" }].map(kindOf);
  assert.deepEqual(kinds, ["outlined", "empty", "ahead", "unread"]);
});

const SUMMARY = {
  name: "clip.dcm", words: "4 frames", frames: [1, 4, 7, 10], unread: 0, label: "benign", probabilities: { benign: 0.7, malignant: 0.3 }, outlined_share: 0.5,
  largest_frame: 7, long_axis_mm: null, short_axis_mm: null, median_long_axis_mm: null, long_axis_px: 80.4, short_axis_px: 41.6,
};

test("a summary counts frames and names the key frame with its size", () => {
  const facts = Object.fromEntries(summaryFacts(SUMMARY, CLIP));
  assert.deepEqual(facts, { Frames: "4 of 120", "With an outline": "2 (50 %)", "Key frame": "7, with the largest lesion", "Its size": "80 × 42 px" });
  assert.equal(summaryInWords(SUMMARY), "Clip clip.dcm: 4 frames. Proposed key frame: 7.");
});

test("a summary in millimetres has the median and the number of frames that can't be read", () => {
  const facts = Object.fromEntries(summaryFacts({ ...SUMMARY, unread: 2, long_axis_mm: 12.04, short_axis_mm: 8, median_long_axis_mm: 11 }, { ...CLIP, left_out: 0 }));
  assert.deepEqual([facts.Frames, facts["Its size"], facts["Median long axis"], facts["Not read"]], ["4", "12.0 × 8.0 mm", "11.0 mm", "2"]);
});

test("without an outline no key frame is proposed", () => {
  const empty = { ...SUMMARY, outlined_share: 0, largest_frame: null, long_axis_px: null, short_axis_px: null };
  assert.match(Object.fromEntries(summaryFacts(empty, CLIP))["Key frame"], /^none/);
  assert.match(summaryInWords(empty), /No lesion is outlined\.$/);
});
