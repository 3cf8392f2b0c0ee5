// Predictions as tables and JSON, as bcdseg/inference/writers.py, prediction.py and table_text.py write them.

const LESION_COLUMNS = ["long_axis_px", "short_axis_px", "long_axis_mm", "short_axis_mm"];
const DESCRIPTOR_COLUMNS = ["shape", "orientation", "margin", "echo_pattern", "posterior"];
const COLUMNS = ["label_set", "ood_score", "spread", "lesions", "candidates", "area_px", "area_mm2", ...LESION_COLUMNS, ...DESCRIPTOR_COLUMNS, "spacing_from", "flags", "error"];
const WHOLE = ["lesions", "candidates", "area_px"];
const SIZES = ["area_mm2", ...LESION_COLUMNS];
const FORMULA = /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/; // texts that a spreadsheet program would run, unless they are a
const NUMBER = /^[+-](\d+(\.\d*)?([eE][+-]?\d+)?|inf|nan)$/;

/** Return the row of a scan: class, probabilities, largest lesion and codes of the warnings. */
export function rowOf(prediction) {
  const { source, label, probabilities, label_set: set, ood_score: score, flags, edges, lesions, candidates } = prediction;
  const row = { source, label: label ?? "" };
  for (const [name, value] of Object.entries(probabilities)) row[`probability_${name}`] = Number(value.toFixed(4));
  if (set !== null) row.label_set = set.join(" ");
  if (score !== null) row.ood_score = score;
  row.flags = flags.map(({ code }) => code).join(" ");
  if (edges === null) return row;
  Object.assign(row, { lesions: lesions.length, candidates: candidates.length, area_px: lesions.reduce((total, { area_px: area }) => total + area, 0) });
  for (const name of LESION_COLUMNS) if (lesions.length && lesions[0][name] !== null) row[name] = lesions[0][name];
  for (const name of DESCRIPTOR_COLUMNS) if (lesions.length && lesions[0].descriptors[name] !== null) row[name] = lesions[0].descriptors[name];
  return row;
}

const FACTS = ["source", "height", "width", "label", "probabilities", "label_set", "ood_score", "lesions", "candidates", "flags", "spacing_mm", "spacing_from", "frame", "threshold", "operating_point", "windows", "spread", "uncertainty_from"];

/** Return a prediction as the content of a JSON file. */
export const jsonOf = (prediction) => `${JSON.stringify(Object.fromEntries(FACTS.map((name) => [name, prediction[name]])), null, 2)}\n`;

/** Return the row of a file that can't be read. */
export const failureRow = (source, error) => ({ source, error });

/** Return rows as CSV, with two decimals for sizes. */
export function csvOf(rows, classes) {
  const columns = ["source", "label", ...classes.map((name) => `probability_${name}`), ...COLUMNS];
  return [columns, ...rows.map((row) => columns.map((name) => cell(name, row[name] ?? "")))].map((cells) => `${cells.map(quoted).join(",")}\n`).join("");
}

function cell(name, value) {
  if (typeof value === "string") return FORMULA.test(value) && !NUMBER.test(value) ? `'${value}` : value;
  if (WHOLE.includes(name)) return String(value);
  const number = SIZES.includes(name) ? Number(value.toFixed(2)) : value;
  return Number.isInteger(number) ? number.toFixed(1) : String(number);
}

const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
