"use strict";

// Without scripts the page is complete: tables keep their order, and pictures their size.

const NUMBER = /^[+\-\u2212]?\d[\d.]*/;

function text(row, column) {
  const cell = row.cells[column];
  return (cell.firstChild ? cell.firstChild.textContent : "").trim();
}

function numberOf(value) {
  const found = value.match(NUMBER);
  return found ? parseFloat(found[0].replace("\u2212", "-")) : null;
}

// Rows without a value (a dash) stay at the end in both directions.
function compared(first, second, numeric, sign) {
  const missing = [first, second].map((value) => value === "" || value === "\u2013");
  if (missing[0] || missing[1]) return missing[0] - missing[1];
  return sign * (numeric ? numberOf(first) - numberOf(second) : first.localeCompare(second, undefined, { numeric: true }));
}

function sort(table, column, sign) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const values = rows.map((row) => text(row, column)).filter((value) => value !== "" && value !== "\u2013");
  const numeric = values.every((value) => numberOf(value) !== null);
  rows.sort((a, b) => compared(text(a, column), text(b, column), numeric, sign));
  body.append(...rows);
  for (const [at, head] of [...table.tHead.rows[0].cells].entries()) {
    if (at === column) head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
}

function makeSortable(table) {
  for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, column, head.getAttribute("aria-sort") === "ascending" ? -1 : 1));
    head.append(button);
  }
}

const MOST_CHOICES = 12;

function filterOf(table, column, title, changed) {
  const values = [...new Set([...table.tBodies[0].rows].map((row) => text(row, column)))].sort();
  if (values.length < 2 || values.length > MOST_CHOICES || values.every((value) => numberOf(value) !== null)) return null;
  const label = document.createElement("label");
  const choice = document.createElement("select");
  for (const value of ["", ...values]) choice.append(new Option(value === "" ? "all" : value, value));
  choice.addEventListener("change", changed);
  label.append(title, " ", choice);
  return { label, matches: (row) => choice.value === "" || text(row, column) === choice.value };
}

function makeSearchable(table) {
  const search = document.createElement("input");
  const count = document.createElement("output");
  const tools = document.createElement("div");
  search.type = "search";
  search.placeholder = "Search";
  search.setAttribute("aria-label", "Search the table");
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const content = row.textContent.toLowerCase();
      row.hidden = !(words.every((word) => content.includes(word)) && filters.every((filter) => filter.matches(row)));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${table.tBodies[0].rows.length}`;
  };
  const heads = [...table.tHead.rows[0].cells];
  const filters = heads.map((head, column) => filterOf(table, column, head.textContent, show)).filter(Boolean);
  search.addEventListener("input", show);
  tools.className = "tools";
  tools.append(search, ...filters.map((filter) => filter.label), count);
  table.parentElement.before(tools);
  show();
}

for (const table of document.querySelectorAll("table:not(.facts)")) {
  if (table.classList.contains("search")) makeSearchable(table);
  if (table.tBodies[0].rows.length > 1) makeSortable(table);
}

for (const figure of document.querySelectorAll("figure:not(.wide)")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "picture";
  button.setAttribute("aria-pressed", "false");
  button.title = "Larger or smaller";
  const image = figure.querySelector("img");
  image.replaceWith(button);
  button.append(image);
  button.addEventListener("click", () => {
    const large = figure.classList.toggle("wide");
    button.setAttribute("aria-pressed", String(large));
    figure.scrollIntoView({ block: "nearest" });
  });
}
