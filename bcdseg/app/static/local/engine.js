// The exported model in a worker: scans in, probabilities out.

import { loadPart } from "./parts.js";

const MASK = "mask_probability", CLASSES = "probabilities";

export class Engine {
  #model;
  #worker = null;
  #started;
  #waiting = new Map();
  #count = 0;

  /**
   * Start to load the model.
   * @param {import("./postprocess.js").ModelFacts} model
   */
  constructor(model) {
    this.#model = model;
    this.#started = this.#start();
    this.#started.catch(() => {}); // each prediction raises the error
  }

  /**
   * Predict a scan.
   * @param {import("./scan_image.js").ScanImage} image
   * @returns {Promise<import("./postprocess.js").Outputs>}
   */
  async run(image) {
    await this.#started;
    const { bytes, shape, restore } = inputOf(image, this.#model.preprocessing);
    const found = await this.#send("run", { scan: bytes, shape }, [bytes.buffer]);
    return { probability: found[MASK] ? restore(found[MASK]) : null, classes: found[CLASSES] ? [...found[CLASSES]] : null };
  }

  async #start() {
    const loaded = loadPart("model"), runtime = await loadPart("runtime");
    this.#worker = new Worker(addressOf(runtime.worker), { type: "module" });
    this.#worker.onmessage = ({ data: { id, result, error } }) => {
      const [resolve, reject] = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) reject(new Error(error));
      else resolve(result);
    };
    this.#worker.onerror = (event) => {
      for (const [, reject] of this.#waiting.values()) reject(new Error(event.message || "the worker could not be started"));
      this.#waiting.clear();
    };
    const names = this.#model.outputs.filter((name) => name === MASK || name === CLASSES);
    const started = this.#send("start", { library: addressOf(runtime.library), program: runtime.program });
    const [model] = await Promise.all([loaded, started]); // the model is read while the runtime starts
    await this.#send("load", { model, names });
  }

  /** @returns {Promise<any>} */
  #send(action, given, transferred = []) {
    const id = this.#count++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, [resolve, reject]);
      this.#worker.postMessage({ id, action, given }, transferred);
    });
  }
}

/**
 * Return the address of a script that is a text here, since a page that is opened from a folder may load no other: workers take data there,
 * and blobs from a web server, where they can share memory.
 */
function addressOf(text) {
  if (location.protocol === "file:") return `data:text/javascript,${encodeURIComponent(text)}`;
  return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
}

/**
 * Return the input of the exported model, and the function that maps its output back to the scan.
 * @param {import("./scan_image.js").ScanImage} image
 */
export function inputOf({ width, height, gray, rgba }, { channels, resize, stride }) {
  const multiple = (side) => (resize === "none" ? Math.ceil(side / stride) * stride : side);
  const [wide, high] = [multiple(width), multiple(height)];
  const top = Math.floor((high - height) / 2), left = Math.floor((wide - width) / 2);
  const bytes = new Uint8Array(wide * high * channels); // black where the scan is padded
  for (let row = 0; row < height; row++) {
    const to = ((row + top) * wide + left) * channels;
    if (channels === 1) bytes.set(gray.subarray(row * width, (row + 1) * width), to);
    else for (let at = 0; at < 3 * width; at++) bytes[to + at] = rgba[4 * (row * width + Math.floor(at / 3)) + (at % 3)];
  }
  const restore = (map) => {
    if (wide === width && high === height) return map;
    const inside = new Float32Array(width * height);
    for (let row = 0; row < height; row++) inside.set(map.subarray((row + top) * wide + left, (row + top) * wide + left + width), row * width);
    return inside;
  };
  return { bytes, shape: channels === 1 ? [1, high, wide] : [1, high, wide, 3], restore };
}
