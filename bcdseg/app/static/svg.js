// Elements drawn over the scan.

const SVG = "http://www.w3.org/2000/svg";

/** Create an SVG element with attributes. */
export function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
