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
  #answer = null;
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

  /** Nothing to see yet. */
  clear(words) {
    this.#turn += 1;
    this.#answer = null;
    for (const id of ["marks", "others", "calipers", "sketch", "pointer"]) by(id).replaceChildren();
    by("picture").removeAttribute("src");
    this.wait(words);
  }

  wait(words) {
    by("waiting-words").textContent = words;
    by("waiting").hidden = !words;
  }

  /** A scan and the answer about it. */
  async show(answer, picture, levels) {
    const turn = ++this.#turn;
    this.#zoom = 1;
    this.#place(answer, levels);
    by("picture").src = picture;
    await by("picture").decode().catch(() => {});
    if (turn !== this.#turn) return; // another one is shown by now
    this.wait("");
    this.draw(answer);
  }

  /** The frame of a clip in place of another one, at the same zoom; its image and its outline change together. */
  async showFrame(answer, picture, levels) {
    const turn = ++this.#turn;
    const decoded = new Image();
    decoded.src = picture;
    await decoded.decode().catch(() => {});
    if (turn !== this.#turn) return;
    this.#place(answer, levels);
    by("picture").src = picture;
    this.wait("");
    this.draw(answer);
  }

  #place(answer, levels) {
    this.#answer = answer;
    this.#levels = levels;
    by("overlay").setAttribute("viewBox", `0 0 ${answer.width} ${answer.height}`);
    this.#layOut();
  }

  /** What the library outlines and measures. */
  draw(answer) {
    this.#answer = answer;
    this.#next = null;
    by("picture").alt = describe(answer);
    const { width, height } = answer;
    const mask = maskFromEdges(answer.edges ?? [], width * height);
    this.#trace(mask, answer.own ? [] : this.#levels, answer.threshold);
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
    this.#trace(maskFromLevels(this.#levels, step), this.#levels, step / 100, true);
  }

  /** An outline while it is corrected. */
  previewMask(mask) {
    this.#marks.classList.add("moving");
    this.#next = mask;
    if (this.#requested) return;
    this.#requested = true;
    requestAnimationFrame(() => {
      this.#requested = false;
      if (this.#answer && this.#next) this.#trace(this.#next, [], 0.5, true);
    });
  }

  /** Outlines next to the main one, by their names: ground truth, a second model, another reader. */
  drawOthers(outlines) {
    if (!this.#answer) return;
    const { width, height } = this.#answer;
    const paths = Object.entries(outlines).flatMap(([name, edges]) => {
      const d = outline(maskFromEdges(edges, width * height), [], width, height, 0.5);
      return [shape("path", { class: "halo", d }), shape("path", { class: `other ${name}`, d })];
    });
    by("others").replaceChildren(...paths);
  }

  /** The point of the scan under a pointer: across and down, in pixels. */
  pointAt(event) {
    const box = this.#stage.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.#answer.width, ((event.clientY - box.top) / box.height) * this.#answer.height];
  }

  #trace(mask, levels, threshold, keepAxes = false) {
    const path = outline(mask, levels, this.#answer.width, this.#answer.height, threshold);
    const kept = keepAxes ? all(".axis, .tag", this.#marks) : [];
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
    return this.#stage.offsetWidth / (this.#answer?.width ?? 1) || 1;
  }

  #layOut() {
    if (!this.#answer) return;
    const { width, height } = this.#answer;
    const fit = Math.min((this.#frame.clientWidth - MARGIN) / width, (this.#frame.clientHeight - MARGIN) / height);
    this.#stage.style.width = `${width * fit * this.#zoom}px`;
    this.#stage.style.height = `${height * fit * this.#zoom}px`;
    this.#stage.classList.toggle("near", fit * this.#zoom > NEAR);
    for (const tag of all(".tag", this.#marks)) this.#size(tag);
    this.onLayOut();
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

  /** Zooms in by some steps, out where negative. */
  zoomBy(steps) {
    this.#zoomTo(this.#zoom * STEP ** steps);
  }

  zoomToFit() {
    this.#zoomTo(1);
  }

  /** Moves a scan that is larger than its frame. */
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

function describe(answer) {
  const called = answer.label === null ? "" : `, predicted ${answer.label}`;
  const lesions = answer.edges === null ? "" : answer.lesions.length ? `, outlined: ${answer.sizes.join(", ")}` : ", nothing outlined";
  return `Ultrasound scan ${answer.source}${called}${lesions}`;
}
