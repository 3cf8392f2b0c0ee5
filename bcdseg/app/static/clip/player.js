// The player of a clip: its frames one after another, each with its outline, as far as they are predicted.

import { announce, by, make } from "../dom.js";
import { withReading } from "../review/reading.js";
import { showSummary, summaryInWords } from "./summary.js";
import { alongTheSlider, following, frameInWords, kindOf, nearest, predictionInWords, rateInWords, shownFor, usedInWords } from "./timeline.js";

const STILL = 150; // milliseconds after which the frame under the slider is opened
const NO_LEVELS = new Uint8Array();

export class Player {
  playing = false;
  #viewer;
  #clip = null;
  #frames = []; // the scans of the clip, in the order of their numbers
  #at = 0;
  #summary = null;
  #announced = null; // the summary that was announced to screen readers
  #turn = 0;
  #wake = () => {}; // called when a frame is predicted that is waited for
  #settling;

  /**
   * Create the player; `open` is called with the frame at which it stops, `start` before the clip is played.
   * @param {import("../viewer.js").Viewer} viewer
   */
  constructor(viewer, open, start) {
    this.#viewer = viewer;
    this.open = open;
    this.start = start;
    by("play").addEventListener("click", () => this.toggle());
    by("frame-back").addEventListener("click", () => this.step(-1));
    by("frame-on").addEventListener("click", () => this.step(1));
    by("to-key").addEventListener("click", () => this.toKeyFrame());
    by("frame-at").addEventListener("input", () => this.#slide());
  }

  /** The frame that is shown; null where no clip is. */
  get entry() {
    return this.#frames[this.#at] ?? null;
  }

  /** Show the controls for the clip of a frame. */
  async show(entry, frames) {
    this.#pause();
    if (this.#clip?.id !== entry.clip.id) {
      this.#summary = this.#announced = null;
      this.#viewer.zoomToFit();
    }
    this.#clip = entry.clip;
    this.#frames = frames;
    this.#at = frames.indexOf(entry);
    by("clip-note").textContent = `${usedInWords(this.#clip)} ${rateInWords(this.#clip)}`;
    for (const id of ["player", "clip-card"]) by(id).hidden = false;
    this.refresh();
    if (this.#isReady(entry)) await this.#draw(this.#at);
  }

  /** Hide the player, because another scan or none is shown. */
  leave() {
    this.#pause();
    this.#clip = this.#summary = this.#announced = null;
    this.#frames = [];
    for (const id of ["player", "clip-card"]) by(id).hidden = true;
  }

  /** Return the frame of the displayed clip that is to be predicted next: the one that is shown, then those after it. */
  next() {
    const order = [...this.#frames.slice(this.#at), ...this.#frames.slice(0, this.#at)];
    return order.find((entry) => !entry.error && !this.#isReady(entry));
  }

  /** Show the present state of the frames. */
  refresh() {
    if (!this.#clip) return;
    const count = this.#frames.length, done = this.#frames.filter((entry) => entry.error || entry.drawn).length;
    by("frame-at").max = String(count - 1);
    by("frame-marks").replaceChildren(...this.#marks());
    showSummary(this.#summary, this.#clip, done, count);
    const key = this.#keyFrame;
    by("to-key").hidden = key === null;
    by("to-key").textContent = key === null ? "" : `Key frame ${key}`;
    this.#showPosition();
    this.#wake();
  }

  /** Show the summary of the clip, and announce it once all frames are predicted. */
  sumUp(summaries) {
    if (!this.#clip) return;
    this.#summary = summaries.find((one) => one.clip === this.#clip.id) ?? null;
    this.refresh();
    if (!this.#summary || this.#announced || this.#frames.some((entry) => !entry.error && !entry.drawn)) return;
    this.#announced = this.#summary;
    announce(summaryInWords(this.#summary));
  }

  /** Remove the summary of another model's predictions. */
  forget() {
    this.#summary = this.#announced = null;
    this.refresh();
  }

  toggle() {
    if (this.playing) this.rest();
    else if (this.#clip) this.#play();
  }

  /** Stop at the frame that is shown, and open it. */
  rest() {
    this.#pause();
    this.open(this.entry);
  }

  /** Go to the frame some steps further, without those that can't be read. */
  step(steps) {
    this.#goTo(following(this.#frames, this.#at, steps));
  }

  toKeyFrame() {
    this.#goTo(this.#frames.findIndex((entry) => entry.frame === this.#keyFrame));
  }

  get #keyFrame() {
    return this.#summary?.largest_frame ?? null;
  }

  #isReady(entry) {
    return Boolean(entry.drawn && entry.picture);
  }

  #goTo(at) {
    if (at < 0) return;
    this.#pause();
    this.#at = at;
    this.#showPosition();
    this.open(this.entry);
  }

  /** Draw the frame under the slider immediately, and open it when the slider rests. */
  #slide() {
    const at = nearest(this.#frames, Number(by("frame-at").value));
    if (at < 0) return;
    this.#pause();
    this.#at = at;
    this.start();
    if (this.#isReady(this.entry)) this.#draw(at);
    else this.#showPosition();
    this.#settling = setTimeout(() => this.open(this.entry), STILL);
  }

  #pause() {
    clearTimeout(this.#settling);
    this.#turn += 1;
    this.playing = false;
    this.#showPlaying();
    this.#wake();
  }

  #showPlaying() {
    by("play").textContent = this.playing ? "Pause" : "Play";
  }

  async #play() {
    this.#pause();
    const turn = this.#turn;
    this.playing = true;
    this.#showPlaying();
    this.start();
    while (turn === this.#turn) {
      const at = following(this.#frames, this.#at);
      if (at < 0) break;
      if (this.#isReady(this.#frames[at])) await this.#showFor(at, shownFor(this.#clip, Number(by("speed").value)));
      else await this.#waitFor(at);
    }
  }

  async #showFor(at, milliseconds) {
    const started = performance.now();
    this.#at = at;
    await this.#draw(at);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, milliseconds - (performance.now() - started))));
  }

  /** Wait until a frame is predicted, or the clip is stopped. */
  async #waitFor(at) {
    this.#viewer.wait(`Frame ${this.#frames[at].frame} is being predicted`);
    await new Promise((resolve) => (this.#wake = () => resolve(null)));
    this.#viewer.wait("");
  }

  async #draw(at) {
    const { drawn, picture, reading, name } = this.#frames[at];
    by("scan-name").textContent = name;
    this.#showPosition();
    await this.#viewer.showFrame(withReading(drawn, reading), picture, NO_LEVELS);
  }

  /** Show the number of the frame, its prediction and its position on the slider. */
  #showPosition() {
    const entry = this.entry;
    if (!entry) return;
    by("frame-at").value = String(this.#at);
    by("frame-at").setAttribute("aria-valuetext", frameInWords(entry, this.#clip, this.#keyFrame));
    by("frame-words").textContent = `Frame ${entry.frame} of ${this.#clip.frames}`;
    by("frame-predicted").textContent = predictionInWords(entry);
  }

  #marks() {
    return this.#frames.map((entry, at) => {
      const isKey = entry.frame === this.#keyFrame;
      const mark = make("i", { class: `${kindOf(entry)}${isKey ? " key-frame" : ""}` });
      mark.style.left = `${100 * alongTheSlider(at, this.#frames.length)}%`;
      return mark;
    });
  }
}
