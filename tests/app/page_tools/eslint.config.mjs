// Rules for the page's modules: what eslint recommends, with the names that browsers have.

import js from "@eslint/js";

const names = ["document", "window", "navigator", "location", "localStorage", "fetch", "addEventListener", "setTimeout", "clearTimeout", "requestAnimationFrame", "URLSearchParams", "AbortController", "DOMException", "ResizeObserver", "Response", "File", "TextDecoder", "Image"];

export default [
  { ...js.configs.recommended, files: ["**/*.js", "**/*.mjs"] },
  {
    files: ["**/*.js", "**/*.mjs"],
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: Object.fromEntries(names.map((name) => [name, "readonly"])) },
    rules: { eqeqeq: ["error", "always", { null: "ignore" }], "no-var": "error", "prefer-const": "error", "no-implied-eval": "error" },
  },
];
