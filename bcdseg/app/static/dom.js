// Small helpers for the page's own elements. Text is always set as text, never as markup.

/**
 * The element with an id.
 * @returns {any}
 */
export const by = (id) => document.getElementById(id);

/**
 * The elements below one that match a selector.
 * @returns {any[]}
 */
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/** An element with attributes and children; `on...` attributes are listeners. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** Calls a function once things have been still for a while. */
export function debounced(action, milliseconds) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), milliseconds);
  };
}

/** Announces a change to screen readers. */
export function say(words) {
  by("status").textContent = words;
}

/** Shows what went wrong, until it is dismissed or something else is said. */
export function complain(words) {
  by("problem-words").textContent = words;
  by("problem").hidden = !words;
}

/** A probability as a person reads it. */
export function percent(share) {
  if (share > 0.99 && share < 1) return "> 99 %";
  if (share > 0 && share < 0.01) return "< 1 %";
  return `${Math.round(share * 100)} %`;
}
