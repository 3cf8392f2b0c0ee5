// Connected components of a mask as runs of pixels, as bcdseg/inference/lesions.py finds them. Pixels that touch at a corner are
// connected.

/**
 * A component: row, first column and column after the last one of each run, from the top left to the bottom right.
 * @typedef {object} Component
 * @property {number[]} rows
 * @property {number[]} starts
 * @property {number[]} stops
 * @property {number} pixels
 * @property {[number, number, number]} shared Numbers of pixels with a pixel of the component directly below, below to the left and below to the right.
 */

/**
 * Return the components of a mask, in the order of their first runs.
 * @param {Uint8Array} mask One byte per pixel, row by row; 1 is lesion.
 * @returns {Component[]}
 */
export function findComponents(mask, width, height) {
  const rows = [], starts = [], stops = [], root = [], pairs = [];
  let above = 0; // the first run of the row above
  for (let row = 0, first = 0; row < height; row++, above = first, first = rows.length) {
    let candidate = above;
    for (let at = row * width, end = at + width; at < end; at++) {
      if (!mask[at]) continue;
      const start = at - row * width;
      while (at < end && mask[at]) at++;
      const stop = at - row * width, run = rows.push(row) - 1;
      starts.push(start);
      stops.push(stop);
      root.push(run);
      while (candidate < first && stops[candidate] < start) candidate++;
      for (let other = candidate; other < first && starts[other] <= stop; other++) {
        pairs.push([other, run]);
        join(root, other, run);
      }
    }
  }
  const components = new Map();
  rows.forEach((row, run) => {
    const number = rootOf(root, run);
    if (!components.has(number)) components.set(number, { rows: [], starts: [], stops: [], pixels: 0, shared: [0, 0, 0] });
    const component = components.get(number);
    component.rows.push(row);
    component.starts.push(starts[run]);
    component.stops.push(stops[run]);
    component.pixels += stops[run] - starts[run];
  });
  for (const [upper, lower] of pairs) {
    const { shared } = components.get(rootOf(root, upper));
    [0, 1, -1].forEach((by, at) => {
      shared[at] += Math.max(0, Math.min(stops[upper], stops[lower] + by) - Math.max(starts[upper], starts[lower] + by));
    });
  }
  return [...components.values()];
}

/** Paint components on an empty mask. */
export function maskOf(components, width, height) {
  const mask = new Uint8Array(width * height);
  for (const { rows, starts, stops } of components) rows.forEach((row, run) => mask.fill(1, row * width + starts[run], row * width + stops[run]));
  return mask;
}

function rootOf(root, run) {
  while (root[run] !== run) run = root[run] = root[root[run]];
  return run;
}

/** Join the components of two runs; their root is the run that comes first. */
function join(root, one, other) {
  const [first, second] = [rootOf(root, one), rootOf(root, other)];
  root[Math.max(first, second)] = Math.min(first, second);
}
