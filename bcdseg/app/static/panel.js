// The prediction of a scan, next to it. Every number comes from the library.

import { by, make, percent } from "./dom.js";

const KINDS = { "overlay.png": "Overlay PNG", "mask.png": "Mask PNG", "prediction.json": "JSON", "outline.dcm": "DICOM-SEG" };
const CANDIDATE = "No lesion is found. The dashed outline is a candidate: the probability of a lesion is below the model's threshold.";
const SUGGESTED = "Shape, orientation, margin, echo pattern and posterior features are suggestions by fixed rules. Their agreement with readers has not been measured.";
const NO_SEG = "DICOM-SEG refers to the DICOM image that it outlines, so it can be written for a DICOM scan only.";
const SEG = "The DICOM-SEG carries no name, number or date of the patient; its UIDs are replaced.";

/** Show class, probabilities, warnings, lesions and scale of a prediction. */
export function showPrediction(prediction) {
  by("panel").classList.remove("stale");
  verdict(prediction);
  points(prediction);
  warnings(prediction);
  lesions(prediction);
  scale(prediction);
}

/** Show links to files of the model's prediction, by their names. */
export function showDownloads(prediction, links, own) {
  const buttons = Object.entries(links).filter(([name]) => name === "prediction.json" || prediction.edges !== null).map(([name, link]) => {
    const barred = name === "outline.dcm" && !prediction.dicom;
    return barred
      ? make("a", { class: "button", role: "link", "aria-disabled": "true", "aria-describedby": "seg-note" }, KINDS[name])
      : Object.assign(make("a", { class: "button" }, KINDS[name]), link);
  });
  by("downloads").replaceChildren(...buttons);
  const segmentation = "outline.dcm" in links ? (prediction.dicom ? SEG : NO_SEG) : "";
  by("seg-note").textContent = prediction.edges === null ? "This model only classifies: there is no outline." : segmentation;
  by("own-note").hidden = !own;
}

/** Return the prediction as one sentence for screen readers. */
export function inWords(prediction) {
  const predicted = prediction.label === null ? "No class" : `Predicted ${prediction.label}, ${percent(prediction.confidence)}`;
  const count = prediction.lesions.length;
  const outlined = prediction.edges === null ? "" : !count ? ", nothing outlined" : `, ${count === 1 ? "one lesion" : `${count} lesions`} outlined: ${prediction.sizes.join(", ")}`;
  return `${prediction.source}: ${predicted}${outlined}. ${prediction.flags.length ? `Warnings: ${prediction.flags.map((flag) => flag.message).join(" ")}` : "No warnings."}`;
}

function verdict(prediction) {
  const shown = prediction.label === null ? ["No class"] : [prediction.label, " ", make("small", {}, `at ${percent(prediction.confidence)}`)];
  by("verdict").replaceChildren(...shown);
  by("bars").replaceChildren(...bars(prediction.probabilities, prediction.label));
}

/** Return the probability of each class with a bar; one class is marked as predicted. */
export function bars(probabilities, label) {
  return Object.entries(probabilities).flatMap(([name, share]) => {
    const chosen = name === label ? "chosen" : "";
    const bar = make("i");
    bar.style.width = `${share * 100}%`;
    return [
      make("span", { class: chosen }, name),
      make("span", { class: `track ${chosen}`, "aria-hidden": "true" }, bar),
      make("span", { class: `share ${chosen}` }, percent(share)),
    ];
  });
}

function points(prediction) {
  const names = Object.keys(prediction.points), chosen = prediction.operating_point ?? "";
  by("points").hidden = !names.length;
  by("point").replaceChildren(...["", ...names].map((name) => make("option", { value: name, selected: name === chosen }, name || "the most probable class")));
  by("point-note").textContent = prediction.points[chosen] ?? "";
}

function warnings(prediction) {
  const words = prediction.flags.map((flag) => flag.message);
  if (!prediction.trained) words.unshift("This model was not trained: its predictions mean nothing.");
  const items = words.map((one) => make("li", {}, one));
  by("warnings").replaceChildren(...(items.length ? items : [make("li", { class: "none" }, "Nothing was flagged. The model can still be wrong.")]));
}

function lesions(prediction) {
  by("lesions-card").hidden = prediction.edges === null;
  const each = prediction.lesions.map((lesion, at) => lesionItem(lesion, at + 1, prediction));
  const nothing = make("p", { class: "soft" }, prediction.candidates.length ? CANDIDATE : "Nothing is outlined at this threshold.");
  by("lesions").replaceChildren(...(each.length ? each : [nothing]));
}

function lesionItem(lesion, number, prediction) {
  const inMillimetres = lesion.long_axis_mm !== null;
  const pixels = `${lesion.long_axis_px.toFixed(0)} × ${lesion.short_axis_px.toFixed(0)} px`;
  const size = inMillimetres ? `${lesion.long_axis_mm.toFixed(1)} × ${lesion.short_axis_mm.toFixed(1)} mm` : pixels;
  const facts = [
    inMillimetres && ["In pixels", pixels],
    ["Area", inMillimetres ? `${lesion.area_mm2.toFixed(1)} mm², ${lesion.area_px} px` : `${lesion.area_px} px`],
    ["Height over width", `${lesion.taller_than_wide.toFixed(2)}${lesion.taller_than_wide > 1 ? " (taller than wide)" : ""}`],
    ["Mean probability", percent(lesion.probability)],
    ...descriptors(lesion),
  ].filter(Boolean);
  const axes = number === 1 ? make("p", { class: "soft small" }, make("span", { class: "key long" }), "long axis ", make("span", { class: "key short" }), "short axis", make("br"), SUGGESTED) : null;
  return make(
    "div",
    { class: "lesion" },
    make("span", { class: "number", "aria-hidden": "true" }, String(number)),
    make("div", {}, make("h3", {}, make("span", { class: "unseen" }, `Lesion ${number} of ${prediction.lesions.length}: `), size), make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])), axes),
  );
}

/** Return the suggested BI-RADS descriptors that are known, with the number that they follow from. */
function descriptors({ descriptors: words, appearance }) {
  const edge = appearance?.abrupt_edge, echo = appearance?.echo_ratio, behind = appearance?.posterior_ratio;
  const followed = (word, of, text) => (of === null || of === undefined ? word : `${word} (${text(of)})`);
  return [
    ["Shape", words.shape],
    ["Orientation", words.orientation],
    words.margin !== null && ["Margin", followed(words.margin, edge, (share) => `abrupt along ${percent(share)} of the outline`)],
    words.echo_pattern !== null && ["Echo pattern", followed(words.echo_pattern, echo, (ratio) => `${ratio.toFixed(2)} of the adjacent gray`)],
    words.posterior !== null && ["Posterior", followed(words.posterior, behind, (ratio) => `${ratio.toFixed(2)} of the adjacent gray`)],
  ];
}

function scale(prediction) {
  const [down, across] = prediction.spacing_mm ?? [];
  const size = down === across ? `${number(down)} mm per pixel` : `${number(down)} mm per pixel down, ${number(across)} across`;
  by("scale-words").textContent = prediction.spacing_mm
    ? `Scale: ${size}, ${prediction.origin}.`
    : "The file has no scale, so sizes are in pixels. Do you know it?";
  by("spacing-reset").hidden = prediction.spacing_from !== "given";
}

const number = (value) => (value === undefined ? "" : String(Number(value.toPrecision(4))));
