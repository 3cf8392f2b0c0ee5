// Small helpers for the page's own elements. Text is always set as text, never as markup.

/**
 * Return the element with an id.
 * @returns {any}
 */
export const by = (id) => document.getElementById(id);

/**
 * Return the elements below one that match a selector.
 * @returns {any[]}
 */
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Create an element with attributes and children; `on...` attributes are listeners. */
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

/** Return a function that calls another one after some time without further calls. */
export function debounced(action, milliseconds) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), milliseconds);
  };
}

/** Announce a change to screen readers. */
export function announce(words) {
  by("status").textContent = words;
}

/** Show a problem until it is dismissed or replaced; an empty text hides it. */
export function showProblem(words) {
  by("problem-words").textContent = words;
  by("problem").hidden = !words;
}

/** Return a probability as text. */
export function percent(share) {
  if (share > 0.99 && share < 1) return "> 99 %";
  if (share > 0 && share < 0.01) return "< 1 %";
  return `${Math.round(share * 100)} %`;
}
