// Masks and overlays as PNG.

import { maskFromEdges, outline } from "../contour.js";

const COLOURS = { outline: "#f0e442", candidate: "#cc79a7", long_axis_ends: "#56b4e9", short_axis_ends: "#e69f00" };

/** Return the mask of a prediction, black and white. */
export function maskPng({ edges, width, height }) {
  const mask = maskFromEdges(edges, width * height), [canvas, context] = canvasOf(width, height);
  const pixels = new Uint32Array(width * height); // on every machine that browsers run on, alpha is the highest byte
  for (let at = 0; at < pixels.length; at++) pixels[at] = mask[at] ? 0xffffffff : 0xff000000;
  context.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

/**
 * Return the scan with its outlines and axes; candidates are dashed.
 * @param {import("./scan_image.js").ScanImage} image
 */
export function overlayPng(image, prediction, levels) {
  const { width, height } = image, [canvas, context] = canvasOf(width, height);
  context.putImageData(new ImageData(new Uint8ClampedArray(image.rgba), width, height), 0, 0);
  context.lineWidth = Math.max(1, Math.round(Math.min(width, height) / 200));
  const draw = (edges, colour, dash) => {
    context.setLineDash(dash);
    context.strokeStyle = colour;
    context.stroke(new Path2D(outline(maskFromEdges(edges, width * height), levels, width, height, prediction.threshold)));
  };
  draw(prediction.edges ?? [], COLOURS.outline, []);
  if (prediction.candidate_edges) draw(prediction.candidate_edges, COLOURS.candidate, [4 * context.lineWidth]);
  context.setLineDash([]);
  for (const lesion of prediction.lesions) {
    for (const kind of ["short_axis_ends", "long_axis_ends"]) {
      const [[y1, x1], [y2, x2]] = lesion[kind];
      context.strokeStyle = COLOURS[kind];
      context.beginPath();
      context.moveTo(x1 + 0.5, y1 + 0.5);
      context.lineTo(x2 + 0.5, y2 + 0.5);
      context.stroke();
    }
  }
  return canvas.convertToBlob({ type: "image/png" });
}

/** @returns {[OffscreenCanvas, OffscreenCanvasRenderingContext2D]} */
function canvasOf(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  return [canvas, canvas.getContext("2d", { alpha: false })];
}
