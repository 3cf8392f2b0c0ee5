// Distances between two points of the scan. Millimetres need the scan's spacing; lines stay until they are removed.

import { by } from "../dom.js";
import { shape } from "../svg.js";

/** Return the distance between two points in words: millimetres where the spacing, down and across, is known, else pixels. */
export function distance([x1, y1], [x2, y2], spacing) {
  const [down, across] = spacing ?? [1, 1];
  const length = Math.hypot((x2 - x1) * across, (y2 - y1) * down);
  return spacing ? `${length.toFixed(1)} mm` : `${length.toFixed(0)} px`;
}

/** Return the spacing at a line: that of the scan area with both its ends; null where they are in areas of different scale, or in none of several. */
export function spacingAt(areas, ...ends) {
  const holds = ({ box: [top, left, bottom, right] }, [x, y]) => top <= y && y < bottom && left <= x && x < right;
  const [one, other] = ends.map((end) => (areas.length === 1 ? areas[0] : areas.find((area) => holds(area, end)))?.spacing_mm ?? null);
  return String(one) === String(other) ? one : null;
}

export class Calipers {
  #lines = [];
  #areas = [];
  /** Called when lines were drawn. */
  onDraw = () => {};
  #layer = by("calipers");

  /** Remove all lines, because another scan is shown. */
  clear() {
    this.#lines = [];
    this.#draw();
  }

  /** Remove the latest line. */
  removeLast() {
    this.#lines.pop();
    this.#draw();
  }

  get count() {
    return this.#lines.length;
  }

  /** Apply the areas of the scan, each with its box and spacing. */
  setAreas(areas) {
    this.#areas = areas;
    this.#draw();
  }

  start(point) {
    this.#lines.push([point, point]);
    this.#draw();
  }

  move(point) {
    this.#lines[this.#lines.length - 1][1] = point;
    this.#draw();
  }

  /** Keep the latest line, unless it is a mere click, and return its length in words. */
  end() {
    const [from, to] = this.#lines.at(-1);
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) >= 1) return distance(from, to, spacingAt(this.#areas, from, to));
    this.removeLast();
    return "";
  }

  /** Draw the lines in the size of the screen: `scale` is in screen pixels per pixel of the scan. */
  resize(scale) {
    for (const text of this.#layer.querySelectorAll("text")) {
      text.setAttribute("font-size", 15 / scale);
      text.setAttribute("dy", -7 / scale);
    }
    for (const end of this.#layer.querySelectorAll("circle")) end.setAttribute("r", 4 / scale);
  }

  #draw() {
    const all = this.#lines.flatMap(([from, to]) => {
      const text = shape("text", { class: "tag caliper", x: (from[0] + to[0]) / 2, y: (from[1] + to[1]) / 2 });
      text.textContent = distance(from, to, spacingAt(this.#areas, from, to));
      const ends = [from, to].map(([cx, cy]) => shape("circle", { class: "caliper", cx, cy, r: 1 }));
      return [shape("line", { class: "caliper halo", x1: from[0], y1: from[1], x2: to[0], y2: to[1] }), shape("line", { class: "caliper", x1: from[0], y1: from[1], x2: to[0], y2: to[1] }), ...ends, text];
    });
    this.#layer.replaceChildren(...all);
    this.onDraw();
  }
}
