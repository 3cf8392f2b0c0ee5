// Comparisons of the outline: with ground truth from a mask file, a second model, other readers.

import { by, make, percent, showProblem } from "../dom.js";
import { othersInWords } from "./reading.js";

const MASK = /^(.+?)_mask(?:_\d+)?\.[a-z]+$/i;

/** Return the name of the scan that a mask file belongs to, without its suffix; null for other files. */
export const scanOfMask = (name) => MASK.exec(name)?.[1] ?? null;

/** Return a file's name without its suffix. */
export const stem = (name) => name.replace(/\.[^.]+$/, "");

export class Comparison {
  prediction = null;
  #entry = null;
  #options = null;
  #outlines = {};
  #readers = [];
  #loaded = 0;
  #sending = Promise.resolve();

  constructor(backend, viewer) {
    this.backend = backend;
    this.viewer = viewer;
    by("second").replaceChildren(make("option", { value: "" }, "none"), ...backend.models.map((name) => make("option", { value: name }, name)));
    by("second").addEventListener("change", () => this.#reload());
    by("show-others").addEventListener("change", () => this.#draw());
    by("truth-file").addEventListener("change", (event) => {
      const files = [...event.target.files];
      event.target.value = "";
      if (this.#entry && files.length) this.#add(files);
    });
  }

  /** Show the comparisons of a scan; `reviews` are those of other readers. */
  async load(entry, options, prediction, reviews) {
    this.prediction = prediction;
    this.#entry = entry;
    this.#options = options;
    this.#readers = reviews;
    this.#outlines = {};
    await this.#reload();
  }

  /** Remove the comparisons, until a scan is loaded. */
  leave() {
    this.#entry = null;
    this.#outlines = {};
    this.#loaded += 1;
    by("others-switch").hidden = true;
    this.#draw();
  }

  /** Send the mask files that were opened with a scan, once the scan itself is read. */
  async sendTruth(entry, options) {
    this.#sending = this.#sending.then(async () => {
      while (entry.masks.length) {
        const file = entry.masks.shift();
        await this.backend.addTruth(entry.id, file, options).catch((error) => showProblem(error.message));
      }
    });
    await this.#sending; // other requests wait for the same files
  }

  /** Show or hide the other outlines. */
  toggle() {
    by("show-others").checked = !by("show-others").checked;
    this.#draw();
  }

  /** Choose the next model to compare with, after the last none. */
  nextModel() {
    const options = by("second").options;
    by("second").selectedIndex = (by("second").selectedIndex + 1) % options.length;
    this.#reload();
  }

  async #add(files) {
    this.#entry.masks.push(...files);
    await this.#reload();
  }

  async #reload() {
    const entry = this.#entry, turn = ++this.#loaded;
    if (!entry) return;
    await this.sendTruth(entry, this.#options);
    const name = by("second").value;
    const [truth, second] = await Promise.all([
      this.backend.truth(entry.id, this.#options).catch(() => null),
      name ? this.backend.second(entry.id, this.#options, name).catch((error) => showProblem(error.message)) : null,
    ]);
    if (turn !== this.#loaded) return;
    this.#show(truth?.edges ? truth : null, second);
  }

  #show(truth, second) {
    const { prediction } = this;
    const row = (kind, name, words) => make("tr", {}, make("th", { scope: "row" }, make("span", { class: `key ${kind}` }), name), ...words.map((one) => make("td", {}, one)));
    const sure = (one) => (one.label === null ? "no class" : `${one.label}, ${percent(one.confidence)}`);
    const dice = (value) => (value == null ? "" : value.toFixed(2));
    const size = (one) => one.sizes.join(", ") || "no outline";
    const rows = [row("model", by("model").value, [sure(prediction), prediction.edges === null ? "" : size(prediction), ""])];
    if (second) rows.push(row("second", second.model, [sure(second), size(second), dice(second.dice)]));
    if (truth) rows.push(row("truth", "Ground truth", ["", size(truth), dice(truth.dice)]));
    for (const one of this.#readers) rows.push(row("reader", othersInWords(one), ["", size(one), dice(one.dice)]));
    by("compared").hidden = rows.length === 1;
    by("compared-rows").replaceChildren(...rows);
    by("second-note").textContent = second?.same_label == null ? "" : second.same_label ? "Both models predict the same class." : "The models predict different classes.";
    const outlines = { second: second?.edges, truth: truth?.edges, reader: this.#readers.flatMap((one) => (one.edges?.length ? [one.edges] : []))[0] };
    this.#outlines = Object.fromEntries(Object.entries(outlines).filter(([, edges]) => edges?.length));
    by("others-switch").hidden = !Object.keys(this.#outlines).length;
    this.#draw();
  }

  #draw() {
    this.viewer.drawOthers(by("show-others").checked ? this.#outlines : {});
  }
}
