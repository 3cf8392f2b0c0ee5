// Unit tests of the page's modules that need no document: outlines, words and requests.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { maskFromEdges, maskFromLevels, outline } from "../../bcdseg/app/static/contour.js";
import { debounced, percent } from "../../bcdseg/app/static/dom.js";
import { inWords } from "../../bcdseg/app/static/panel.js";
import { Refused, Server } from "../../bcdseg/app/static/server.js";

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

const ANSWER = { source: "scan.png", label: "benign", confidence: 0.8, edges: [1, 2], lesions: [{}], sizes: ["9 × 7 px"], flags: [] };

test("a prediction is summed up in one sentence", () => {
  assert.match(inWords(ANSWER), /^scan\.png: .*benign, 80 %, one lesion outlined: 9 × 7 px\./);
  assert.match(inWords({ ...ANSWER, flags: [{ message: "It is dark." }] }), /It is dark\./);
  assert.match(inWords({ ...ANSWER, lesions: [], sizes: [] }), /nothing outlined/);
  assert.match(inWords({ ...ANSWER, label: null }), /No class/);
  assert.doesNotMatch(inWords({ ...ANSWER, edges: null, lesions: [] }), /outlined/);
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
  const address = server.address("7", "answer", { model: "a b", threshold: "0.40", spacing: null, explain: undefined });
  assert.equal(address, "/api/t0k/scans/7/answer?model=a+b&threshold=0.40");
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
  const refused = async () => server.answer(1, {}).then(assert.fail, (error) => error);
  const [unread, gone, broken, silent] = [await refused(), await refused(), await refused(), await refused()];
  for (const error of [unread, gone, broken, silent]) assert.ok(error instanceof Refused);
  assert.deepEqual([unread.message, unread.status], ["scan.png: is not an image", 422]);
  assert.equal(gone.gone, true);
  assert.equal(broken.status, 500);
  assert.match(silent.message, /bcdseg app/);
});

test("a request that was given up stays an abort, so that nothing is shown", async (context) => {
  const { server } = await opened(context, new DOMException("given up", "AbortError"));
  await assert.rejects(server.answer(1, {}), { name: "AbortError" });
});
