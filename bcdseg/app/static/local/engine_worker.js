// The worker that runs the exported model by WebAssembly: it gets its parts once, then scans. It imports nothing of the page.

let ort = null, session = null, outputs = [], last = Promise.resolve();

onmessage = ({ data }) => {
  last = last.then(async () => {
    try {
      const result = data.scan ? await run(data) : await start(data);
      postMessage({ id: data.id, result });
    } catch (error) {
      postMessage({ id: data.id, error: error.message });
    }
  });
};

/** `library` is the address of ONNX Runtime's module; its program and the model are compressed and in base64. */
async function start({ library, program, model, names }) {
  ort = await import(library);
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1; // others may not share memory
  const [binary, graph] = await Promise.all([unpacked(program), unpacked(model)]);
  ort.env.wasm.wasmBinary = binary;
  session = await ort.InferenceSession.create(new Uint8Array(graph), { executionProviders: ["wasm"] });
  outputs = names;
}

async function run({ scan, shape }) {
  const found = await session.run({ scan: new ort.Tensor("uint8", scan, shape) }, outputs);
  return Object.fromEntries(outputs.map((name) => [name, found[name].data]));
}

async function unpacked(text) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
