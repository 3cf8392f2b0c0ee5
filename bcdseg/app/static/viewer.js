// The scan with what is drawn over it: outline, axes, heat map; zoomed and moved.

import { by } from "./dom.js";
import { maskFromEdges, maskFromLevels, outline } from "./contour.js";

const SVG = "http://www.w3.org/2000/svg";
const NEAREST = 12, STEP = 1.4, NEAR = 3, MARGIN = 12;

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export class Viewer {
  #frame = by("frame");
  #stage = by("stage");
  #marks = by("marks");
  #zoom = 1;
  #answer = null;
  #levels = new Uint8Array();

  constructor() {
    new ResizeObserver(() => this.#layOut()).observe(this.#frame);
    by("zoom-in").addEventListener("click", () => this.#zoomTo(this.#zoom * STEP));
    by("zoom-out").addEventListener("click", () => this.#zoomTo(this.#zoom / STEP));
    by("zoom-fit").addEventListener("click", () => this.#zoomTo(1));
    this.#frame.addEventListener("keydown", (event) => this.#key(event));
    this.#frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#frame.addEventListener("pointerdown", (event) => this.#drag(event));
    for (const name of ["show-outline", "show-axes", "fill"]) by(name).addEventListener("input", () => this.#style());
    by("show-heat").addEventListener("input", () => this.#style());
    by("heat-strength").addEventListener("input", () => this.#style());
  }

  /** Nothing to see yet. */
  clear(words) {
    this.#answer = null;
    this.#marks.replaceChildren();
    by("picture").removeAttribute("src");
    this.wait(words);
  }

  wait(words) {
    by("waiting-words").textContent = words;
    by("waiting").hidden = !words;
  }

  /** A scan and the answer about it. */
  async show(answer, picture, levels) {
    this.#answer = answer;
    this.#levels = levels;
    this.#zoom = 1;
    this.#marks.setAttribute("viewBox", `0 0 ${answer.width} ${answer.height}`);
    this.#layOut();
    by("picture").src = picture;
    await by("picture").decode().catch(() => {});
    this.wait("");
    this.draw(answer);
  }

  /** What the library outlines and measures. */
  draw(answer) {
    this.#answer = answer;
    by("picture").alt = describe(answer);
    const { width, height } = answer;
    const mask = maskFromEdges(answer.edges ?? [], width * height);
    this.#trace(mask, answer.threshold);
    this.#marks.classList.remove("moving");
    if (answer.candidate_edges) this.#traceCandidates(maskFromEdges(answer.candidate_edges, width * height), answer.threshold);
    for (const lesion of answer.lesions) {
      for (const [kind, ends] of [["long", lesion.long_axis_ends], ["short", lesion.short_axis_ends]]) {
        const [[y1, x1], [y2, x2]] = ends;
        this.#marks.append(shape("line", { class: `axis ${kind}`, x1: x1 + 0.5, y1: y1 + 0.5, x2: x2 + 0.5, y2: y2 + 0.5 }));
      }
    }
    if (answer.lesions.length > 1) answer.lesions.forEach((lesion, at) => this.#tag(lesion, at + 1));
    this.#style();
  }

  /** The outline at a step of the slider, at once; what is measured follows from the library. */
  preview(step) {
    if (!this.#answer || !this.#levels.length) return;
    this.#marks.classList.add("moving");
    this.#trace(maskFromLevels(this.#levels, step), step / 100, true);
  }

  #trace(mask, threshold, keepAxes = false) {
    const path = outline(mask, this.#levels, this.#answer.width, this.#answer.height, threshold);
    const kept = keepAxes ? [...this.#marks.querySelectorAll(".axis, .tag")] : [];
    this.#marks.replaceChildren(shape("path", { class: "halo", d: path }), shape("path", { class: "line", d: path }), ...kept);
    this.#style();
  }

  /** Outlines below the model's presence threshold: dashed, without axes, since they are no findings. */
  #traceCandidates(mask, threshold) {
    const path = outline(mask, this.#levels, this.#answer.width, this.#answer.height, threshold);
    this.#marks.append(shape("path", { class: "halo", d: path }), shape("path", { class: "line candidate", d: path }));
  }

  #tag(lesion, number) {
    const tag = shape("text", { class: "tag", x: Math.max(lesion.box[1] - 2, 0), y: Math.max(lesion.box[0], 0) });
    tag.textContent = number;
    this.#marks.append(tag);
    this.#size(tag);
  }

  #size(tag) {
    tag.setAttribute("font-size", 17 / this.#scale);
    tag.setAttribute("dy", -4 / this.#scale);
  }

  #style() {
    const shown = by("show-outline").checked;
    for (const one of this.#marks.querySelectorAll(".halo, .line, .tag")) one.style.display = shown ? "" : "none";
    for (const one of this.#marks.querySelectorAll(".line")) one.style.fillOpacity = one.classList.contains("candidate") ? 0 : by("fill").value / 100;
    for (const one of this.#marks.querySelectorAll(".axis")) one.style.display = by("show-axes").checked ? "" : "none";
    by("heat").hidden = !by("show-heat").checked || !by("heat").src;
    by("heat").style.opacity = by("heat-strength").value / 100;
  }

  get #scale() {
    return this.#stage.offsetWidth / (this.#answer?.width ?? 1) || 1;
  }

  #layOut() {
    if (!this.#answer) return;
    const { width, height } = this.#answer;
    const fit = Math.min((this.#frame.clientWidth - MARGIN) / width, (this.#frame.clientHeight - MARGIN) / height);
    this.#stage.style.width = `${width * fit * this.#zoom}px`;
    this.#stage.style.height = `${height * fit * this.#zoom}px`;
    this.#stage.classList.toggle("near", fit * this.#zoom > NEAR);
    for (const tag of this.#marks.querySelectorAll(".tag")) this.#size(tag);
  }

  /** Zooms so that what is under a point stays there; the middle by default. */
  #zoomTo(zoom, x = this.#frame.clientWidth / 2, y = this.#frame.clientHeight / 2) {
    const frame = this.#frame, before = this.#stage.getBoundingClientRect(), place = frame.getBoundingClientRect();
    const across = (x + place.left - before.left) / before.width, down = (y + place.top - before.top) / before.height;
    this.#zoom = Math.min(NEAREST, Math.max(1, zoom));
    this.#layOut();
    frame.scrollLeft = across * this.#stage.offsetWidth - x;
    frame.scrollTop = down * this.#stage.offsetHeight - y;
  }

  #key(event) {
    const to = { "+": this.#zoom * STEP, "=": this.#zoom * STEP, "-": this.#zoom / STEP, 0: 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.#zoomTo(to);
  }

  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the page
    event.preventDefault();
    const place = this.#frame.getBoundingClientRect();
    this.#zoomTo(this.#zoom * (event.deltaY < 0 ? STEP : 1 / STEP), event.clientX - place.left, event.clientY - place.top);
  }

  #drag(event) {
    if (event.pointerType !== "mouse" || event.button !== 0 || this.#zoom === 1) return;
    const frame = this.#frame;
    const move = (to) => {
      frame.scrollLeft -= to.movementX;
      frame.scrollTop -= to.movementY;
    };
    const stop = () => frame.removeEventListener("pointermove", move);
    frame.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) frame.addEventListener(end, stop, { once: true });
    event.preventDefault();
    frame.focus();
  }
}

function describe(answer) {
  const called = answer.label === null ? "" : `, called ${answer.label}`;
  const lesions = answer.edges === null ? "" : answer.lesions.length ? `, outlined: ${answer.sizes.join(", ")}` : ", nothing outlined";
  return `Ultrasound scan ${answer.source}${called}${lesions}`;
}
