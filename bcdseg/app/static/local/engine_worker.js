// The worker that runs the exported model by WebAssembly. It imports nothing of the page, which requests one action after another:
// start the runtime, load the model, run it on scans.

let ort = null, session = null, outputs = [], last = Promise.resolve();
const actions = { start, load, run };

onmessage = ({ data: { id, action, given } }) => {
  last = last.then(async () => {
    try {
      postMessage({ id, result: await actions[action](given) });
    } catch (error) {
      postMessage({ id, error: error.message });
    }
  });
};

/** Start the runtime; `library` is the address of ONNX Runtime's module; its program is compressed and in base64. */
async function start({ library, program }) {
  ort = await import(library);
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1; // others may not share memory
  const stream = new Blob([decoded(program)]).stream().pipeThrough(new DecompressionStream("gzip"));
  ort.env.wasm.wasmBinary = await new Response(stream).arrayBuffer();
}

/** Load the model, which is in base64 and was optimised when the page was written; `names` are the outputs that are used. */
async function load({ model, names }) {
  session = await ort.InferenceSession.create(decoded(model), { executionProviders: ["wasm"], graphOptimizationLevel: "disabled" });
  outputs = names;
}

async function run({ scan, shape }) {
  const found = await session.run({ scan: new ort.Tensor("uint8", scan, shape) }, outputs);
  return Object.fromEntries(outputs.map((name) => [name, found[name].data]));
}

/** Return the bytes of a text in base64; older browsers decode it byte by byte. */
function decoded(text) {
  const { fromBase64 } = /** @type {any} */ (Uint8Array);
  return fromBase64 ? fromBase64.call(Uint8Array, text) : Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
}
