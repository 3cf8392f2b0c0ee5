// The page: the open scans, the displayed one, and the order of requests to the backend.

import { Player } from "./clip/player.js";
import { announce, by, make, showProblem } from "./dom.js";
import { keyGroups } from "./key_groups.js";
import { scanOfMask, stem } from "./review/comparison.js";
import { Keys } from "./review/keys.js";
import { Tone } from "./review/tone.js";
import { ScanView } from "./scan.js";
import { Table } from "./table.js";
import { openTab, startTabs } from "./tabs.js";
import { startTheme } from "./theme.js";

const FEW = 4; // problems that are listed one by one
const UNREAD = { row: null, warnings: null, priority: null, error: null, step: null, point: null, drawn: null };
const WHILE_PLAYING = ["Clip", "Display", "Help"]; // titles of the keys that act
const OFTEN = 5; // frames after which the summary of a clip is made again
const EMPTY = "Several scans together, in a table that sorts. Add some, or drop them anywhere on this page.";

/** Return the name of a scan's file, which the frames of a clip share. */
const fileOf = (entry) => entry.clip?.name ?? entry.name;

class Page {
  #entries = []; // each scan: its id and name, its line in the table, its own threshold and scale
  #filling = false;

  /** @param {import("./backend.js").Backend} backend */
  constructor(backend) {
    this.backend = backend;
    this.scan = new ScanView(backend, () => by("model").value, (entry, error) => this.#failed(entry, error), () => this.#refresh(), () => this.#changeReader());
    this.player = new Player(this.scan.viewer, (entry) => this.#open(entry), () => this.#standBy());
    this.table = new Table((entry) => this.#open(entry), (entry) => this.#remove(entry));
    by("model").replaceChildren(...backend.models.map((name) => make("option", { value: name }, name)));
    by("samples").replaceChildren(...backend.samples.map((name) => this.#sample(name)));
    by("storage-note").textContent = backend.corrections ? `A scan that you correct or judge is saved in ${backend.corrections}` : "";
    this.#listen();
    this.#refresh();
    this.#listenForKeys();
  }

  #listenForKeys() {
    const { backend, scan, player } = this;
    const groups = keyGroups({ backend, scan, player, tone: new Tone(), step: (count) => this.#step(count), help: () => keys.show() });
    const keys = new Keys(groups, (title) => {
      if (title === "Help") return true;
      if (!this.#shown || by("view-scan").hidden) return false;
      return title === "Clip" ? player.entry !== null : scan.entry !== null || WHILE_PLAYING.includes(title);
    });
  }

  /** The scan that is shown, also the frame at which a clip is by now. */
  get #shown() {
    return this.scan.entry ?? this.player.entry;
  }

  #listen() {
    for (const id of ["files", "more-files", "batch-files"]) {
      by(id).addEventListener("change", (event) => {
        const files = [...event.target.files];
        event.target.value = ""; // so that the same file can be chosen again
        this.take(files, id === "batch-files");
      });
    }
    by("report-file").addEventListener("change", (event) => this.#report(event.target.files[0]));
    by("model").addEventListener("change", () => this.#changeModel());
    by("about").addEventListener("click", () => this.#card());
    by("card-close").addEventListener("click", () => by("card").close());
    by("problem-close").addEventListener("click", () => showProblem(""));
    by("previous").addEventListener("click", () => this.#step(-1));
    by("next").addEventListener("click", () => this.#step(1));
    by("close-scan").addEventListener("click", () => this.#close());
    by("clear").addEventListener("click", () => this.#clear());
    addEventListener("pagehide", () => this.backend.close());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
    this.#listenForDrops();
  }

  #listenForDrops() {
    const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragover", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      by("veil").hidden = false;
    });
    addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) by("veil").hidden = true;
    });
    addEventListener("drop", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      by("veil").hidden = true;
      this.take([...event.dataTransfer.files]);
    });
  }

  /** Open files: one is shown, several are a batch, a page is a report. */
  async take(files, asBatch = false) {
    showProblem("");
    if (files.length === 1 && /\.html?$/i.test(files[0].name)) {
      await this.#report(files[0]);
      return;
    }
    const before = this.#entries.length, problems = [];
    const [scans, masks] = this.#divide(files);
    if (scans.length > 1 || asBatch) openTab("batch");
    for (const [at, file] of scans.entries()) {
      if (scans.length > 1) this.#tellProgress(`Opening ${at + 1} of ${scans.length} files`, at, scans.length);
      try {
        this.#add(await this.backend.upload(file));
      } catch (error) {
        problems.push(error.message);
        if (error.gone) break;
      }
    }
    for (const mask of masks) for (const entry of this.#entries) if (stem(fileOf(entry)) === scanOfMask(mask.name)) entry.masks.push(mask);
    const more = problems.length > FEW ? [`and ${problems.length - FEW} more`] : [];
    showProblem([...problems.slice(0, FEW), ...more].join("\n"));
    this.#present(this.#entries.slice(before), asBatch);
    if (masks.length && !scans.length && this.#shown) this.#open(this.#shown);
  }

  /** Divide files into scans, and the mask files of these scans or of open ones; a mask alone is opened as a scan. */
  #divide(files) {
    const names = new Set([...files.map((file) => file.name), ...this.#entries.map(fileOf)].map(stem));
    const isMask = (file) => names.has(scanOfMask(file.name));
    return [files.filter((file) => !isMask(file)), files.filter(isMask)];
  }

  #add(scans) {
    this.#entries.push(...scans.map((scan) => ({ ...scan, ...UNREAD, spacing: null, masks: [], reading: null, reviews: [], picture: null })));
    this.#refresh();
  }

  #present(added, asBatch) {
    if (!added.length) return;
    const isClip = added[0].clip && added.every((entry) => entry.clip?.id === added[0].clip.id);
    if ((added.length === 1 || isClip) && !asBatch) {
      this.#open(added[0]); // fills the table once it is shown, or removed because it can't be read
      return;
    }
    openTab("batch");
    this.#fill();
  }

  #tellProgress(words, done, count) {
    by("batch-words").textContent = words;
    by("batch-progress").hidden = done === count;
    Object.assign(by("batch-progress"), { max: count || 1, value: done });
  }

  #sample(name) {
    const label = name === "normal" ? "normal, no lesion" : name;
    const open = async () => {
      showProblem("");
      try {
        const before = this.#entries.length;
        this.#add(await this.backend.sample(name));
        this.#present(this.#entries.slice(before), false);
      } catch (error) {
        showProblem(error.message);
      }
    };
    return make("li", {}, make("button", { type: "button", onclick: open }, make("img", { src: this.backend.sampleImage(name), alt: "" }), `Labelled ${label}`));
  }

  async #open(entry) {
    openTab("scan");
    by("welcome").hidden = true;
    by("result").hidden = false;
    if (!by("result").contains(document.activeElement)) by("scan-name").focus({ preventScroll: true });
    this.#place(entry);
    by("close-scan").setAttribute("aria-label", entry.clip ? "Remove this clip" : "Remove this scan");
    if (entry.clip) this.player.show(entry, this.#framesOf(entry));
    else this.player.leave();
    await this.scan.open(entry, Boolean(entry.drawn && entry.picture));
    await this.#fill();
  }

  /** Prepare the display for the frames of a clip. */
  #standBy() {
    this.scan.standBy();
    by("scan-place").textContent = "";
  }

  /** Return all frames of the clip of a frame, in their order. */
  #framesOf({ clip }) {
    return this.#entries.filter((one) => one.clip?.id === clip.id).sort((one, other) => one.frame - other.frame);
  }

  #place(entry) {
    const at = this.table.sorted.indexOf(entry), count = this.#entries.length;
    by("scan-place").textContent = count > 1 ? `${at + 1} of ${count}` : "";
    for (const id of ["previous", "next"]) by(id).hidden = count < 2;
  }

  #step(count) {
    const readable = this.table.sorted.filter((entry) => !entry.error);
    const at = readable.indexOf(this.#shown);
    if (readable.length > 1) this.#open(readable[(at + count + readable.length) % readable.length]);
  }

  /** Show the error of a scan that can't be read, and remove the scan. */
  async #failed(entry, error) {
    if (error.status !== 422) {
      showProblem(error.message);
      return;
    }
    const alone = this.#entries.length === 1;
    const other = entry.clip && this.#framesOf(entry).find((one) => one !== entry && !one.error);
    entry.error = error.message;
    if (other) this.#open(other); // the player marks frames that can't be read
    else if (alone) await this.#remove(entry);
    else this.#refresh();
    showProblem(error.message);
    if (!alone && !other) openTab("batch");
  }

  /** Predict the lines of the table and the frames of the displayed clip one by one, so that other requests get through. */
  async #fill() {
    if (this.#filling) return;
    this.#filling = true;
    by("clips").hidden = true;
    for (let entry, count = 1; (entry = this.#next()); count++) {
      await this.#predict(entry);
      this.#refresh();
      if (entry.clip && count % OFTEN === 0) await this.#sumUp();
    }
    this.#filling = false;
    await this.#sumUp();
  }

  #next() {
    return this.player.next() ?? this.#entries.find((one) => !one.row && !one.error);
  }

  async #predict(entry) {
    const model = by("model").value;
    try {
      const prediction = await this.backend.prediction(entry.id, { model });
      if (model !== by("model").value) return;
      if (entry.clip && entry.clip.id === this.player.entry?.clip.id) entry.picture ??= URL.createObjectURL(await this.backend.picture(entry.id, { model }));
      if (model !== by("model").value) return;
      const { row, flags, priority, reviews } = prediction;
      Object.assign(entry, { row, priority, warnings: flags.map((flag) => flag.message), drawn: entry.clip ? prediction : null });
      if (!entry.reading) this.scan.reading.choose(entry, reviews);
    } catch (error) {
      if (!this.#entries.includes(entry)) return; // removed meanwhile
      entry.error = error.message;
      if (error.gone) showProblem(error.message);
    }
  }

  /** Show the summary of each clip over its frames: in the player, and above the table once all are predicted. */
  async #sumUp() {
    const model = by("model").value;
    const clips = this.#entries.length ? await this.backend.clips(model).catch(() => []) : [];
    if (model !== by("model").value) return;
    this.player.sumUp(clips);
    if (this.#filling) return;
    by("clips").replaceChildren(...clips.map(({ name, words }) => make("li", {}, make("strong", {}, name), ` ${words}`)));
    by("clips").hidden = !clips.length;
  }

  #refresh() {
    const count = this.#entries.length, done = this.#entries.filter((entry) => entry.row || entry.error).length;
    this.table.show([...this.#entries]);
    by("batch-count").hidden = count < 2;
    by("batch-count").textContent = count;
    const unread = this.#entries.filter((entry) => entry.error).length;
    const read = `${count - unread} of ${count} scans read with ${by("model").value}.`;
    const words = done < count ? `${done} of ${count} scans done` : read;
    this.#tellProgress(count ? words : EMPTY, done, count);
    for (const id of ["table-frame", "batch-rule", "clear", "csv", "zip"]) by(id).hidden = !count;
    Object.assign(by("csv"), this.backend.table(by("model").value));
    Object.assign(by("zip"), this.backend.archive(by("model").value));
    if (count > 1 && done === count) announce(`All ${count} scans are read.`);
    if (this.scan.entry) this.#place(this.scan.entry);
    this.player.refresh();
  }

  /** Remove what is shown: a scan, or a clip with all its frames. */
  async #close() {
    const entry = this.#shown;
    if (!entry.clip) {
      await this.#remove(entry);
      return;
    }
    const frames = this.#framesOf(entry), at = this.#entries.indexOf(frames[0]);
    this.player.leave();
    this.#entries = this.#entries.filter((one) => !frames.includes(one));
    this.#showOther(at);
    await this.#release(frames);
  }

  /** Show the scan that has taken the position of a removed one. */
  #showOther(at) {
    this.scan.leave();
    const readable = this.#entries.filter((one) => !one.error);
    if (readable.length && !by("view-scan").hidden) this.#open(readable[Math.min(at, readable.length - 1)]);
    else this.#welcome();
    this.#refresh();
  }

  async #release(entries) {
    for (const entry of entries) {
      if (entry.picture) URL.revokeObjectURL(entry.picture);
      await this.backend.remove(entry.id).catch(() => {});
    }
    await this.#sumUp();
  }

  async #remove(entry) {
    const at = this.#entries.indexOf(entry);
    if (by("table-frame").contains(document.activeElement)) by("table-frame").focus();
    const isShown = entry === this.#shown;
    this.#entries.splice(at, 1);
    if (isShown) this.#showOther(at);
    else if (entry.clip && entry.clip.id === this.player.entry?.clip.id) this.player.show(this.#shown, this.#framesOf(entry));
    this.#refresh();
    await this.#release([entry]);
  }

  async #clear() {
    const all = this.#entries;
    this.#entries = [];
    this.scan.leave();
    this.#welcome();
    this.#refresh();
    await this.#release(all);
  }

  #welcome() {
    const lost = by("result").contains(document.activeElement);
    this.player.leave();
    by("welcome").hidden = false;
    by("result").hidden = true;
    if (lost) by("files").focus();
  }

  #changeModel() {
    for (const entry of this.#entries) Object.assign(entry, UNREAD);
    this.player.forget();
    this.#refresh();
    if (this.#shown) this.#open(this.#shown);
    else this.#fill();
  }

  /** Show the new reader's own readings in the table; that of the displayed scan is loaded already. */
  #changeReader() {
    for (const entry of this.#entries) if (entry.reading && entry !== this.scan.entry) this.scan.reading.choose(entry);
    this.#refresh();
  }

  async #card() {
    try {
      by("card-body").innerHTML = await this.backend.card(by("model").value); // made of Markdown by the library, markup in it is text
      by("card").showModal();
    } catch (error) {
      showProblem(error.message);
    }
  }

  async #report(file) {
    by("report-file").value = "";
    if (!file) return;
    showProblem("");
    openTab("report");
    try {
      by("report").src = await this.backend.report(file);
      by("report").hidden = false;
      announce(`${file.name} is open.`);
    } catch (error) {
      showProblem(error.message);
    }
  }
}

/**
 * Start the page once its backend is ready.
 * @param {Promise<import("./backend.js").Backend>} backend
 */
export function startPage(backend) {
  startTheme();
  startTabs();
  backend.then(
    (opened) => new Page(opened),
    (error) => showProblem(error.message),
  );
}
