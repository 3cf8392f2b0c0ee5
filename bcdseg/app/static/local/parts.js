// The parts of the page that are data: scripts next to the page, since a page that is opened from a folder may load nothing else.

import { make } from "../dom.js";
import { Refused } from "../backend.js";

/**
 * Load a part: facts of the model, the model itself, or the runtime.
 * @param {"facts" | "model" | "runtime"} name
 * @returns {Promise<any>}
 */
export function loadPart(name) {
  return new Promise((resolve, reject) => {
    const onload = () => {
      const parts = /** @type {any} */ (globalThis).bcdsegParts, part = parts[name];
      delete parts[name]; // a model takes some 20 MB
      resolve(part);
    };
    const onerror = () => reject(new Refused(`${name}.js could not be loaded. It belongs next to the page: copy the whole folder, then reload the page.`));
    document.head.append(make("script", { src: `${name}.js`, onload, onerror }));
  });
}
