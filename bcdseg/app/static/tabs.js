// Tabs as screen readers and keyboards expect them: arrow keys move, one of them is in the tab order.

import { all } from "./dom.js";

const tabs = all('[role="tab"]');

export function openTab(name) {
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !chosen;
  }
}

export function startTabs() {
  const offered = tabs.filter((tab) => tab.checkVisibility());
  for (const [at, tab] of offered.entries()) {
    tab.addEventListener("click", () => openTab(tab.id.slice("tab-".length)));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: offered.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const other = offered[(to + offered.length) % offered.length];
      other.focus();
      other.click();
    });
  }
}
