// Rules for the page's modules: what eslint recommends, with the names that browsers have.

import js from "@eslint/js";

const names = ["document", "window", "navigator", "location", "localStorage", "fetch", "addEventListener", "setTimeout", "clearTimeout", "requestAnimationFrame", "performance", "URLSearchParams", "AbortController", "DOMException", "ResizeObserver", "Response", "File", "TextDecoder", "Image", "ImageData", "OffscreenCanvas", "Path2D", "createImageBitmap", "URL", "Blob", "Worker", "atob", "DecompressionStream"];

const ofWorkers = ["self", "onmessage", "postMessage"];
const readonly = (list) => Object.fromEntries(list.map((name) => [name, "readonly"]));

export default [
  { ...js.configs.recommended, files: ["**/*.js", "**/*.mjs"] },
  {
    files: ["**/*.js", "**/*.mjs"],
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: readonly(names) },
    rules: { eqeqeq: ["error", "always", { null: "ignore" }], "no-var": "error", "prefer-const": "error", "no-implied-eval": "error" },
  },
  { files: ["**/*.mjs"], languageOptions: { globals: readonly(["process", "Buffer"]) } },
  { files: ["**/*_worker.js"], languageOptions: { globals: { ...readonly(ofWorkers), onmessage: "writable" } } },
];
