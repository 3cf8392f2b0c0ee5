// Reads a segmentation over a scan as OHIF does: node read_seg.mjs SEG.dcm SCAN.dcm; prints the label of each pixel of each frame as runs.
import { readFileSync } from "node:fs";
import { metaData } from "@cornerstonejs/core";
import { adaptersSEG } from "@cornerstonejs/adapters";
import { data } from "dcmjs";

const [seg, scan] = process.argv.slice(2).map((path) => new Uint8Array(readFileSync(path)).buffer);
const instance = data.DicomMetaDictionary.naturalizeDataset(data.DicomMessage.readFile(scan).dict);
const ids = Array.from({ length: Number(instance.NumberOfFrames ?? 1) }, (_, frame) => `wadors:http://archive/frames/${frame + 1}`);
const modules = {
  instance,
  generalSeriesModule: { seriesInstanceUID: instance.SeriesInstanceUID, modality: instance.Modality },
  generalImageModule: { sopInstanceUID: instance.SOPInstanceUID },
  imagePixelModule: { bitsAllocated: 8, bitsStored: 8, samplesPerPixel: 1, highBit: 7, pixelRepresentation: 0 },
  // A scan without a position gets these from OHIF.
  imagePlaneModule: {
    rows: instance.Rows, columns: instance.Columns, rowCosines: [1, 0, 0], columnCosines: [0, 1, 0], imagePositionPatient: [0, 0, 0],
    imageOrientationPatient: [1, 0, 0, 0, 1, 0], rowPixelSpacing: 1, columnPixelSpacing: 1, pixelSpacing: [1, 1],
  },
};
metaData.addProvider((kind, id) => (ids.includes(id) ? modules[kind] : undefined), 1e6);
const read = await adaptersSEG.Cornerstone3D.Segmentation.createFromDICOMSegBuffer(ids, seg, { metadataProvider: metaData });
const runs = (pixels) => {
  const found = [];
  for (const pixel of pixels) {
    if (found.length && found.at(-1)[0] === pixel) found.at(-1)[1] += 1;
    else found.push([pixel, 1]);
  }
  return found;
};
const frames = read.labelMapImages[0].map((image) => runs(image.voxelManager?.getScalarData() ?? image.getPixelData()));
const labels = read.segMetadata.data.filter(Boolean).map((segment) => segment.SegmentLabel);
process.stdout.write(JSON.stringify({ labels, frames }), () => process.exit(0));
