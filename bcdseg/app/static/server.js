// All that is asked of the page's own server. The token is in the path: no cookie, so no other page can borrow it.

import { Refused } from "./backend.js";

const MOST_KEPT_ALIVE = 60_000; // bytes that a browser sends for a page that is gone
const FILES = ["overlay.png", "mask.png", "answer.json", "outline.dcm"];

async function request(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The program does not answer. Is bcdseg app still running?");
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

  /** A new page: what it may offer comes with it. */
  static async open() {
    const server = new Server();
    const session = await (await request("/api/session", { method: "POST" })).json();
    server.root = `/api/${session.token}`;
    const { models, samples, limits, corrections, reader } = session;
    return Object.assign(server, { models, samples, limits, corrections, reader });
  }

  /** Lets all scans of the page go; the browser may be closing. */
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

  async answer(scan, question, signal) {
    return (await request(this.address(scan, "answer", question), { signal })).json();
  }

  async levels(scan, question) {
    return new Uint8Array(await (await request(this.address(scan, "levels", question))).arrayBuffer());
  }

  /** The latest review of a scan by each reader; none where corrections are not saved. */
  async reviews(scan, question, signal) {
    if (!this.corrections) return [];
    return (await (await request(this.address(scan, "reviews", question), { signal })).json()).reviews;
  }

  /** Saves a review, also while the page is being left, and returns it with the library's measurements. */
  async saveReview(scan, question, review) {
    const body = JSON.stringify(review);
    return (await request(this.address(scan, "review", question), { method: "PUT", body, keepalive: body.length < MOST_KEPT_ALIVE })).json();
  }

  /** Adds a mask file to the ground truth of a scan. */
  async addTruth(scan, file, question) {
    await request(this.address(scan, "truth", { ...question, name: file.name }), { method: "POST", body: await this.#content(file) });
  }

  async truth(scan, question) {
    return (await request(this.address(scan, "truth", question))).json();
  }

  /** What a second model predicts, and how far it agrees. */
  async second(scan, question, model) {
    return (await request(this.address(scan, "second", { ...question, second: model }))).json();
  }

  /** The summary of each clip over its frames. */
  async clips(model) {
    return (await (await request(`${this.root}/clips?${new URLSearchParams({ model })}`)).json()).clips;
  }

  async card(model) {
    return (await (await request(`${this.root}/card?${new URLSearchParams({ model })}`)).json()).html;
  }

  /** Why an address gives no picture. */
  async reason(address) {
    try {
      await request(address);
      return "";
    } catch (error) {
      return error.message;
    }
  }

  image(scan, question) {
    return this.address(scan, "image.png", question);
  }

  async picture(scan, question) {
    return (await request(this.image(scan, question))).blob();
  }

  heat(scan, question, explain) {
    return this.address(scan, "heat.png", { ...question, explain });
  }

  file(scan, question, name) {
    return link(this.address(scan, `files/${name}`, question));
  }

  table(model) {
    return link(`${this.root}/table.csv?${new URLSearchParams({ model })}`);
  }

  archive(model) {
    return link(`${this.root}/batch.zip?${new URLSearchParams({ model })}`);
  }

  /** Where something of a scan is; a question is a model, and a threshold, spacing or class to explain where given. */
  address(scan, what, question) {
    const asked = Object.entries(question).filter(([, value]) => value != null);
    return `${this.root}/scans/${scan}/${what}?${new URLSearchParams(asked)}`;
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

/** A link to a file that the server names. */
const link = (href) => ({ href, download: "", onclick: null });
