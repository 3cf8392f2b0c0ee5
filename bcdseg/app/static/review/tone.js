// Brightness, contrast and gamma of the displayed scan. They change the display only, and stay from scan to scan.

import { all, by } from "../dom.js";

const NEUTRAL = { brightness: 0, contrast: 0, gamma: 0 };
const STEP = 5;

/** Return slope and intercept of the intensities, and the exponent after them, for sliders from -100 to 100. */
export function toneOf({ brightness, contrast, gamma }) {
  const slope = 2 ** (contrast / 50);
  return { slope, intercept: 0.5 * (1 - slope) + brightness / 100, exponent: 2 ** (-gamma / 50) };
}

export class Tone {
  #names = Object.keys(NEUTRAL);

  constructor() {
    for (const name of this.#names) by(name).addEventListener("input", () => this.#apply());
    by("tone-reset").addEventListener("click", () => this.reset());
    this.#apply();
  }

  /** Move a slider by some steps. */
  change(name, steps) {
    by(name).value = Number(by(name).value) + steps * STEP;
    by("tone-details").open = true;
    this.#apply();
  }

  reset() {
    for (const name of this.#names) by(name).value = NEUTRAL[name];
    this.#apply();
  }

  #apply() {
    /** @type {any} */
    const values = Object.fromEntries(this.#names.map((name) => [name, Number(by(name).value)]));
    const { slope, intercept, exponent } = toneOf(values);
    for (const one of all("#tone .linear > *")) {
      one.setAttribute("slope", slope);
      one.setAttribute("intercept", intercept);
    }
    for (const one of all("#tone .gamma > *")) one.setAttribute("exponent", exponent);
    const neutral = this.#names.every((name) => values[name] === NEUTRAL[name]);
    by("picture").style.filter = neutral ? "" : "url(#tone)";
    by("tone-reset").disabled = neutral;
  }
}
