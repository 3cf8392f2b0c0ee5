// The interface of the backends: a program on this computer (server.js), or the browser itself (local/browser.js).

/**
 * A model's name, and the options of a prediction where they were chosen.
 * @typedef {object} Options
 * @property {string} model
 * @property {string} [threshold] Probability from which a pixel is outlined, as text.
 * @property {string} [spacing] Millimetres per pixel, as text.
 * @property {string} [operating_point] Name of the operating point that chooses the class.
 */

/**
 * Properties of a link that saves a file.
 * @typedef {object} Link
 * @property {string} href
 * @property {string} [download]
 * @property {((event: Event) => void) | null} onclick
 */

/**
 * A scan of an uploaded file; a frame has its number, counted from 1, and its clip.
 * @typedef {object} Scan
 * @property {string} id
 * @property {string} name
 * @property {number} [frame]
 * @property {import("./clip/timeline.js").Clip} [clip]
 */

/**
 * A backend, which predicts for the page. Scans are named by the ids that `upload` and `sample` return.
 * @typedef {object} Backend
 * @property {"server" | "browser"} runs Where it predicts; the page shows the functions that it offers there.
 * @property {string[]} models Names of the models, the first is the default.
 * @property {string[]} samples Names of the sample scans.
 * @property {string | null} corrections The folder of corrections; null where none are saved.
 * @property {string} reader Name of the reader that the page suggests.
 * @property {string[]} files Names of the files that `file` offers.
 * @property {() => void} close Releases all scans; the page is being left.
 * @property {(file: File) => Promise<Scan[]>} upload
 * @property {(name: string) => Promise<Scan[]>} sample
 * @property {(name: string) => string} sampleImage Address of the image of a sample.
 * @property {(scan: string) => Promise<void>} remove
 * @property {(scan: string, options: Options, signal?: AbortSignal) => Promise<any>} prediction The prediction of a scan.
 * @property {(scan: string, options: Options) => Promise<Uint8Array>} levels The hundredths that each pixel's probability reaches.
 * @property {(scan: string, options: Options) => string} image Address of the scan as an image.
 * @property {(scan: string, options: Options) => Promise<Blob>} picture The same image, to be kept by the page.
 * @property {(scan: string, options: Options, of: string) => string} heat Address of the heat map of a class.
 * @property {(scan: string, options: Options, name: string) => Link} file A file of the prediction.
 * @property {(model: string) => Link} table The table of the batch.
 * @property {(model: string) => Link} archive All files of the batch.
 * @property {(scan: string, options: Options, signal?: AbortSignal) => Promise<any[]>} reviews
 * @property {(scan: string, options: Options, review: any) => Promise<any>} saveReview
 * @property {(scan: string, file: File, options: Options) => Promise<void>} addTruth
 * @property {(scan: string, options: Options) => Promise<any>} truth
 * @property {(scan: string, options: Options, model: string) => Promise<any>} second
 * @property {(model: string) => Promise<any[]>} clips The summary of each clip over the frames that are predicted so far.
 * @property {(model: string) => Promise<string>} card The card of a model, as HTML.
 * @property {(file: File) => Promise<string>} report Address of an opened report.
 * @property {(address: string) => Promise<string>} reason Why an address gives no picture.
 */

/** Error of a refused request, with the reason in words. */
export class Refused extends Error {
  /** Create the error; `status` is 422 where a scan can't be read or predicted, `gone` is true where the scan was released. */
  constructor(message, status = 0, gone = false) {
    super(message);
    this.status = status;
    this.gone = gone;
  }
}
