// Keys: one table from which they act and in which they are listed.

import { by, make } from "../dom.js";

const OWN_KEYS = "input:not([type=checkbox], [type=file], [type=range]), select, textarea";
const MOVING = "input[type=range], [role=tab]"; // the arrow keys are their own
const PRESSED = "button, summary, a, input:not([type=range]), select"; // the space bar presses them

/** Return whether a key belongs to the element that has the focus. */
const hasOwn = ({ target, key }) =>
  target.closest?.(OWN_KEYS) || (key.startsWith("Arrow") && target.closest?.(MOVING)) || (key === " " && target.closest?.(PRESSED));

/** Return the name of a key with its modifiers, as in the table: `Ctrl+z`, `Shift+J`, `ArrowLeft`, `Space`. */
export function nameOf({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  const modifiers = [(ctrlKey || metaKey) && "Ctrl", altKey && "Alt", shiftKey && (ctrlKey || metaKey) && "Shift"];
  const name = key === " " ? "Space" : key;
  return [...modifiers.filter(Boolean), ctrlKey || metaKey ? name.toLowerCase() : name].join("+");
}

export class Keys {
  #groups;
  #actions = new Map();

  /**
   * Create the keys; `groups` are [title, [[keys, words, action], ...]]; keys with the same action are separated by spaces, and an action that is null
   * is not offered. `active` returns whether the keys of a title are active.
   */
  constructor(groups, active) {
    this.#groups = groups.map(([title, rows]) => [title, rows.filter(([, , action]) => action)]).filter(([, rows]) => rows.length);
    this.active = active;
    for (const [title, rows] of this.#groups) for (const [keys, , action] of rows) for (const key of keys.split(" ")) this.#actions.set(key, [title, action]);
    this.#list();
    addEventListener("keydown", (event) => this.#press(event));
    by("keys-open").addEventListener("click", () => this.show());
    by("keys-close").addEventListener("click", () => by("keys").close());
    by("keys-on").addEventListener("change", () => this.#store());
    by("keys-on").checked = stored() !== "off";
  }

  show() {
    by("keys").showModal();
  }

  #press(event) {
    if (event.defaultPrevented || hasOwn(event) || document.querySelector("dialog[open]")) return;
    if (!by("keys-on").checked && !event.ctrlKey && !event.metaKey) return;
    const [title, action] = this.#actions.get(nameOf(event)) ?? [];
    if (!action || !this.active(title)) return;
    event.preventDefault();
    action(event);
  }

  #list() {
    const tables = this.#groups.map(([title, rows]) =>
      make("section", {}, make("h3", {}, title), make("dl", {}, ...rows.flatMap(([keys, words]) => [make("dt", {}, ...keys.split(" ").flatMap((key, at) => [at ? " " : "", make("kbd", {}, shown(key))])), make("dd", {}, words)]))),
    );
    by("keys-list").replaceChildren(...tables);
  }

  #store() {
    try {
      localStorage.setItem("keys", by("keys-on").checked ? "on" : "off");
    } catch {
      // it lasts as long as the page does
    }
  }
}

function stored() {
  try {
    return localStorage.getItem("keys");
  } catch {
    return null;
  }
}

const SHOWN = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", "+": "+" };

/** Return a key as it is printed on a keyboard. */
function shown(key) {
  if (key in SHOWN) return SHOWN[key];
  if (/^[A-Z]$/.test(key)) return `Shift + ${key}`;
  return key.split("+").map((part) => (/^[a-z]$/.test(part) ? part.toUpperCase() : part)).join(" + ");
}
