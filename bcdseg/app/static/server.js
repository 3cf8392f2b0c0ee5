// All requests to the page's own server. The token is in the path: no cookie, so no other page can borrow it.

import { Refused } from "./backend.js";

const MOST_KEPT_ALIVE = 60_000; // bytes that a browser sends for a page that is gone
const FILES = ["overlay.png", "mask.png", "prediction.json", "outline.dcm"];

async function request(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The program does not respond. Is bcdseg app still running?");
  }
  if (reply.ok) return reply;
  const refusal = await reply.json().catch(() => ({}));
  throw new Refused(refusal.error ?? `The program responded with ${reply.status}.`, reply.status, refusal.gone);
}

/** @typedef {import("./backend.js").Backend} Backend */

/** @implements {Backend} */
export class Server {
  /** @type {"server"} */
  runs = "server";
  files = FILES;
  root = "";
  /** @type {any} */
  limits = {};
  /** @type {string[]} */
  models = [];
  /** @type {string[]} */
  samples = [];
  /** The folder of corrections, null where none are saved. */
  corrections = null;
  reader = "";

  /** Open a new session. */
  static async open() {
    const server = new Server();
    const session = await (await request("/api/session", { method: "POST" })).json();
    server.root = `/api/${session.token}`;
    const { models, samples, limits, corrections, reader } = session;
    return Object.assign(server, { models, samples, limits, corrections, reader });
  }

  /** Release all scans of the page, also while the browser closes. */
  close() {
    navigator.sendBeacon(`${this.root}/close`);
  }

  async upload(file) {
    const query = new URLSearchParams({ name: file.name });
    return (await (await request(`${this.root}/scans?${query}`, { method: "POST", body: await this.#content(file) })).json()).scans;
  }

  async sample(name) {
    return (await (await request(`${this.root}/samples/${name}`, { method: "POST" })).json()).scans;
  }

  sampleImage(name) {
    return `/samples/${name}.png`;
  }

  async report(file) {
    await request(`${this.root}/report`, { method: "POST", body: await this.#content(file) });
    return `${this.root}/report.html?${Date.now()}`;
  }

  async remove(scan) {
    await request(`${this.root}/scans/${scan}`, { method: "DELETE" });
  }

  async prediction(scan, options, signal) {
    return (await request(this.address(scan, "prediction", options), { signal })).json();
  }

  async levels(scan, options) {
    return new Uint8Array(await (await request(this.address(scan, "levels", options))).arrayBuffer());
  }

  /** Return the latest review of a scan by each reader; none where corrections are not saved. */
  async reviews(scan, options, signal) {
    if (!this.corrections) return [];
    return (await (await request(this.address(scan, "reviews", options), { signal })).json()).reviews;
  }

  /** Save a review, also while the page is being closed, and return it with the library's measurements. */
  async saveReview(scan, options, review) {
    const body = JSON.stringify(review);
    return (await request(this.address(scan, "review", options), { method: "PUT", body, keepalive: body.length < MOST_KEPT_ALIVE })).json();
  }

  /** Add a mask file to the ground truth of a scan. */
  async addTruth(scan, file, options) {
    await request(this.address(scan, "truth", { ...options, name: file.name }), { method: "POST", body: await this.#content(file) });
  }

  async truth(scan, options) {
    return (await request(this.address(scan, "truth", options))).json();
  }

  /** Return the prediction of a second model, and its agreement with the first. */
  async second(scan, options, model) {
    return (await request(this.address(scan, "second", { ...options, second: model }))).json();
  }

  /** Return the summary of each clip over its frames. */
  async clips(model) {
    return (await (await request(`${this.root}/clips?${new URLSearchParams({ model })}`)).json()).clips;
  }

  async card(model) {
    return (await (await request(`${this.root}/card?${new URLSearchParams({ model })}`)).json()).html;
  }

  /** Return why an address gives no picture. */
  async reason(address) {
    try {
      await request(address);
      return "";
    } catch (error) {
      return error.message;
    }
  }

  image(scan, options) {
    return this.address(scan, "image.png", options);
  }

  async picture(scan, options) {
    return (await request(this.image(scan, options))).blob();
  }

  heat(scan, options, explain) {
    return this.address(scan, "heat.png", { ...options, explain });
  }

  file(scan, options, name) {
    return link(this.address(scan, `files/${name}`, options));
  }

  table(model) {
    return link(`${this.root}/table.csv?${new URLSearchParams({ model })}`);
  }

  archive(model) {
    return link(`${this.root}/batch.zip?${new URLSearchParams({ model })}`);
  }

  /** Return the address of a resource of a scan; options are a model, and a threshold, spacing or class to explain where given. */
  address(scan, what, options) {
    const given = Object.entries(options).filter(([, value]) => value != null);
    return `${this.root}/scans/${scan}/${what}?${new URLSearchParams(given)}`;
  }

  async #content(file) {
    if (file.size > this.limits.file_bytes) {
      throw new Refused(`${file.name}: is larger than ${Math.round(this.limits.file_bytes / 1e6)} MB, the most that the page takes.`);
    }
    try {
      return await file.arrayBuffer();
    } catch {
      throw new Refused(`${file.name}: can't be read. Of a folder, drop the files in it.`);
    }
  }
}

/** Return a link to a file that the server names. */
const link = (href) => ({ href, download: "", onclick: null });
