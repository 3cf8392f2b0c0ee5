// One scan: predicted, shown, and predicted again when the threshold, the scale or the model changes.

import { by, complain, debounced, make, say } from "./dom.js";
import { inWords, showAnswer, showDownloads } from "./panel.js";
import { Comparison } from "./review/comparison.js";
import { Editor } from "./review/editor.js";
import { Reading, withReading } from "./review/reading.js";
import { Viewer } from "./viewer.js";

const INERT = ["panel", "heat-tools", "correct-tools"];
const STILL = 180; // milliseconds of rest after which the library is asked to measure
const ASKING = "Asking the model.", FIRST = " The first answer takes some seconds.";
const LOOKING = "Looking where the class came from. The first time takes some seconds.";

export class ScanView {
  viewer = new Viewer();
  #entry = null;
  #answer = null;
  #warm = false;
  #asked = new AbortController();
  #ask = debounced(() => this.#measure(), STILL);

  /**
   * `model` returns the name of the chosen model; `failed` is called with a scan that can't be read, and why; `read` with a scan
   * whose reading was saved.
   */
  constructor(backend, model, failed, read) {
    this.backend = backend;
    this.model = model;
    this.failed = failed;
    this.read = read;
    this.editor = new Editor(this.viewer, (edges) => this.#correct(edges));
    this.comparison = new Comparison(backend, this.viewer);
    this.reading = new Reading(backend, (entry) => this.#saved(entry), () => this.#measure(true));
    by("threshold").addEventListener("input", () => this.#slide());
    by("threshold-reset").addEventListener("click", () => this.#setThreshold(null));
    by("scale").addEventListener("submit", (event) => this.#setScale(event));
    by("spacing-reset").addEventListener("click", () => this.#setScale());
    by("point").addEventListener("change", () => this.#callBy(by("point").value));
    by("show-heat").addEventListener("change", () => this.#heat());
    by("heat-class").addEventListener("change", () => this.#heat());
  }

  get entry() {
    return this.#entry;
  }

  /** Nothing is shown. */
  leave() {
    this.#asked.abort();
    this.#entry = this.#answer = null;
  }

  /** Frames of a clip are shown in place of a scan, until one is opened: nothing can be changed meanwhile. */
  standBy() {
    this.leave();
    this.editor.choose("move");
    this.comparison.leave();
    for (const id of INERT) by(id).inert = true;
    for (const id of ["calipers", "sketch", "pointer"]) by(id).replaceChildren();
    by("heat").removeAttribute("src");
    by("heat").hidden = true;
  }

  /** Shows a scan: asks for the answer, then for what is drawn. A frame of a clip that is drawn already stays. */
  async open(entry, isDrawn = false) {
    this.leave();
    this.#entry = entry;
    this.#asked = new AbortController();
    if (isDrawn) this.comparison.leave();
    else this.viewer.clear(this.#warm ? ASKING : ASKING + FIRST);
    by("scan-name").textContent = entry.name;
    for (const id of INERT) by(id).inert = true; // no number of another scan beside this one
    by("spacing").value = entry.spacing ?? "";
    by("heat").removeAttribute("src");
    try {
      const answer = await this.backend.answer(entry.id, this.#question(), this.#asked.signal);
      const levels = await this.backend.levels(entry.id, this.#question());
      const reviews = await this.backend.reviews(entry.id, this.#question(), this.#asked.signal);
      if (this.#entry !== entry) return;
      this.#tell(answer, reviews);
      this.editor.load(answer, entry.reading.edges);
      this.#offerClasses(answer);
      const picture = entry.picture ?? this.backend.image(entry.id, this.#question());
      const shown = withReading(answer, entry.reading);
      await (isDrawn ? this.viewer.showFrame(shown, picture, levels) : this.viewer.show(shown, picture, levels));
      if (this.#entry !== entry) return;
      await this.comparison.load(entry, this.#question(), answer, this.#others(reviews));
      if (by("show-heat").checked) this.#heat();
    } catch (error) {
      if (error.name !== "AbortError" && this.#entry === entry) this.failed(entry, error);
    }
  }

  #question() {
    const { step, spacing, point } = this.#entry;
    return { model: this.model(), threshold: step == null ? null : (step / 100).toFixed(2), spacing, operating_point: point };
  }

  #tell(answer, reviews) {
    this.#answer = answer;
    this.#warm = true;
    for (const id of INERT) by(id).inert = false;
    this.reading.load(this.#entry, answer, reviews, this.#question());
    const shown = withReading(answer, this.#entry.reading);
    showAnswer(shown);
    this.#showDownloads();
    this.#showThreshold();
    say(inWords(shown));
  }

  #showDownloads() {
    const { id, reading } = this.#entry;
    const links = this.backend.files.map((name) => [name, this.backend.file(id, this.#question(), name)]);
    showDownloads(this.#answer, Object.fromEntries(links), Boolean(reading.edges));
  }

  #others(reviews) {
    return reviews.filter((review) => review.reader !== this.reading.reader);
  }

  /** The reader has changed the outline; the library measures it when it is saved. */
  #correct(edges) {
    by("panel").classList.add("stale");
    this.reading.setOutline(edges);
    this.#showThreshold();
  }

  /** A reading was saved: what was measured is shown, unless the outline was changed again. */
  #saved(entry) {
    this.read(entry);
    const { reading } = entry;
    if (entry !== this.#entry || !this.#answer || reading.problem || reading.saved < reading.changes) return;
    this.editor.adopt(reading.edges);
    const shown = withReading(this.#answer, reading);
    showAnswer(shown);
    this.viewer.draw(shown);
    this.#showDownloads();
    this.#showThreshold();
  }

  #slide() {
    this.#entry.step = Number(by("threshold").value);
    this.viewer.preview(this.#entry.step);
    this.#showThreshold();
    by("panel").classList.add("stale");
    this.#ask();
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
      complain("Millimetres per pixel: give a number above 0, such as 0.1.");
      by("spacing").focus();
      return;
    }
    by("spacing").value = text;
    this.#entry.spacing = text || null;
    this.#measure();
  }

  async #callBy(point) {
    this.#entry.point = point || null;
    await this.#measure();
    by("point").focus();
  }

  #showThreshold() {
    const usual = this.#answer.own_threshold;
    const at = this.#entry.step == null ? usual : this.#entry.step / 100;
    by("threshold").value = Math.round(at * 100);
    by("threshold-value").textContent = `${Number((at * 100).toFixed(1))} %`;
    by("threshold-own").textContent = `The model's own is ${Number((usual * 100).toFixed(1))} %. Spots below ${Number((this.#answer.min_lesion_share * 100).toFixed(2))} % of the scan are dropped.`;
    const own = Boolean(this.#entry.reading?.edges);
    by("threshold").disabled = own;
    by("threshold-own").hidden = own;
    by("threshold-fixed").hidden = !own;
    by("threshold-reset").hidden = own || this.#entry.step == null;
  }

  /** The library's numbers for what the slider and the scale are set to; with another reader, also another outline to correct. */
  async #measure(switched = false) {
    const entry = this.#entry;
    if (!entry) return;
    this.#asked.abort();
    this.#asked = new AbortController();
    try {
      const answer = await this.backend.answer(entry.id, this.#question(), this.#asked.signal);
      const reviews = await this.backend.reviews(entry.id, this.#question(), this.#asked.signal);
      if (this.#entry !== entry) return;
      complain("");
      const before = entry.reading;
      this.#tell(answer, reviews);
      if (switched || entry.reading.revision !== before?.revision) this.editor.load(answer, entry.reading.edges);
      else this.editor.refresh(answer);
      this.viewer.draw(withReading(answer, entry.reading));
      await this.comparison.load(entry, this.#question(), answer, this.#others(reviews));
    } catch (error) {
      if (error.name !== "AbortError") complain(error.message);
    }
  }

  #offerClasses(answer) {
    const names = Object.keys(answer.probabilities);
    by("heat-tools").hidden = !names.length;
    by("heat-class").replaceChildren(...names.map((name) => make("option", { value: name, selected: name === answer.label }, name)));
  }

  async #heat() {
    const entry = this.#entry, picture = by("heat");
    if (!by("show-heat").checked || !entry || !by("heat-class").value) return;
    this.viewer.wait(LOOKING);
    picture.src = this.backend.heat(entry.id, this.#question(), by("heat-class").value);
    try {
      await picture.decode();
      picture.alt = `Where the score of ${by("heat-class").value} came from: dark violet is low, yellow is high`;
      picture.hidden = !by("show-heat").checked;
    } catch {
      if (this.#entry === entry) complain(`The heat map could not be made. ${await this.backend.reason(picture.src)}`);
    }
    if (this.#entry === entry) this.viewer.wait("");
  }
}
