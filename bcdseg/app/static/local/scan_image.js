// Files as pixels. The browser decodes them; files that it would decode differently from the library are refused.

import { Refused } from "../backend.js";

/**
 * A decoded scan, at 8 bits.
 * @typedef {object} ScanImage
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {Uint8ClampedArray} rgba
 * @property {Uint8Array} gray
 */

const UNREADABLE = 422;
const HEAD = 132; // bytes from which the kind of a file follows
const DEEP = 16; // bits per pixel and channel

/** Return the kind of a file by its first bytes; empty where it is unknown. */
export function kindOf(head) {
  const text = String.fromCharCode(...head);
  if (text.startsWith("\x89PNG\r\n\x1a\n")) return head[24] === DEEP ? "PNG of 16 bits" : "PNG";
  if (text.startsWith("\xff\xd8\xff")) return "JPEG";
  if (text.startsWith("BM")) return "BMP";
  if (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") return "WebP";
  if (text.startsWith("II*\0") || text.startsWith("MM\0*")) return "TIFF";
  return text.slice(128, 132) === "DICM" ? "DICOM" : "";
}

const CLIPS = { GIF: /^GIF8/, AVI: /^RIFF.{4}AVI /s, "MP4 or MOV": /^.{4}(ftyp|moov|mdat|wide)/s, "WebM or Matroska": /^.E\xdf\xa3/s, "animated WebP": /^RIFF.{4}WEBPVP8X/s, "animated PNG": /^\x89PNG.{33}acTL/s };
const ANIMATED = 2; // the bit of an extended WebP that is set where it has several frames

/** Return the kind of a clip by the first bytes of its file; empty for other files. */
export function clipKindOf(head) {
  const text = String.fromCharCode(...head);
  const [kind] = Object.entries(CLIPS).find(([, start]) => start.test(text)) ?? [""];
  return kind === "animated WebP" && !(head[20] & ANIMATED) ? "" : kind;
}

/** Raise an error that names the kind of a file, unless it is a kind that is read here. */
export async function checkKind(file) {
  const head = new Uint8Array(await file.slice(0, HEAD).arrayBuffer().catch(() => refuse(`${file.name}: can't be read. Of a folder, drop the files in it.`)));
  const kind = kindOf(head), clip = clipKindOf(head);
  if (clip) refuse(`${file.name}: is a clip (${clip}), which this page can't play. bcdseg app plays DICOM, MP4, AVI and MOV.`);
  if (kind === "") refuse(`${file.name}: is not an image in a format that is read here (PNG, JPEG, BMP, WebP), whatever its name is.`);
  if (!["PNG", "JPEG", "BMP", "WebP"].includes(kind)) refuse(`${file.name}: is ${kind}, which this page can't read. bcdseg app and bcdseg predict read it${kind === "DICOM" ? ", also clips" : ""}.`);
}

/**
 * Read an image: its orientation is applied, transparent pixels are blended with black, and its colour profile is not.
 * @param {File} file
 * @param {{pixels: number, smallest: number, largest: number}} limits
 * @returns {Promise<ScanImage>}
 */
export async function readScan(file, limits) {
  await checkKind(file);
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image" }).catch(() =>
    refuse(`${file.name}: the file is truncated or damaged. Copy or export it again.`),
  );
  const { width, height } = bitmap, size = `is ${height}x${width} pixels`;
  if (Math.min(width, height) < limits.smallest) refuse(`${file.name}: ${size}; the smallest that is read is ${limits.smallest}x${limits.smallest}.`);
  if (Math.max(width, height) > limits.largest || width * height > limits.pixels) {
    refuse(`${file.name}: ${size}, more than this page takes (${limits.pixels / 1e6} million). Make it smaller, or use bcdseg predict.`);
  }
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  return { name: file.name, width, height, rgba, gray: grayOf(rgba) };
}

/** Convert colour to gray by luma (ITU-R 601), with the integers that Pillow uses. */
export function grayOf(rgba) {
  const gray = new Uint8Array(rgba.length / 4);
  for (let at = 0; at < gray.length; at++) {
    gray[at] = (19595 * rgba[4 * at] + 38470 * rgba[4 * at + 1] + 7471 * rgba[4 * at + 2] + 32768) >>> 16;
  }
  return gray;
}

/** Return the mask in a mask file: above 0, or above half of the brightest value where there are many levels. */
export function maskIn({ rgba }) {
  const value = new Uint8Array(rgba.length / 4);
  for (let at = 0; at < value.length; at++) value[at] = Math.max(rgba[4 * at], rgba[4 * at + 1], rgba[4 * at + 2]);
  const levels = new Set(value), least = levels.size <= 8 ? 0 : Math.max(...levels) / 2;
  return value.map((one) => Number(one > least));
}

/** Return whether the browser returns drawn pixels unchanged; some change them against fingerprinting. */
export function readsPixels() {
  const side = 16, canvas = new OffscreenCanvas(side, side), context = canvas.getContext("2d");
  const drawn = new ImageData(Uint8ClampedArray.from({ length: 4 * side * side }, (_, at) => (at % 4 === 3 ? 255 : (at * 37) % 256)), side, side);
  context.putImageData(drawn, 0, 0);
  return context.getImageData(0, 0, side, side).data.every((value, at) => value === drawn.data[at]);
}

/** @returns {never} */
function refuse(words) {
  throw new Refused(words, UNREADABLE);
}
