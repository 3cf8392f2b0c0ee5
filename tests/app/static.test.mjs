// The modules of the static page against the library: GOLDEN names the file that tests/golden_predictions.py has written.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { maskFromEdges } from "../../bcdseg/app/static/contour.js";
import { dice } from "../../bcdseg/app/static/local/browser.js";
import { inputOf } from "../../bcdseg/app/static/local/engine.js";
import { imageStatistics } from "../../bcdseg/app/static/local/image_statistics.js";
import { findLesions, sizeInWords } from "../../bcdseg/app/static/local/lesions.js";
import { levelsOf, postprocess } from "../../bcdseg/app/static/local/postprocess.js";
import { refined } from "../../bcdseg/app/static/local/refinement.js";
import { grayOf, clipKindOf, kindOf, maskIn } from "../../bcdseg/app/static/local/scan_image.js";
import { csvOf, failureRow, jsonOf, rowOf } from "../../bcdseg/app/static/local/tables.js";
import { edgesOf } from "../../bcdseg/app/static/review/mask.js";

const golden = JSON.parse(readFileSync(process.env.GOLDEN, "utf-8"));
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const floats = (text) => new Float32Array(bytes(text).buffer);
const imageOf = (image) => ({ ...image, rgba: new Uint8ClampedArray(bytes(image.rgba)), gray: bytes(image.gray) });

/** Compares values of JSON; numbers may differ by a relative and absolute tolerance. */
function close(found, expected, tolerance, place = "") {
  if (typeof expected === "number") assert.ok(Math.abs(found - expected) <= tolerance * Math.max(1, Math.abs(expected)), `${place}: ${found}, not ${expected}`);
  else if (expected === null || typeof expected !== "object") assert.equal(found, expected, place);
  else {
    assert.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort(), place);
    for (const key of Object.keys(expected)) close(found[key], expected[key], tolerance, `${place}.${key}`);
  }
}

test("components and measurements are the library's", () => {
  for (const [at, one] of golden.lesions.entries()) {
    const mask = maskFromEdges(one.mask, one.width * one.height);
    const { mask: kept, lesions } = findLesions(mask, { ...one, probability: floats(one.probability) });
    assert.deepEqual(edgesOf(kept), one.kept, `case ${at}`);
    close(lesions, one.lesions, 1e-6, `case ${at}`);
    assert.deepEqual(lesions.map(sizeInWords), one.sizes);
  }
});

test("gray values in and around lesions, and the descriptors from them, are the library's", () => {
  const seen = { margin: new Set(), echo_pattern: new Set(), posterior: new Set() };
  for (const [at, one] of golden.appearances.entries()) {
    const mask = maskFromEdges(one.mask, one.width * one.height);
    const { lesions } = findLesions(mask, { ...one, gray: bytes(one.gray), probability: Float32Array.from(mask) });
    close(lesions, one.lesions, 1e-6, `case ${at}`); // sums have 64 bits here and 32 in the library
    for (const { descriptors } of lesions) for (const name of Object.keys(seen)) seen[name].add(descriptors[name]);
  }
  assert.deepEqual([...seen.margin].sort(), ["circumscribed", "indistinct", "not circumscribed", null]);
  assert.deepEqual([...seen.echo_pattern].sort(), ["anechoic", "complex cystic and solid", "heterogeneous", "hyperechoic", "hypoechoic", "isoechoic", null]);
  assert.deepEqual([...seen.posterior].sort(), ["combined pattern", "enhancement", "no posterior features", null, "shadowing"]);
});

test("refinement is the library's", async () => {
  let changed = 0;
  for (const [at, { width, height, has_window: hasWindow, ...maps }] of golden.refinements.entries()) {
    const image = { name: "", width, height, gray: new Uint8Array(width * height), rgba: new Uint8ClampedArray(4 * width * height) };
    const first = { probability: floats(maps.first), classes: null }, enlarged = floats(maps.enlarged);
    let requested = false;
    const found = await refined(image, first, 1.6, async (part) => {
      assert.equal(part.width * part.height, enlarged.length, `case ${at}`);
      assert.equal(part.gray.length, enlarged.length);
      requested = true;
      return { probability: enlarged, classes: null };
    });
    assert.equal(requested, hasWindow, `case ${at}`);
    const expected = floats(maps.refined);
    assert.ok(found.probability.every((value, pixel) => Math.abs(value - expected[pixel]) < 1e-6), `case ${at}`);
    changed += Number(found !== first);
  }
  assert.ok(changed > 3 && changed < golden.refinements.filter((one) => one.has_window).length, `${changed} were changed`);
});

test("class, candidates, warnings, priority, tables and JSON are the library's", () => {
  const seen = new Set();
  for (const { image, model, probability, classes, options, prediction: expected, levels, json, csv } of golden.predictions) {
    const scan = imageOf(image), outputs = { probability: probability && floats(probability), classes };
    const prediction = postprocess(model, scan, outputs, options);
    const { reviews, ...shown } = prediction, place = `${image.name} ${model.classes}`;
    close(shown, expected, 1e-3, place); // the out-of-distribution score has 64 bits here and 32 in the library
    assert.deepEqual(reviews, []);
    assert.deepEqual([...levelsOf(outputs.probability)], [...bytes(levels)], place);
    close(JSON.parse(jsonOf(prediction)), json, 1e-3, place);
    if (csv !== null) assert.deepEqual(columns(csvOf([rowOf(prediction)], model.classes), prediction), columns(csv, expected), place);
    for (const { code } of prediction.flags) seen.add(code);
  }
  const all = ["tiny", "blank", "saturated", "dark", "colour", "out-of-distribution", "candidate", "operating-point", "outlined-but-no-lesion", "low-confidence"];
  assert.deepEqual(all.filter((code) => !seen.has(code)), []);
});

/** A table without the score, which may differ in its last digit. */
const columns = (csv, { ood_score: score }) => csv.replace(score === null ? "" : `,${score},`, ",SCORE,");

test("the statistics of images are the library's", () => {
  for (const { statistics, ...image } of golden.statistics) close(imageStatistics(imageOf(image)), statistics, 2e-3, `${image.height}x${image.width}`);
});

test("scans are padded as the library pads them", () => {
  for (const one of golden.inputs) {
    const image = imageOf(one.image), input = inputOf(image, one.preprocessing);
    assert.deepEqual(input.bytes, bytes(one.bytes));
    assert.deepEqual(input.restore(floats(one.over)), floats(one.restored));
    assert.deepEqual(grayOf(image.rgba), image.gray);
  }
});

test("files that can't be read have a row with the reason, and no formulas", () => {
  assert.equal(csvOf([failureRow("=a.png", 'is "bad", not read')], []).split("\n")[1].split(",")[0], "'=a.png");
  assert.deepEqual(["-5", "+5.png"].map((name) => csvOf([failureRow(name, "is not read")], []).split("\n")[1].split(",")[0]), ["-5", "'+5.png"]);
  assert.match(csvOf([failureRow("a.png", 'is "bad", not read')], []), /"is ""bad"", not read"/);
});

test("kinds of files are recognised by their first bytes", () => {
  const head = (text, length = 140) => Uint8Array.from({ length }, (_, at) => text.charCodeAt(at) || 0);
  const png = (bits) => head("\x89PNG\r\n\x1a\n").with(24, bits);
  assert.deepEqual([png(8), png(16), head("\xff\xd8\xff\xe0"), head("BM"), head("RIFF    WEBP"), head("II*\0")].map(kindOf), ["PNG", "PNG of 16 bits", "JPEG", "BMP", "WebP", "TIFF"]);
  assert.equal(kindOf(head(`${" ".repeat(128)}DICM`)), "DICOM");
  assert.deepEqual(["GIF89a", "<svg>", "%PDF"].map((text) => kindOf(head(text))), ["", "", ""]);
});

test("a clip is distinguished from a scan by its first bytes", () => {
  const head = (text) => Uint8Array.from({ length: 132 }, (_, at) => text.charCodeAt(at) || 0);
  const clips = ["GIF89a", "RIFF\x10\0\0\0AVI LIST", "\0\0\0 ftypisom", "\0\0\0\x14ftypqt  ", "\x1aE\xdf\xa3", "RIFF\x10\0\0\0WEBPVP8X\n\0\0\0\x12", `\x89PNG\r\n\x1a\n${" ".repeat(25)}\0\0\0\x08acTL`];
  assert.deepEqual(clips.map((text) => clipKindOf(head(text))), ["GIF", "AVI", "MP4 or MOV", "MP4 or MOV", "WebM or Matroska", "animated WebP", "animated PNG"]);
  const scans = ["RIFF\x10\0\0\0WEBPVP8X\n\0\0\0\x10", "RIFF\x10\0\0\0WEBPVP8 ", "\x89PNG\r\n\x1a\n", "\xff\xd8\xff\xe0", "BM"];
  assert.deepEqual(scans.map((text) => clipKindOf(head(text))), ["", "", "", "", ""]);
});

test("masks in files: few levels are black or lesion, many are divided at half of the brightest", () => {
  const rgba = (values) => ({ rgba: Uint8ClampedArray.from(values.flatMap((value) => [value, 0, 0, 255])) });
  assert.deepEqual([...maskIn(rgba([0, 1, 255, 0]))], [0, 1, 1, 0]);
  assert.deepEqual([...maskIn(rgba([0, 10, 20, 30, 40, 50, 60, 70, 80, 90]))], [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
});

test("the Dice coefficient of two outlines counts their pixels", () => {
  assert.equal(dice([0, 4, 8, 10], [2, 6]), (2 * 2) / (6 + 4));
  assert.equal(dice([], []), 1);
  assert.equal(dice([], [0, 3]), 0);
});
