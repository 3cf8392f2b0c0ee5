// Light, dark, or as the system has it; kept in this browser only.

import { by } from "./dom.js";

const NEXT = { auto: "light", light: "dark", dark: "auto" };
const SHOWN = { auto: "Theme: auto", light: "Theme: light", dark: "Theme: dark" };

function stored() {
  try {
    return localStorage.getItem("theme") in NEXT ? localStorage.getItem("theme") : "auto";
  } catch {
    return "auto"; // a browser that stores nothing
  }
}

function apply(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  by("theme").textContent = SHOWN[theme];
}

export function startTheme() {
  let theme = stored();
  apply(theme);
  by("theme").addEventListener("click", () => {
    theme = NEXT[theme];
    apply(theme);
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // it lasts as long as the page does
    }
  });
}
