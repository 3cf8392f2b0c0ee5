// The reading of a scan: verdict, class and outline of the reader. Each change is saved immediately by the server.

import { all, announce, by, make, showProblem } from "../dom.js";

const VERDICTS = ["accepted", "uncertain", "rejected"];
const OFF = "Corrections are not saved: start bcdseg app with --corrections FOLDER to correct outlines and classes here.";

/** Return the request body of a reading; the runs of the outline are null where it is the model's. */
export const reviewOf = ({ verdict, label, edges, revision }, reader) => ({ reader, verdict, label, edges, revision });

/** Return a reading from a saved review, or an empty one. An accepted outline is the reader's own, whoever drew it. */
export function readingOf(stored) {
  const own = stored && (stored.outline === "corrected" || stored.verdict === "accepted");
  return { verdict: stored?.verdict ?? null, label: stored?.label ?? null, edges: own ? (stored.edges ?? null) : null, revision: stored?.revision ?? 0, stored: stored ?? null, changes: 0, saved: 0, saving: false, problem: "", reader: stored?.reader ?? null };
}

/** Return a prediction with the reader's own outline and its measurements in place of the model's. */
export function withReading(prediction, reading) {
  if (!reading?.edges || !reading.stored?.edges) return prediction;
  const { edges, lesions, sizes } = reading.stored;
  return { ...prediction, edges, lesions, sizes, candidates: [], candidate_edges: null, own: true };
}

export class Reading {
  #entry = null;
  #prediction = null;
  #options = null;

  /** Create the reading; `saved` is called with a scan whose reading was saved, `switched` when the reader changes. */
  constructor(backend, saved, switched) {
    this.backend = backend;
    this.saved = saved;
    for (const one of all(".corrects")) one.hidden = !backend.corrections;
    by("reading-off").hidden = Boolean(backend.corrections);
    by("reading-off-words").textContent = OFF;
    by("reader").value = storedReader(backend.reader);
    by("reader").addEventListener("change", () => this.#switch(switched));
    for (const verdict of VERDICTS) by(verdict).addEventListener("click", () => this.judge(verdict));
    by("save-again").addEventListener("click", () => this.#entry && this.#save(this.#entry));
    addEventListener("beforeunload", (event) => this.unsaved && event.preventDefault());
  }

  get reader() {
    return by("reader").value.trim();
  }

  /** Readings with changes that the server has not confirmed. */
  #open = new Set();

  get unsaved() {
    return this.#open.size > 0;
  }

  /** Show the readings of a scan: that of the page's reader is `entry.reading`; `options` returns the displayed options. */
  load(entry, prediction, reviews, options) {
    this.#entry = entry;
    this.#prediction = prediction;
    this.#options = options;
    this.choose(entry, reviews);
    this.#show();
  }

  /** Set the reading of a scan to that of the page's reader among its reviews; changes that could not be saved stay. */
  choose(entry, reviews = entry.reviews) {
    entry.reviews = reviews;
    const own = reviews.find((review) => review.reader === this.reader), { reading } = entry;
    if (!this.#open.has(reading) || (reading.reader !== this.reader && !reading.problem)) entry.reading = readingOf(own);
    entry.reading.reader = this.reader;
  }

  /** Remove the scan, until another one is loaded. */
  leave() {
    this.#entry = this.#prediction = null;
  }

  judge(verdict) {
    const reading = this.#entry?.reading;
    if (!reading) return;
    const taken = reading.verdict === verdict;
    reading.verdict = taken ? null : verdict;
    if (taken && verdict === "accepted" && reading.stored?.outline === "as predicted") reading.edges = null;
    announce(taken ? `No longer ${verdict}.` : `${verdict}.`);
    this.#changed();
  }

  /** Choose a class by its number, from 0; the same class again removes the choice. */
  chooseClass(number) {
    const name = Object.keys(this.#prediction?.probabilities ?? {})[number], reading = this.#entry?.reading;
    if (!name || !reading) return;
    reading.label = reading.label === name ? null : name;
    announce(reading.label ? `Class: ${name}.` : "Class: the model's.");
    this.#changed();
  }

  /** Store the reader's outline, or null for the model's. */
  setOutline(edges) {
    const reading = this.#entry.reading;
    reading.edges = edges;
    if (edges === null && reading.verdict === "accepted") reading.verdict = null;
    this.#changed();
  }

  #changed() {
    this.#entry.reading.changes += 1;
    this.#show();
    this.#save(this.#entry);
  }

  /** Save one state after another, so that the last one stays. */
  async #save(entry) {
    const { reading } = entry;
    this.#open.add(reading);
    reading.options = this.#options();
    if (reading.saving) return;
    Object.assign(reading, { saving: true, problem: "" });
    this.#show();
    try {
      while (reading.saved < reading.changes) {
        const { changes } = reading;
        const stored = await this.backend.saveReview(entry.id, reading.options, reviewOf(reading, reading.reader));
        Object.assign(reading, { saved: changes, revision: stored.revision, stored });
        entry.reviews = [...entry.reviews.filter((review) => review.reader !== stored.reader), stored];
        if (stored.verdict === "accepted" && reading.edges === null) reading.edges = stored.edges;
        if (stored.kept) announce("Another window has saved this scan meanwhile; its correction is kept next to this one.");
      }
      this.#open.delete(reading);
    } catch (error) {
      reading.problem = error.message;
      if (entry.reading !== reading) showProblem(`The correction of ${reading.reader} was not saved. ${error.message}`);
    }
    reading.saving = false;
    if (entry === this.#entry) this.#show();
    this.saved(entry);
  }

  #switch(switched) {
    if (!this.reader) by("reader").value = this.backend.reader;
    try {
      localStorage.setItem("reader", JSON.stringify([this.backend.reader, this.reader]));
    } catch {
      // it lasts as long as the page does
    }
    switched();
  }

  #show() {
    const { verdict, label, problem, saving, stored } = this.#entry.reading;
    for (const one of VERDICTS) by(one).setAttribute("aria-pressed", String(one === verdict));
    const classes = Object.keys(this.#prediction.probabilities).map((name, at) =>
      make("button", { type: "button", class: "small-button", "aria-pressed": String(name === label), onclick: () => this.chooseClass(at) }, name, make("kbd", { "aria-hidden": "true" }, String(at + 1))),
    );
    const focused = by("reader-classes").contains(document.activeElement) ? [...by("reader-classes").children].indexOf(document.activeElement) : -1;
    by("reader-classes").replaceChildren(...classes);
    if (focused >= 0) classes[focused]?.focus();
    by("reader-class-row").hidden = !classes.length;
    by("reading-agreement").textContent = saving ? "" : agreementInWords(this.#entry.reading, this.#prediction);
    by("saved").textContent = problem ? `Not saved. ${problem}` : saving ? "Saving." : stored ? `Saved at ${new Date(stored.saved).toLocaleTimeString()} in ${this.backend.corrections}` : `Each change is saved immediately in ${this.backend.corrections}`;
    by("saved").classList.toggle("unsaved", Boolean(problem));
    by("save-again").hidden = !problem;
  }
}

/** Return in words how a saved reading and the displayed prediction agree; a model that is not displayed is named. */
export function agreementInWords({ edges, stored }, { label, model }) {
  if (!stored) return "";
  const parts = [];
  if (edges !== null && stored.dice != null) {
    const dice = `Dice ${stored.dice.toFixed(2)}.`;
    if (stored.outline === "corrected") parts.push(`Your outline and the model's: ${dice}`);
    else if (stored.outlined_by === model) parts.push("The model's outline, accepted.");
    else parts.push(`The outline of ${stored.outlined_by}, accepted; it and that of ${model}: ${dice}`);
  }
  if (stored.verdict === "accepted" && !stored.label && stored.predicted_label !== label) parts.push(`The class of ${stored.predicted_by}, accepted: ${stored.predicted_label}.`);
  if (stored.contradiction) parts.push(stored.contradiction);
  return parts.join(" ");
}

/** Return the readings of other readers in words. */
export function othersInWords({ reader, verdict, label, outline, predicted_label: predicted }) {
  const parts = [verdict ?? "no verdict", label ?? (verdict === "accepted" ? predicted : null), outline === "corrected" ? "outline corrected" : null];
  return `${reader}: ${parts.filter(Boolean).join(", ")}`;
}

/** Return the name that was typed here, unless the program now suggests another name than before. */
function storedReader(suggested) {
  try {
    const [before, name] = JSON.parse(localStorage.getItem("reader")) ?? [];
    return before === suggested && name ? name : suggested;
  } catch {
    return suggested;
  }
}
