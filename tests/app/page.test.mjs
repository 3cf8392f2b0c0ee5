// Unit tests of the page's modules that need no document: outlines, words and requests.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Refused } from "../../bcdseg/app/static/backend.js";
import { maskFromEdges, maskFromLevels, outline } from "../../bcdseg/app/static/contour.js";
import { debounced, percent } from "../../bcdseg/app/static/dom.js";
import { inWords } from "../../bcdseg/app/static/panel.js";
import { distance, spacingAt } from "../../bcdseg/app/static/review/calipers.js";
import { scanOfMask, stem } from "../../bcdseg/app/static/review/comparison.js";
import { nameOf } from "../../bcdseg/app/static/review/keys.js";
import { edgesOf, fillPolygon, History, paintDisc, paintStroke } from "../../bcdseg/app/static/review/mask.js";
import { agreementInWords, othersInWords, readingOf, reviewOf, withReading } from "../../bcdseg/app/static/review/reading.js";
import { toneOf } from "../../bcdseg/app/static/review/tone.js";
import { Server } from "../../bcdseg/app/static/server.js";

/** Pseudo-random numbers from 0 to 1 that are the same in each run (Park and Miller, 1988). */
function* randoms(seed) {
  for (let state = seed; ; ) yield (state = (state * 48271) % 2147483647) / 2147483647;
}

/** The rings of a path as lists of points. */
const rings = (path) => path.split("Z").slice(0, -1).map((ring) => ring.slice(1).split("L").map((point) => point.split(" ").map(Number)));

/** Whether a point is inside the rings, by the even-odd rule. */
function inside(all, x, y) {
  let odd = false;
  for (const ring of all) {
    for (let at = 0, before = ring.length - 1; at < ring.length; before = at++) {
      const [[x1, y1], [x2, y2]] = [ring[at], ring[before]];
      if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) odd = !odd;
    }
  }
  return odd;
}

test("runs of pixels become a mask", () => {
  assert.deepEqual([...maskFromEdges([1, 3, 5, 6], 7)], [0, 1, 1, 0, 0, 1, 0]);
  assert.deepEqual([...maskFromEdges([], 3)], [0, 0, 0]);
});

test("levels that reach the threshold are in the mask", () => {
  assert.deepEqual([...maskFromLevels([49, 50, 51], 50)], [0, 1, 1]);
});

test("the outline encloses the pixels of any mask and no others", () => {
  const random = randoms(7), width = 9, height = 7;
  for (let round = 0; round < 60; round++) {
    const levels = Uint8Array.from({ length: width * height }, () => Math.floor(100 * random.next().value));
    const step = 1 + Math.floor(99 * random.next().value);
    const mask = maskFromLevels(levels, step);
    for (const given of [levels, []]) {
      const all = rings(outline(mask, given, width, height, step / 100));
      mask.forEach((value, at) => assert.equal(inside(all, (at % width) + 0.5, Math.floor(at / width) + 0.5), value === 1));
    }
  }
});

test("an empty mask has no outline", () => assert.equal(outline(new Uint8Array(12), [], 4, 3, 0.5), ""));

test("probabilities near 0 and 1 are not rounded to them", () => {
  assert.deepEqual([0, 0.004, 0.01, 0.505, 0.99, 0.996, 1].map(percent), ["0 %", "< 1 %", "1 %", "51 %", "99 %", "> 99 %", "100 %"]);
});

test("a debounced function runs once, with the last arguments", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const action = mock.fn(), call = debounced(action, 100);
  for (const value of [1, 2, 3]) {
    call(value);
    mock.timers.tick(60);
  }
  assert.equal(action.mock.callCount(), 0);
  mock.timers.tick(40);
  mock.timers.reset();
  assert.deepEqual(action.mock.calls.map((one) => one.arguments), [[3]]);
});

const PREDICTION = { source: "scan.png", label: "benign", confidence: 0.8, edges: [1, 2], lesions: [{}], sizes: ["9 × 7 px"], flags: [] };

test("a prediction is summed up in one sentence", () => {
  assert.match(inWords(PREDICTION), /^scan\.png: .*benign, 80 %, one lesion outlined: 9 × 7 px\./);
  assert.match(inWords({ ...PREDICTION, flags: [{ message: "It is dark." }] }), /It is dark\./);
  assert.match(inWords({ ...PREDICTION, lesions: [], sizes: [] }), /nothing outlined/);
  assert.match(inWords({ ...PREDICTION, label: null }), /No class/);
  assert.doesNotMatch(inWords({ ...PREDICTION, edges: null, lesions: [] }), /outlined/);
});

/** A server of the page whose requests get the given replies; they are recorded. */
async function opened(context, ...replies) {
  const session = { token: "t0k", models: ["a"], samples: ["benign"], limits: { file_bytes: 2 ** 21 } };
  const fetched = context.mock.method(globalThis, "fetch", async () => {
    const reply = replies.shift();
    if (reply instanceof Error) throw reply;
    return reply;
  });
  replies.unshift(Response.json(session));
  return { server: await Server.open(), requests: () => fetched.mock.calls.slice(1).map((one) => one.arguments) };
}

test("the token is in the path, and only what is given is in the query", async (context) => {
  const { server } = await opened(context);
  const address = server.address("7", "prediction", { model: "a b", threshold: "0.40", spacing: null, explain: undefined });
  assert.equal(address, "/api/t0k/scans/7/prediction?model=a+b&threshold=0.40");
});

test("a file is sent with its name", async (context) => {
  const { server, requests } = await opened(context, Response.json({ scans: [{ id: 1 }] }));
  assert.deepEqual(await server.upload(new File(["pixels"], "a&b.png")), [{ id: 1 }]);
  const [[path, options]] = requests();
  assert.equal(path, "/api/t0k/scans?name=a%26b.png");
  assert.equal(options.method, "POST");
  assert.equal(new TextDecoder().decode(options.body), "pixels");
});

test("a file that is too large, or a folder, is refused before it is sent", async (context) => {
  const { server, requests } = await opened(context);
  const folder = { name: "folder", size: 0, arrayBuffer: () => Promise.reject(new Error("a folder")) };
  await assert.rejects(server.upload({ name: "large.dcm", size: 2 ** 21 + 1 }), /large\.dcm: .*2 MB/);
  await assert.rejects(server.upload(folder), /folder: can't be read/);
  assert.deepEqual(requests(), []);
});

test("what the program refuses has its words and its status", async (context) => {
  const { server } = await opened(
    context,
    Response.json({ error: "scan.png: is not an image" }, { status: 422 }),
    Response.json({ error: "The scans are gone", gone: true }, { status: 404 }),
    new Response("no JSON", { status: 500 }),
    new TypeError("fetch failed"),
  );
  const refused = async () => server.prediction(1, {}).then(assert.fail, (error) => error);
  const [unread, gone, broken, silent] = [await refused(), await refused(), await refused(), await refused()];
  for (const error of [unread, gone, broken, silent]) assert.ok(error instanceof Refused);
  assert.deepEqual([unread.message, unread.status], ["scan.png: is not an image", 422]);
  assert.equal(gone.gone, true);
  assert.equal(broken.status, 500);
  assert.match(silent.message, /bcdseg app/);
});

test("a request that was given up stays an abort, so that nothing is shown", async (context) => {
  const { server } = await opened(context, new DOMException("given up", "AbortError"));
  await assert.rejects(server.prediction(1, {}), { name: "AbortError" });
});

test("a mask becomes runs and runs become the mask", () => {
  const random = randoms(3);
  for (let round = 0; round < 30; round++) {
    const mask = Uint8Array.from({ length: 40 }, () => (random.next().value < 0.5 ? 1 : 0));
    assert.deepEqual(maskFromEdges(edgesOf(mask), 40), mask);
  }
  assert.deepEqual(edgesOf(Uint8Array.of(0, 1, 1)), [1, 3]);
  assert.deepEqual(edgesOf(new Uint8Array(5)), []);
});

test("a brush paints the pixels whose middle is within its radius, and at least one", () => {
  const width = 12, height = 9, random = randoms(5);
  for (let round = 0; round < 40; round++) {
    const point = [random.next().value * width, random.next().value * height], radius = 0.2 + 4 * random.next().value;
    const mask = new Uint8Array(width * height);
    paintDisc(mask, width, height, point, radius, 1);
    mask.forEach((value, at) => {
      const [x, y] = [(at % width) + 0.5, Math.floor(at / width) + 0.5];
      const own = Math.floor(point[0]) === at % width && Math.floor(point[1]) === Math.floor(at / width);
      assert.equal(value === 1, own || Math.hypot(x - point[0], y - point[1]) <= radius);
    });
  }
});

test("a stroke has no gaps, an eraser takes it away again, and both may leave the scan", () => {
  const mask = new Uint8Array(200);
  paintStroke(mask, 20, 10, [-5, 5.2], [30, 5.2], 1, 1);
  assert.deepEqual([...mask.slice(100, 120)], new Array(20).fill(1));
  paintStroke(mask, 20, 10, [-5, 5], [30, 5], 3, 0);
  assert.ok(!mask.includes(1));
});

test("a polygon fills the pixels whose middle is inside", () => {
  const width = 20, height = 15, random = randoms(11);
  for (let round = 0; round < 20; round++) {
    const corners = Array.from({ length: 3 + (round % 4) }, () => [random.next().value * 24 - 2, random.next().value * 19 - 2]);
    const mask = new Uint8Array(width * height);
    fillPolygon(mask, width, height, corners, 1);
    mask.forEach((value, at) => assert.equal(value === 1, inside([corners], (at % width) + 0.5, Math.floor(at / width) + 0.5)));
  }
});

test("states can be undone and redone, and a new one ends what could be redone", () => {
  const history = new History(null);
  for (const state of [[0, 1], [0, 2], null]) history.push(state);
  assert.deepEqual([history.undo(), history.undo(), history.undo(), history.undo()], [[0, 2], [0, 1], null, null]);
  assert.equal(history.canUndo, false);
  assert.deepEqual(history.redo(), [0, 1]);
  history.push([7, 9]);
  assert.equal(history.canRedo, false);
  assert.deepEqual([history.redo(), history.undo()], [[7, 9], [0, 1]]);
});

test("distances are in millimetres where the spacing is known", () => {
  assert.equal(distance([0, 0], [3, 4], null), "5 px");
  assert.equal(distance([0, 0], [30, 40], [0.1, 0.1]), "5.0 mm");
  assert.equal(distance([0, 0], [30, 0], [9, 0.2]), "6.0 mm"); // down, across
  assert.equal(distance([0, 0], [0, 10], [0.5, 9]), "5.0 mm");
});

test("a distance has the scale of the scan area that it is in", () => {
  const areas = [{ box: [0, 0, 100, 100], spacing_mm: [0.1, 0.1] }, { box: [0, 100, 100, 200], spacing_mm: [0.2, 0.2] }];
  assert.deepEqual(spacingAt(areas, [5, 5], [50, 5]), [0.1, 0.1]);
  assert.deepEqual(spacingAt(areas, [105, 5], [150, 5]), [0.2, 0.2]);
  assert.equal(spacingAt(areas, [5, 5], [150, 5]), null); // from one to the other
  assert.equal(spacingAt(areas, [5, 150], [6, 150]), null); // below both
  assert.deepEqual(spacingAt(areas.slice(0, 1), [5, 150], [500, 5]), [0.1, 0.1]); // the only area gives the frame its scale
});

test("sliders in the middle leave the scan as it is", () => {
  assert.deepEqual(toneOf({ brightness: 0, contrast: 0, gamma: 0 }), { slope: 1, intercept: 0, exponent: 1 });
  const { slope, intercept } = toneOf({ brightness: 0, contrast: 50, gamma: 0 });
  assert.equal(slope * 0.5 + intercept, 0.5); // contrast turns around the middle gray
  assert.ok(toneOf({ brightness: 0, contrast: 0, gamma: 50 }).exponent < 1); // brighter
});

test("a mask file belongs to the scan that it is named after", () => {
  assert.deepEqual(["a b (1)_mask.png", "a_mask_1.PNG", "a.png", "_mask.png", "mask.png"].map(scanOfMask), ["a b (1)", "a", null, null, null]);
  assert.deepEqual(["a.b.png", "a"].map(stem), ["a.b", "a"]);
});

test("keys have the names of the list", () => {
  const press = (key, modifiers = {}) => nameOf({ key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...modifiers });
  assert.equal(press("a"), "a");
  assert.equal(press("K", { shiftKey: true }), "K");
  assert.equal(press("?", { shiftKey: true }), "?");
  assert.equal(press("Z", { metaKey: true, shiftKey: true }), "Ctrl+Shift+z");
  assert.equal(press("z", { ctrlKey: true }), "Ctrl+z");
  assert.equal(press(" "), "Space");
});

test("a saved review becomes the reading, and what was accepted is the reader's own", () => {
  const stored = { reader: "A", verdict: null, label: "benign", outline: "corrected", edges: [1, 2], lesions: [{}], sizes: ["1 x 1 px"], revision: 4 };
  const reading = readingOf(stored);
  assert.deepEqual(reviewOf(reading, "A"), { reader: "A", verdict: null, label: "benign", edges: [1, 2], revision: 4 });
  assert.deepEqual(readingOf({ ...stored, verdict: "accepted", outline: "as predicted" }).edges, [1, 2]);
  assert.equal(readingOf({ ...stored, outline: null, edges: null }).edges, null);
  assert.deepEqual(reviewOf(readingOf(undefined), "B"), { reader: "B", verdict: null, label: null, edges: null, revision: 0 });
  const prediction = { edges: [5, 9], lesions: [], sizes: [], candidates: [{}], candidate_edges: [5, 9], label: "malignant" };
  assert.deepEqual(withReading(prediction, reading), { ...prediction, edges: [1, 2], lesions: [{}], sizes: ["1 x 1 px"], candidates: [], candidate_edges: null, own: true });
  assert.equal(withReading(prediction, readingOf(undefined)), prediction);
});

test("an accepted outline and class of a model that is not displayed name it", () => {
  const stored = { verdict: "accepted", label: null, outline: "as predicted", outlined_by: "a", predicted_by: "a", predicted_label: "benign", dice: 1, contradiction: null };
  const words = (edges, changed, displayed = {}) => agreementInWords({ edges, stored: stored && { ...stored, ...changed } }, { label: "benign", model: "a", ...displayed });
  assert.equal(words([1, 2], {}), "The model's outline, accepted.");
  assert.equal(words([1, 2], { dice: 0.5 }, { label: "malignant", model: "b" }), "The outline of a, accepted; it and that of b: Dice 0.50. The class of a, accepted: benign.");
  assert.equal(words([1, 2], { outline: "corrected", contradiction: "No." }), "Your outline and the model's: Dice 1.00. No.");
  assert.equal(words(null, { verdict: null }), "");
  assert.equal(agreementInWords({ edges: null, stored: null }, { label: null, model: "a" }), "");
});

test("the reading of another is summed up", () => {
  assert.equal(othersInWords({ reader: "B", verdict: "accepted", label: null, outline: "corrected", predicted_label: "benign" }), "B: accepted, benign, outline corrected");
  assert.equal(othersInWords({ reader: "B", verdict: null, label: null, outline: null, predicted_label: "benign" }), "B: no verdict");
});
