// One scan: predicted, shown, and predicted again when the threshold, the scale or the model changes.

import { announce, by, debounced, make, showProblem } from "./dom.js";
import { inWords, showPrediction, showDownloads } from "./panel.js";
import { Comparison } from "./review/comparison.js";
import { Editor } from "./review/editor.js";
import { Reading, withReading } from "./review/reading.js";
import { Viewer } from "./viewer.js";

const INERT = ["panel", "heat-tools", "correct-tools"];
const STILL = 180; // milliseconds of rest after which the library measures
const PREDICTING = "Predicting.", FIRST = " The first prediction takes some seconds.";
const EXPLAINING = "Computing the heat map. The first time takes some seconds.";

export class ScanView {
  viewer = new Viewer();
  #entry = null;
  #prediction = null;
  #warm = false;
  #request = new AbortController();
  #measureSoon = debounced(() => this.#measure(), STILL);

  /**
   * Create the view; `model` returns the name of the chosen model; `failed` is called with a scan that can't be read and the error,
   * `read` with a scan whose reading was saved, `switched` when the reader changes.
   */
  constructor(backend, model, failed, read, switched) {
    this.backend = backend;
    this.model = model;
    this.failed = failed;
    this.read = read;
    this.editor = new Editor(this.viewer, (edges) => this.#correct(edges));
    this.comparison = new Comparison(backend, this.viewer);
    this.reading = new Reading(backend, (entry) => this.#saved(entry), () => this.#measure(true).then(switched));
    by("threshold").addEventListener("input", () => this.#slide());
    by("threshold-reset").addEventListener("click", () => this.#setThreshold(null));
    by("scale").addEventListener("submit", (event) => this.#setScale(event));
    by("spacing-reset").addEventListener("click", () => this.#setScale());
    by("point").addEventListener("change", () => this.#setPoint(by("point").value));
    by("show-heat").addEventListener("change", () => this.#heat());
    by("heat-class").addEventListener("change", () => this.#heat());
  }

  get entry() {
    return this.#entry;
  }

  /** Remove the scan, and cancel its requests. Until another one is displayed, no key and no stroke changes anything. */
  leave() {
    this.#request.abort();
    this.#entry = this.#prediction = null;
    this.editor.leave();
    this.reading.leave();
  }

  /** Prepare for frames of a clip in place of a scan; until one is opened, nothing can be changed. */
  standBy() {
    this.leave();
    this.editor.choose("move");
    this.comparison.leave();
    for (const id of INERT) by(id).inert = true;
    for (const id of ["calipers", "sketch", "pointer"]) by(id).replaceChildren();
    by("heat").removeAttribute("src");
    by("heat").hidden = true;
  }

  /** Show a scan: request the prediction, then the images. A frame of a clip that is drawn already stays. */
  async open(entry, isDrawn = false) {
    this.leave();
    this.#entry = entry;
    this.#request = new AbortController();
    if (isDrawn) this.comparison.leave();
    else this.viewer.clear(this.#warm ? PREDICTING : PREDICTING + FIRST);
    by("scan-name").textContent = entry.name;
    for (const id of INERT) by(id).inert = true; // no number of another scan next to this one
    by("spacing").value = entry.spacing ?? "";
    by("heat").removeAttribute("src");
    try {
      const prediction = await this.backend.prediction(entry.id, this.#options(), this.#request.signal);
      const levels = await this.backend.levels(entry.id, this.#options());
      const reviews = await this.backend.reviews(entry.id, this.#options(), this.#request.signal);
      if (this.#entry !== entry) return;
      this.#display(prediction, reviews);
      this.editor.load(prediction, entry.reading.edges);
      this.#offerClasses(prediction);
      const picture = entry.picture ?? this.backend.image(entry.id, this.#options());
      const shown = withReading(prediction, entry.reading);
      await (isDrawn ? this.viewer.showFrame(shown, picture, levels) : this.viewer.show(shown, picture, levels));
      if (this.#entry !== entry) return;
      await this.comparison.load(entry, this.#options(), prediction, this.#others(reviews));
      if (by("show-heat").checked) this.#heat();
    } catch (error) {
      if (error.name !== "AbortError" && this.#entry === entry) this.failed(entry, error);
    }
  }

  #options() {
    const { step, spacing, point } = this.#entry;
    return { model: this.model(), threshold: step == null ? null : (step / 100).toFixed(2), spacing, operating_point: point };
  }

  #display(prediction, reviews) {
    this.#prediction = prediction;
    this.#warm = true;
    for (const id of INERT) by(id).inert = false;
    this.reading.load(this.#entry, prediction, reviews, () => this.#options());
    const shown = withReading(prediction, this.#entry.reading);
    showPrediction(shown);
    this.#showDownloads();
    this.#showThreshold();
    announce(inWords(shown));
  }

  #showDownloads() {
    const { id, reading } = this.#entry;
    const links = this.backend.files.map((name) => [name, this.backend.file(id, this.#options(), name)]);
    showDownloads(this.#prediction, Object.fromEntries(links), Boolean(reading.edges));
  }

  #others(reviews) {
    return reviews.filter((review) => review.reader !== this.reading.reader);
  }

  /** Mark the numbers as outdated after the reader has changed the outline; the library measures it when it is saved. */
  #correct(edges) {
    by("panel").classList.add("stale");
    this.reading.setOutline(edges);
    this.#showThreshold();
  }

  /** Show the measurements of a saved reading, unless the outline was changed again. */
  #saved(entry) {
    this.read(entry);
    const { reading } = entry;
    if (entry !== this.#entry || !this.#prediction || reading.problem || reading.saved < reading.changes) return;
    this.editor.adopt(reading.edges);
    const shown = withReading(this.#prediction, reading);
    showPrediction(shown);
    this.viewer.draw(shown);
    this.#showDownloads();
    this.#showThreshold();
  }

  #slide() {
    this.#entry.step = Number(by("threshold").value);
    this.viewer.preview(this.#entry.step);
    this.#showThreshold();
    by("panel").classList.add("stale");
    this.#measureSoon();
  }

  #setThreshold(step) {
    this.#entry.step = step;
    this.#showThreshold();
    this.#measure();
    by("threshold").focus();
  }

  #setScale(event) {
    event?.preventDefault();
    const text = event ? by("spacing").value.trim().replace(",", ".") : "";
    if (event && !(Number(text) > 0)) {
      showProblem("Millimetres per pixel: give a number above 0, such as 0.1.");
      by("spacing").focus();
      return;
    }
    by("spacing").value = text;
    this.#entry.spacing = text || null;
    this.#measure();
  }

  async #setPoint(point) {
    this.#entry.point = point || null;
    await this.#measure();
    by("point").focus();
  }

  #showThreshold() {
    const usual = this.#prediction.own_threshold;
    const at = this.#entry.step == null ? usual : this.#entry.step / 100;
    by("threshold").value = Math.round(at * 100);
    by("threshold-value").textContent = `${Number((at * 100).toFixed(1))} %`;
    by("threshold-own").textContent = `The model's own is ${Number((usual * 100).toFixed(1))} %. Spots below ${Number((this.#prediction.min_lesion_share * 100).toFixed(2))} % of the scan are dropped.`;
    const own = Boolean(this.#entry.reading?.edges);
    by("threshold").disabled = own;
    by("threshold-own").hidden = own;
    by("threshold-fixed").hidden = !own;
    by("threshold-reset").hidden = own || this.#entry.step == null;
  }

  /** Show the library's numbers at the present threshold and scale; with another reader, also another outline to correct. */
  async #measure(switched = false) {
    const entry = this.#entry;
    if (!entry) return;
    this.#request.abort();
    this.#request = new AbortController();
    try {
      const prediction = await this.backend.prediction(entry.id, this.#options(), this.#request.signal);
      const reviews = await this.backend.reviews(entry.id, this.#options(), this.#request.signal);
      if (this.#entry !== entry) return;
      showProblem("");
      const before = entry.reading;
      this.#display(prediction, reviews);
      if (switched || entry.reading.revision !== before?.revision) this.editor.load(prediction, entry.reading.edges);
      else this.editor.refresh(prediction);
      this.viewer.draw(withReading(prediction, entry.reading));
      await this.comparison.load(entry, this.#options(), prediction, this.#others(reviews));
    } catch (error) {
      if (error.name !== "AbortError") showProblem(error.message);
    }
  }

  #offerClasses(prediction) {
    const names = Object.keys(prediction.probabilities);
    by("heat-tools").hidden = !names.length;
    by("heat-class").replaceChildren(...names.map((name) => make("option", { value: name, selected: name === prediction.label }, name)));
  }

  async #heat() {
    const entry = this.#entry, picture = by("heat");
    if (!by("show-heat").checked || !entry || !by("heat-class").value) return;
    this.viewer.wait(EXPLAINING);
    picture.src = this.backend.heat(entry.id, this.#options(), by("heat-class").value);
    try {
      await picture.decode();
      picture.alt = `Where the score of ${by("heat-class").value} came from: dark violet is low, yellow is high`;
      picture.hidden = !by("show-heat").checked;
    } catch {
      if (this.#entry === entry) showProblem(`The heat map could not be made. ${await this.backend.reason(picture.src)}`);
    }
    if (this.#entry === entry) this.viewer.wait("");
  }
}
