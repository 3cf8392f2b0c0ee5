// The batch as a table that sorts.

import { all, by, make, percent } from "./dom.js";

/** @type {[string, string, (entry: any) => any][]} */
const COLUMNS = [
  ["name", "Scan", (entry) => entry.name],
  ["label", "Class", (entry) => entry.row?.label ?? ""],
  ["probability", "Probability", (entry) => share(entry) ?? -1],
  ["lesions", "Lesions", (entry) => entry.row?.lesions ?? -1],
  ["size", "Largest", (entry) => length(entry.row ?? {})],
  ["warnings", "Warnings", (entry) => entry.warnings?.length ?? -1],
  ["priority", "Review first", (entry) => entry.priority?.score ?? -1],
  ["reading", "Your reading", (entry) => readingInWords(entry)],
];
const TEXTS = ["name", "label", "reading"]; // sorted upwards first
const natural = new Intl.Collator(undefined, { numeric: true });

// Pixels and millimetres can't be compared: what is known in millimetres comes after the rest.
const length = (row) => (row.long_axis_mm === undefined ? (row.long_axis_px ?? -1) : 1e6 + row.long_axis_mm);

function share(entry) {
  return entry.row?.label ? entry.row[`probability_${entry.row.label}`] : undefined;
}

export class Table {
  #by = null;
  #falling = false;
  #entries = [];
  #shown = new WeakMap(); // the row of each scan, and what it shows

  /** Create the table; `open` and `remove` are called with a scan of it. */
  constructor(open, remove) {
    this.open = open;
    this.remove = remove;
    const heads = COLUMNS.map(([key, title]) => make("th", { scope: "col", "data-key": key }, make("button", { type: "button", onclick: () => this.#sort(key) }, title)));
    by("table-head").replaceChildren(...heads, make("th", { scope: "col" }, make("span", { class: "unseen" }, "Remove")));
  }

  show(entries) {
    this.#entries = entries;
    this.#draw();
  }

  /** The scans in the order of the table. */
  get sorted() {
    const value = COLUMNS.find(([key]) => key === this.#by)?.[2];
    const turn = this.#falling ? -1 : 1;
    const order = (one, other) => {
      const [a, b] = [value(one), value(other)];
      return turn * (typeof a === "string" ? natural.compare(a, b) : a - b);
    };
    return value ? this.#entries.toSorted(order) : this.#entries;
  }

  #sort(key) {
    this.#falling = this.#by === key ? !this.#falling : !TEXTS.includes(key);
    this.#by = key;
    this.#draw();
  }

  #draw() {
    for (const head of all("[data-key]", by("table-head"))) {
      if (head.dataset.key === this.#by) head.setAttribute("aria-sort", this.#falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const body = by("table-body"), rows = this.sorted.map((entry) => this.#rowOf(entry));
    rows.forEach((row, at) => {
      if (body.children[at] !== row) body.insertBefore(row, body.children[at] ?? null);
    });
    while (body.children.length > rows.length) body.lastChild.remove();
  }

  /** Return the row of a scan, a new one where something has changed. */
  #rowOf(entry) {
    const content = JSON.stringify([entry.error, entry.row, entry.warnings, entry.priority, readingInWords(entry)]);
    if (this.#shown.get(entry)?.content !== content) this.#shown.set(entry, { content, row: this.#row(entry) });
    return this.#shown.get(entry).row;
  }

  #row(entry) {
    const link = () => make("button", { type: "button", class: "link", onclick: () => this.open(entry) }, entry.name);
    const name = make("th", { scope: "row" }, entry.error ? entry.name : link());
    const remove = make("td", {}, make("button", { type: "button", class: "quiet icon", "aria-label": `Remove ${entry.name}`, onclick: () => this.remove(entry) }, "×"));
    if (entry.error) return make("tr", {}, name, make("td", { class: "unread", colspan: "7" }, make("span", {}, `Not read. ${entry.error}`)), remove);
    if (!entry.row) return make("tr", {}, name, make("td", { class: "soft", colspan: "7" }, "Waiting"), remove);
    const { row } = entry;
    return make(
      "tr",
      {},
      name,
      make("td", {}, row.label || "none"),
      make("td", {}, share(entry) === undefined ? "" : percent(share(entry))),
      make("td", {}, String(row.lesions ?? "")),
      make("td", { class: "size" }, size(row)),
      entry.warnings?.length ? make("td", { class: "warned" }, entry.warnings.join(" ")) : make("td", { class: "soft" }, "none"),
      make("td", { class: "reasons", title: `Score ${entry.priority.score.toFixed(2)} of 2` }, entry.priority.reasons.join("; ") || "clear"),
      make("td", {}, readingInWords(entry)),
      remove,
    );
  }
}

/** Return verdict and corrections of the page's reader, also for scans that were not opened yet. */
function readingInWords(entry) {
  const { reader, stored } = entry.reading ?? {};
  if (!stored || stored.reader !== reader) return "";
  const { verdict, label, outline } = stored;
  return [verdict, label, outline === "corrected" && "outline corrected"].filter(Boolean).join(", ");
}

function size(row) {
  if (row.long_axis_mm !== undefined) return `${row.long_axis_mm.toFixed(1)} × ${row.short_axis_mm.toFixed(1)} mm`;
  return row.long_axis_px === undefined ? "" : `${row.long_axis_px.toFixed(0)} × ${row.short_axis_px.toFixed(0)} px`;
}
