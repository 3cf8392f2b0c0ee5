// The scan with what is drawn over it: outline, axes, heat map; zoomed and moved.

import { all, by } from "./dom.js";
import { maskFromEdges, maskFromLevels, outline } from "./contour.js";
import { shape } from "./svg.js";

const NEAREST = 12, STEP = 1.4, NEAR = 3, MARGIN = 12, SCROLL = 60;

export class Viewer {
  #frame = by("frame");
  #stage = by("stage");
  #marks = by("marks");
  #zoom = 1;
  #prediction = null;
  #levels = new Uint8Array();
  #next = null;
  #turn = 0;
  /** Called when the scan has another size on the screen. */
  onLayOut = () => {};
  #requested = false;

  constructor() {
    new ResizeObserver(() => this.#layOut()).observe(this.#frame);
    by("zoom-in").addEventListener("click", () => this.zoomBy(1));
    by("zoom-out").addEventListener("click", () => this.zoomBy(-1));
    by("zoom-fit").addEventListener("click", () => this.zoomToFit());
    this.#frame.addEventListener("keydown", (event) => this.#scroll(event));
    this.#frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#frame.addEventListener("pointerdown", (event) => this.#drag(event));
    for (const name of ["show-outline", "show-axes", "fill"]) by(name).addEventListener("input", () => this.#style());
    by("show-heat").addEventListener("input", () => this.#style());
    by("heat-strength").addEventListener("input", () => this.#style());
  }

  /** Show a message in place of a scan. */
  clear(words) {
    this.#turn += 1;
    this.#prediction = null;
    for (const id of ["marks", "others", "calipers", "sketch", "pointer"]) by(id).replaceChildren();
    by("picture").removeAttribute("src");
    this.wait(words);
  }

  wait(words) {
    by("waiting-words").textContent = words;
    by("waiting").hidden = !words;
  }

  /** Show a scan and its prediction. */
  async show(prediction, picture, levels) {
    const turn = ++this.#turn;
    this.#zoom = 1;
    this.#place(prediction, levels);
    by("picture").src = picture;
    await by("picture").decode().catch(() => {});
    if (turn !== this.#turn) return; // another one is shown by now
    this.wait("");
    this.draw(prediction);
  }

  /** Show the frame of a clip in place of another one, at the same zoom; its image and its outline change together. */
  async showFrame(prediction, picture, levels) {
    const turn = ++this.#turn;
    const decoded = new Image();
    decoded.src = picture;
    await decoded.decode().catch(() => {});
    if (turn !== this.#turn) return;
    this.#place(prediction, levels);
    by("picture").src = picture;
    this.wait("");
    this.draw(prediction);
  }

  #place(prediction, levels) {
    this.#prediction = prediction;
    this.#levels = levels;
    by("overlay").setAttribute("viewBox", `0 0 ${prediction.width} ${prediction.height}`);
    this.#layOut();
  }

  /** Draw outlines and axes of the library. */
  draw(prediction) {
    this.#prediction = prediction;
    this.#next = null;
    by("picture").alt = describe(prediction);
    const { width, height } = prediction;
    const mask = maskFromEdges(prediction.edges ?? [], width * height);
    this.#trace(mask, prediction.own ? [] : this.#levels, prediction.threshold);
    this.#marks.classList.remove("moving");
    if (prediction.candidate_edges) this.#traceCandidates(maskFromEdges(prediction.candidate_edges, width * height), prediction.threshold);
    for (const lesion of prediction.lesions) {
      for (const [kind, ends] of [["long", lesion.long_axis_ends], ["short", lesion.short_axis_ends]]) {
        const [[y1, x1], [y2, x2]] = ends;
        this.#marks.append(shape("line", { class: `axis ${kind}`, x1: x1 + 0.5, y1: y1 + 0.5, x2: x2 + 0.5, y2: y2 + 0.5 }));
      }
    }
    if (prediction.lesions.length > 1) prediction.lesions.forEach((lesion, at) => this.#tag(lesion, at + 1));
    this.#style();
  }

  /** Draw the outline at a step of the slider immediately; the library's measurements follow. */
  preview(step) {
    if (!this.#prediction || !this.#levels.length) return;
    this.#marks.classList.add("moving");
    this.#trace(maskFromLevels(this.#levels, step), this.#levels, step / 100, true);
  }

  /** Draw an outline while it is corrected. */
  previewMask(mask) {
    this.#marks.classList.add("moving");
    this.#next = mask;
    if (this.#requested) return;
    this.#requested = true;
    requestAnimationFrame(() => {
      this.#requested = false;
      if (this.#prediction && this.#next) this.#trace(this.#next, [], 0.5, true);
    });
  }

  /** Draw outlines next to the main one, by their names: ground truth, a second model, another reader. */
  drawOthers(outlines) {
    if (!this.#prediction) return;
    const { width, height } = this.#prediction;
    const paths = Object.entries(outlines).flatMap(([name, edges]) => {
      const d = outline(maskFromEdges(edges, width * height), [], width, height, 0.5);
      return [shape("path", { class: "halo", d }), shape("path", { class: `other ${name}`, d })];
    });
    by("others").replaceChildren(...paths);
  }

  /** Return the point of the scan under a pointer: across and down, in pixels. */
  pointAt(event) {
    const box = this.#stage.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.#prediction.width, ((event.clientY - box.top) / box.height) * this.#prediction.height];
  }

  #trace(mask, levels, threshold, keepAxes = false) {
    const path = outline(mask, levels, this.#prediction.width, this.#prediction.height, threshold);
    const kept = keepAxes ? all(".axis, .tag", this.#marks) : [];
    this.#marks.replaceChildren(shape("path", { class: "halo", d: path }), shape("path", { class: "line", d: path }), ...kept);
    this.#style();
  }

  /** Draw outlines below the model's presence threshold: dashed and without axes, since they are not findings. */
  #traceCandidates(mask, threshold) {
    const path = outline(mask, this.#levels, this.#prediction.width, this.#prediction.height, threshold);
    this.#marks.append(shape("path", { class: "halo", d: path }), shape("path", { class: "line candidate", d: path }));
  }

  #tag(lesion, number) {
    const tag = shape("text", { class: "tag", x: Math.max(lesion.box[1] - 2, 0), y: Math.max(lesion.box[0], 0) });
    tag.textContent = number;
    this.#marks.append(tag);
    this.#size(tag);
  }

  #size(tag) {
    tag.setAttribute("font-size", 17 / this.scale);
    tag.setAttribute("dy", -4 / this.scale);
  }

  #style() {
    const shown = by("show-outline").checked;
    for (const one of all(".halo, .line, .tag", this.#marks)) one.style.display = shown ? "" : "none";
    for (const one of all(".line", this.#marks)) one.style.fillOpacity = one.classList.contains("candidate") ? 0 : by("fill").value / 100;
    for (const one of all(".axis", this.#marks)) one.style.display = by("show-axes").checked ? "" : "none";
    by("heat").hidden = !by("show-heat").checked || !by("heat").src;
    by("heat").style.opacity = String(by("heat-strength").value / 100);
  }

  /** Pixels of the screen per pixel of the scan. */
  get scale() {
    return this.#stage.offsetWidth / (this.#prediction?.width ?? 1) || 1;
  }

  #layOut() {
    if (!this.#prediction) return;
    const { width, height } = this.#prediction;
    const fit = Math.min((this.#frame.clientWidth - MARGIN) / width, (this.#frame.clientHeight - MARGIN) / height);
    this.#stage.style.width = `${width * fit * this.#zoom}px`;
    this.#stage.style.height = `${height * fit * this.#zoom}px`;
    this.#stage.classList.toggle("near", fit * this.#zoom > NEAR);
    for (const tag of all(".tag", this.#marks)) this.#size(tag);
    this.onLayOut();
  }

  /** Zoom so that the content under a point stays there; the middle by default. */
  #zoomTo(zoom, x = this.#frame.clientWidth / 2, y = this.#frame.clientHeight / 2) {
    const frame = this.#frame, before = this.#stage.getBoundingClientRect(), place = frame.getBoundingClientRect();
    const across = (x + place.left - before.left) / before.width, down = (y + place.top - before.top) / before.height;
    this.#zoom = Math.min(NEAREST, Math.max(1, zoom));
    this.#layOut();
    frame.scrollLeft = across * this.#stage.offsetWidth - x;
    frame.scrollTop = down * this.#stage.offsetHeight - y;
  }

  /** Zoom in by some steps, out where negative. */
  zoomBy(steps) {
    this.#zoomTo(this.#zoom * STEP ** steps);
  }

  zoomToFit() {
    this.#zoomTo(1);
  }

  /** Move a scan that is larger than its frame. */
  #scroll(event) {
    const step = { ArrowLeft: [-SCROLL, 0], ArrowRight: [SCROLL, 0], ArrowUp: [0, -SCROLL], ArrowDown: [0, SCROLL] }[event.key];
    if (!step || this.#zoom === 1 || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.#frame.scrollBy(...step);
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

function describe(prediction) {
  const predicted = prediction.label === null ? "" : `, predicted ${prediction.label}`;
  const lesions = prediction.edges === null ? "" : prediction.lesions.length ? `, outlined: ${prediction.sizes.join(", ")}` : ", nothing outlined";
  return `Ultrasound scan ${prediction.source}${predicted}${lesions}`;
}
