// All keys of the page, in the groups in which they are listed.

import { by } from "./dom.js";

/**
 * Return titles of keys, each with rows of keys, words and an action; an action is null where the backend doesn't offer it.
 * @returns {[string, [string, string, ((event: any) => void) | null][]][]}
 */
export function keyGroups({ backend, scan, player, tone, step, help }) {
  const { editor, reading, comparison, viewer } = scan;
  const serves = (action) => (backend.runs === "server" ? action : null);
  const corrects = (action) => (backend.corrections ? action : null);
  const flip = (id) => () => by(id).click();
  return [
    ["Scans", [["ArrowLeft", "Previous scan", () => step(-1)], ["ArrowRight", "Next scan", () => step(1)]]],
    ["Clip", [
      ["Space", "Play or pause", serves(() => player.toggle())],
      ["d", "Previous frame", serves(() => player.step(-1))],
      ["f", "Next frame", serves(() => player.step(1))],
      ["s", "Proposed key frame", serves(() => player.toKeyFrame())],
    ]],
    ["Reading", [
      ["a", "Accept", corrects(() => reading.judge("accepted"))],
      ["u", "Uncertain", corrects(() => reading.judge("uncertain"))],
      ["x", "Reject", corrects(() => reading.judge("rejected"))],
      ["1 2 3 4 5 6 7 8 9", "Class, in the order of the page", corrects((event) => reading.chooseClass(Number(event.key) - 1))],
    ]],
    ["Outline", [
      ["v", "Move the scan", () => editor.choose("move")],
      ["b", "Brush", corrects(() => editor.choose("brush"))],
      ["e", "Eraser", corrects(() => editor.choose("eraser"))],
      ["p", "Polygon", corrects(() => editor.choose("polygon"))],
      ["c", "Calipers", () => editor.choose("calipers")],
      ["[", "Smaller brush", () => editor.changeSize(-4)],
      ["]", "Larger brush", () => editor.changeSize(4)],
      ["Ctrl+z", "Undo", corrects(() => editor.undo())],
      ["Ctrl+y Ctrl+Shift+z", "Redo", corrects(() => editor.redo())],
      ["r", "Back to the model's outline", corrects(() => editor.reset())],
      ["Delete", "Clear the outline", corrects(() => editor.clear())],
      ["Escape", "Give up a line, remove a caliper, put the tool away", () => editor.escape()],
    ]],
    ["Display", [
      ["+ =", "Zoom in", () => viewer.zoomBy(1)],
      ["-", "Zoom out", () => viewer.zoomBy(-1)],
      ["0", "Fit", () => viewer.zoomToFit()],
      ["o", "Outline on or off", flip("show-outline")],
      ["l", "Axes on or off", flip("show-axes")],
      ["g", "Compared outlines on or off", () => comparison.toggle()],
      ["m", "Next model to compare with", serves(() => comparison.nextModel())],
      ["h", "Heat map on or off", serves(flip("show-heat"))],
      ["j", "Darker", () => tone.change("brightness", -1)],
      ["k", "Brighter", () => tone.change("brightness", 1)],
      ["J", "Less contrast", () => tone.change("contrast", -1)],
      ["K", "More contrast", () => tone.change("contrast", 1)],
      [",", "Lower gamma", () => tone.change("gamma", -1)],
      [".", "Higher gamma", () => tone.change("gamma", 1)],
      ["i", "As recorded", () => tone.reset()],
    ]],
    ["Help", [["?", "This list", () => help()]]],
  ];
}
