// The outline as the reader corrects it: brush, eraser, polygon and calipers, with mouse, pen, finger or keyboard.

import { all, announce, by } from "../dom.js";
import { shape } from "../svg.js";
import { Calipers } from "./calipers.js";
import { edgesOf, fillPolygon, History, paintStroke } from "./mask.js";
import { maskFromEdges } from "../contour.js";

const CLOSE = 12, APART = 4; // screen pixels: to close a polygon, and between the points of a line that is drawn freely
const NEEDS_HINT = { brush: "Paint on the scan.", eraser: "Erase from the outline.", polygon: "Click its corners, or draw around; Enter or a click on the first corner closes it.", calipers: "Drag from one point to another.", move: "" };

export class Editor {
  tool = "move";
  prediction = null;
  #viewer;
  #changed;
  #calipers = new Calipers();
  #mask = null;
  #history = new History(null);
  #corners = [];
  #cursor = null; // the point of the keyboard
  #pressed = null; // what a pressed pointer, or the key for it, is drawing
  #frame = by("frame");

  /** Create the editor; `changed` is called with the runs of the reader's own outline after each change, or with null for the model's. */
  constructor(viewer, changed) {
    this.#viewer = viewer;
    this.#changed = changed;
    for (const button of all("button", by("tool-buttons"))) button.addEventListener("click", () => this.choose(button.value));
    for (const [id, action] of [["undo", () => this.undo()], ["redo", () => this.redo()], ["reset-outline", () => this.reset()], ["clear-outline", () => this.clear()]]) by(id).addEventListener("click", action);
    this.#frame.addEventListener("pointerdown", (event) => this.#down(event), { capture: true });
    this.#frame.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) this.#frame.addEventListener(end, (event) => this.#up(event));
    this.#frame.addEventListener("keydown", (event) => this.#key(event), { capture: true });
    this.#frame.addEventListener("pointerleave", () => this.#point(null));
    by("brush-size").addEventListener("input", () => this.#showSize());
    this.#calipers.onDraw = () => this.#calipers.resize(viewer.scale);
    viewer.onLayOut = () => this.#resize();
    this.#showSize();
  }

  /** Load another scan or its prediction: the model's outline, and the reader's own where there is one. */
  load(prediction, own) {
    this.#end();
    this.#calipers.clear();
    this.#history = new History(own);
    this.refresh(prediction);
  }

  /** Remove the scan, until another one is loaded. */
  leave() {
    if (!this.prediction) return;
    this.#end();
    this.prediction = null;
  }

  /** Load another prediction of the same scan: at another threshold or scale. */
  refresh(prediction) {
    this.prediction = prediction;
    this.#calipers.setAreas(prediction.areas);
    this.#mask = this.#maskOf(this.#history.state);
    this.#buttons();
  }

  /** Take over the saved state, without a step of undo: an accepted outline is the reader's own. */
  adopt(state) {
    if (this.#pressed) return; // the next stroke has started
    this.#history.replace(state);
    this.#mask = this.#maskOf(state);
    this.#buttons();
  }

  get own() {
    return this.#history.state;
  }

  choose(tool) {
    this.#end();
    this.tool = tool;
    for (const button of all("button", by("tool-buttons"))) button.setAttribute("aria-pressed", String(button.value === tool));
    this.#frame.classList.toggle("drawing", tool !== "move");
    by("size-tool").hidden = !["brush", "eraser"].includes(tool);
    by("tool-hint").textContent = NEEDS_HINT[tool];
    this.#point(null);
  }

  changeSize(steps) {
    by("brush-size").value = Number(by("brush-size").value) + steps;
    this.#showSize();
  }

  undo() {
    if (this.#corners.length) this.#setCorners(this.#corners.slice(0, -1));
    else if (this.prediction && this.#history.canUndo) this.#take(this.#history.undo());
  }

  redo() {
    if (this.prediction && this.#history.canRedo) this.#take(this.#history.redo());
  }

  /** Restore the model's outline. */
  reset() {
    if (this.prediction && this.own !== null) this.#commit(null);
  }

  /** Remove all outlines. */
  clear() {
    if (this.prediction) this.#commit([]);
  }

  /** End an unfinished drawing, else remove the latest caliper, else deselect the tool. */
  escape() {
    if (this.#corners.length || this.#pressed) this.#end();
    else if (this.tool === "calipers" && this.#calipers.count) this.#calipers.removeLast();
    else this.choose("move");
  }

  #maskOf(state) {
    const { edges, width, height } = this.prediction;
    return maskFromEdges(state ?? edges ?? [], width * height);
  }

  #take(state) {
    this.#mask = this.#maskOf(state);
    this.#buttons();
    this.#viewer.previewMask(this.#mask);
    this.#changed(state);
  }

  #commit(state) {
    this.#history.push(state);
    this.#take(state);
  }

  #buttons() {
    by("undo").disabled = !this.#history.canUndo;
    by("redo").disabled = !this.#history.canRedo;
    by("reset-outline").disabled = this.own === null;
  }

  get #radius() {
    return Number(by("brush-size").value) / 2;
  }

  #showSize() {
    by("brush-size-value").textContent = `${by("brush-size").value} px`;
    if (this.#cursor) this.#point(this.#cursor);
  }

  // Pointers

  #down(event) {
    if (this.tool === "move" || !this.prediction || event.button > 0) return;
    if (this.#pressed) {
      this.#end(); // a second finger: the stroke of the first one does not count
      return;
    }
    if (event.target === this.#frame && isOnScrollbar(event, this.#frame)) return;
    event.preventDefault();
    event.stopPropagation();
    this.#frame.focus({ preventScroll: true });
    this.#frame.setPointerCapture(event.pointerId);
    this.#startStroke(this.#viewer.pointAt(event), event.pointerId);
  }

  #move(event) {
    if (this.tool === "move" || !this.prediction) return;
    const point = this.#viewer.pointAt(event);
    if (event.pointerType !== "touch") this.#point(point);
    if (this.#pressed?.by !== event.pointerId) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const one of passed.length ? passed : [event]) this.#continue(this.#viewer.pointAt(one));
  }

  #up(event) {
    if (this.#pressed?.by !== event.pointerId) return;
    if (event.type === "pointercancel") this.#end();
    else this.#finish();
  }

  // What is drawn, by pointer or keyboard

  #startStroke(point, origin) {
    this.#pressed = { by: origin, at: point, start: point, drawn: 0 };
    if (this.tool === "calipers") this.#calipers.start(point);
    else if (this.tool === "polygon") this.#corner(point);
    else this.#paint(point);
  }

  #continue(point) {
    if (this.tool === "calipers") this.#calipers.move(point);
    else if (this.tool === "polygon") this.#drawFreely(point);
    else this.#paint(point);
  }

  #finish() {
    const { drawn, start } = this.#pressed;
    const at = this.#pressed.at;
    this.#pressed = null;
    if (this.tool === "calipers") {
      const length = this.#calipers.end();
      if (length) announce(`Distance: ${length}`);
    } else if (this.tool === "polygon") {
      if (drawn > 3 && this.#near(start, at)) this.closePolygon();
    } else this.#commit(edgesOf(this.#mask));
  }

  /** Discard an unfinished drawing. */
  #end() {
    if (this.#pressed && this.tool === "calipers") this.#calipers.removeLast();
    else if (this.#pressed && this.tool !== "polygon") {
      this.#mask = this.#maskOf(this.own);
      this.#viewer.previewMask(this.#mask);
    }
    this.#pressed = null;
    if (this.#corners.length) this.#setCorners([]);
  }

  #paint(point) {
    const { width, height } = this.prediction;
    paintStroke(this.#mask, width, height, this.#pressed.at, point, this.#radius, this.tool === "brush" ? 1 : 0);
    this.#pressed.at = point;
    this.#viewer.previewMask(this.#mask);
  }

  #corner(point) {
    if (this.#corners.length > 2 && this.#near(this.#corners[0], point)) this.closePolygon();
    else this.#setCorners([...this.#corners, point]);
  }

  #drawFreely(point) {
    if (!this.#corners.length || this.#near(this.#corners.at(-1), point, APART)) return;
    this.#pressed.drawn += 1;
    this.#pressed.at = point;
    this.#setCorners([...this.#corners, point]);
  }

  /** Add the area inside the corners to the outline. */
  closePolygon() {
    const corners = this.#corners;
    this.#setCorners([]);
    if (corners.length < 3) return;
    fillPolygon(this.#mask, this.prediction.width, this.prediction.height, corners, 1);
    this.#commit(edgesOf(this.#mask));
  }

  #near([x1, y1], [x2, y2], within = CLOSE) {
    return Math.hypot(x2 - x1, y2 - y1) * this.#viewer.scale < within;
  }

  #setCorners(corners) {
    this.#corners = corners;
    const points = corners.map((point) => point.join(",")).join(" ");
    const first = corners.length ? [shape("circle", { class: "corner", cx: corners[0][0], cy: corners[0][1], r: 5 / this.#viewer.scale })] : [];
    by("sketch").replaceChildren(shape("polyline", { class: "sketch halo", points }), shape("polyline", { class: "sketch", points }), ...first);
  }

  // Keyboard: arrow keys move a point, Space presses and releases it, Enter closes a polygon.

  #key(event) {
    if (this.tool === "move" || !this.prediction || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (moves) this.#moveCursor(moves, event.shiftKey ? 10 : 2);
    else if (event.key === " ") this.#pressKey();
    else if (event.key === "Enter" && this.#corners.length) this.closePolygon();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #moveCursor([dx, dy], pixels) {
    const { width, height } = this.prediction;
    const [x, y] = this.#cursor ?? [width / 2, height / 2];
    const clamped = (value, most) => Math.min(most - 0.5, Math.max(0.5, value));
    const point = [clamped(x + dx * pixels, width), clamped(y + dy * pixels, height)];
    this.#point(point);
    if (this.#pressed?.by === "key") this.#continue(point);
  }

  #pressKey() {
    if (this.#pressed) this.#finish();
    else {
      if (!this.#cursor) this.#moveCursor([0, 0], 0);
      this.#startStroke(this.#cursor, "key");
      if (this.tool === "polygon") this.#pressed = null; // each press is a corner
    }
  }

  /** Show where the brush or the point of the keyboard is. */
  #point(point) {
    this.#cursor = point;
    const painting = ["brush", "eraser"].includes(this.tool);
    const size = painting ? this.#radius : 5 / this.#viewer.scale;
    by("pointer").replaceChildren(...(point && this.tool !== "move" ? [shape("circle", { class: "pointer", cx: point[0], cy: point[1], r: size })] : []));
  }

  #resize() {
    this.#calipers.resize(this.#viewer.scale);
    if (this.#cursor) this.#point(this.#cursor);
    for (const corner of all("circle", by("sketch"))) corner.setAttribute("r", 5 / this.#viewer.scale);
  }
}

function isOnScrollbar(event, frame) {
  const box = frame.getBoundingClientRect();
  return event.clientX - box.left > frame.clientWidth || event.clientY - box.top > frame.clientHeight;
}
