// The backend in the browser itself: nothing is sent anywhere, and nothing is stored.

import { Refused } from "../backend.js";
import { make } from "../dom.js";
import { stem } from "../review/comparison.js";
import { edgesOf } from "../review/mask.js";
import { overlayPng, maskPng } from "./drawing.js";
import { Engine } from "./engine.js";
import { findLesions, sizeInWords } from "./lesions.js";
import { loadPart } from "./parts.js";
import { levelsOf, postprocess } from "./postprocess.js";
import { refined } from "./refinement.js";
import { checkKind, maskIn, readScan, readsPixels } from "./scan_image.js";
import { csvOf, failureRow, jsonOf, rowOf } from "./tables.js";

const KEPT_PIXELS = 12_000_000; // of the latest scans, with their maps
const KEPT_ALIVE = 60_000; // milliseconds that a saved file stays in memory
const UNREADABLE = 422;
const OLD = "This browser is too old for this page: it lacks what reads scans or runs the model. Update it.";
const CHANGED = "This browser changes the pixels that a page reads, as a protection against fingerprinting, so that predictions would be wrong. Allow this page to read canvas data, then reload it.";

/** @typedef {import("../backend.js").Backend} Backend */

/** @implements {Backend} */
export class Browser {
  /** @type {"browser"} */
  runs = "browser";
  corrections = null;
  reader = "";
  files = ["overlay.png", "mask.png", "prediction.json"];
  #facts;
  #engine;
  #scans = new Map(); // id: file, name, its row of the table, and ground truth
  #count = 0;
  #predicted = new Map(); // id: what was read and predicted, and its pixels; the latest is the last

  /** Return the backend at the start of the page; the model loads in the background. */
  static async open() {
    if ([typeof OffscreenCanvas, typeof DecompressionStream, typeof WebAssembly].includes("undefined")) throw new Refused(OLD);
    if (!readsPixels()) throw new Refused(CHANGED);
    return new Browser(await loadPart("facts"));
  }

  /** @param {{model: import("./postprocess.js").ModelFacts, samples: Record<string, {name: string, content: string}>, limits: any}} facts */
  constructor(facts) {
    this.#facts = facts;
    this.#engine = new Engine(facts.model);
    this.models = [facts.model.name];
    this.samples = Object.keys(facts.samples);
  }

  close() {} // the scans are released with the page

  async upload(file) {
    const most = this.#facts.limits.file_bytes;
    if (file.size > most) throw new Refused(`${file.name}: is larger than ${Math.round(most / 1e6)} MB, the most that the page takes.`);
    await checkKind(file);
    const id = String(this.#count++);
    this.#scans.set(id, { file, name: file.name, address: URL.createObjectURL(file), row: null, truth: null });
    return [{ id, name: file.name }];
  }

  async sample(name) {
    const { name: file, content } = this.#facts.samples[name];
    return this.upload(new File([Uint8Array.from(atob(content), (one) => one.charCodeAt(0))], file, { type: "image/png" }));
  }

  sampleImage(name) {
    return `data:image/png;base64,${this.#facts.samples[name].content}`;
  }

  async remove(scan) {
    URL.revokeObjectURL(this.#scans.get(scan)?.address);
    this.#scans.delete(scan);
    this.#predicted.delete(scan);
  }

  async prediction(scan, options, signal) {
    const kept = this.#scan(scan), { threshold, spacing, operating_point: point } = options;
    const isPlain = [threshold, spacing, point].every((one) => one == null);
    try {
      const { image, outputs } = await this.#predict(scan);
      signal?.throwIfAborted();
      const prediction = postprocess(this.#facts.model, image, outputs, { threshold: numberOf(threshold), spacing: this.#spacing(spacing), point });
      if (isPlain) kept.row = rowOf(prediction);
      return { ...prediction, row: kept.row };
    } catch (error) {
      if (error instanceof Refused && isPlain) kept.row = failureRow(kept.name, error.message);
      throw error;
    }
  }

  async levels(scan) {
    return levelsOf((await this.#predict(scan)).outputs.probability);
  }

  image(scan) {
    return this.#scan(scan).address;
  }

  file(scan, options, kind) {
    const name = stem(this.#scan(scan).name);
    const makers = {
      "mask.png": [`${name}_mask.png`, async () => maskPng(await this.prediction(scan, options))],
      "prediction.json": [`${name}.json`, async () => new Blob([jsonOf(await this.prediction(scan, options))], { type: "application/json" })],
      "overlay.png": [`${name}_overlay.png`, async () => overlayPng((await this.#predict(scan)).image, await this.prediction(scan, options), await this.levels(scan))],
    };
    return saving(...makers[kind]);
  }

  table() {
    const rows = () => [...this.#scans.values()].flatMap(({ row }) => (row ? [row] : []));
    return saving("predictions.csv", () => new Blob([csvOf(rows(), this.#facts.model.classes)], { type: "text/csv" }));
  }

  async addTruth(scan, file, options) {
    const prediction = await this.prediction(scan, options), image = await readScan(file, this.#facts.limits), kept = this.#scan(scan);
    if (image.width !== prediction.width || image.height !== prediction.height) {
      throw new Refused(`${file.name}: the mask is ${image.height}x${image.width} pixels, its scan ${prediction.height}x${prediction.width} (height x width). Check that they belong together.`);
    }
    const mask = maskIn(image);
    kept.truth = kept.truth ? mask.map((value, at) => value | kept.truth[at]) : mask;
  }

  async truth(scan, options) {
    const { truth } = this.#scan(scan);
    if (!truth) return { edges: null };
    const { image, outputs } = await this.#predict(scan), { edges } = await this.prediction(scan, options);
    const { lesions } = findLesions(truth, { ...image, probability: outputs.probability, minShare: 0, spacing: this.#spacing(options.spacing) });
    return { edges: edgesOf(truth), lesions, sizes: lesions.map(sizeInWords), dice: edges && dice(edges, edgesOf(truth)) };
  }

  async card() {
    return this.#facts.model.card;
  }

  async clips() {
    return [];
  }

  async reviews() {
    return [];
  }

  // What only a program offers; the page does not show it here.

  async picture() {
    return null;
  }

  archive() {
    return { href: "", onclick: null };
  }

  heat() {
    return "";
  }

  async second() {}

  async report() {
    return "";
  }

  async reason() {
    return "";
  }

  async saveReview() {}

  #scan(id) {
    const kept = this.#scans.get(id);
    if (!kept) throw new Refused("This scan was removed. Open it again.", 0, true);
    return kept;
  }

  /** Read and predict a scan, unless it is among the latest ones. */
  async #predict(id) {
    const kept = this.#predicted.get(id) ?? { made: this.#readAndRun(this.#scan(id).file), pixels: 0 };
    this.#predicted.delete(id);
    this.#predicted.set(id, kept);
    try {
      const made = await kept.made;
      kept.pixels = made.image.width * made.image.height;
      this.#release(id);
      return made;
    } catch (error) {
      this.#predicted.delete(id);
      throw error;
    }
  }

  /** Release images and predictions of the least recently used scans; they are read again when they are shown. */
  #release(used) {
    let pixels = 0;
    for (const [id, kept] of [...this.#predicted].reverse()) {
      pixels += kept.pixels;
      if (pixels > KEPT_PIXELS && id !== used) this.#predicted.delete(id);
    }
  }

  async #readAndRun(file) {
    const image = await readScan(file, this.#facts.limits);
    const outputs = await this.#run(image).catch((error) => {
      throw error instanceof Refused ? error : new Refused(`${file.name}: can't be predicted in this browser (${error.message}).`, UNREADABLE);
    });
    return { image, outputs };
  }

  /** Run the model, twice where its rules refine outlines. */
  async #run(image) {
    const first = await this.#engine.run(image), { refinement } = this.#facts.model.rules;
    return refinement && first.probability ? refined(image, first, refinement, (part) => this.#engine.run(part)) : first;
  }

  #spacing(text) {
    if (text == null) return null;
    const value = Number(text), [least, most] = this.#facts.limits.spacing;
    if (!(value >= least && value <= most)) throw new Refused(`Millimetres per pixel: give a number from ${least} to ${most}.`);
    return value;
  }
}

const numberOf = (text) => (text == null ? undefined : Number(text));

/** Return the Dice coefficient of two masks, by their runs. */
export function dice(one, other) {
  const pixels = (edges) => edges.reduce((total, edge, at) => total + (at % 2 ? edge : -edge), 0);
  const both = pixels(one) + pixels(other);
  if (!both) return 1;
  let shared = 0;
  for (let at = 0, by = 0; at < one.length && by < other.length; ) {
    shared += Math.max(0, Math.min(one[at + 1], other[by + 1]) - Math.max(one[at], other[by]));
    if (one[at + 1] < other[by + 1]) at += 2;
    else by += 2;
  }
  return (2 * shared) / both;
}

/**
 * Return a link that makes a file when it is used, and saves it.
 * @returns {import("../backend.js").Link}
 */
function saving(name, content) {
  const onclick = async (event) => {
    event.preventDefault();
    const href = URL.createObjectURL(await content());
    make("a", { href, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(href), KEPT_ALIVE);
  };
  return { href: "#", onclick };
}
