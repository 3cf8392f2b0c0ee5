"""Take the pictures of docs/how-to/viewers.md: results of ``bcdseg dicomweb`` in OHIF, stored in a real Orthanc.

Run from the repository's root, with the folder of OHIF's static build (see ``scripts/ohif.py``):

    python docs/figures/viewer_screenshots.py package/dist

Needs Orthanc with its DICOMweb plugin, Chromium, and the extras ``dev`` and ``pacs``. It fails if OHIF doesn't load what is stored,
or if the page sends a request to another site.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts"), str(ROOT / "docs/figures")]

import numpy as np  # noqa: E402
from app_screenshots import save  # noqa: E402
from made_dicom import content, dicom, region  # noqa: E402
from ohif import Viewer  # noqa: E402
from orthanc import PASSWORD, USER, Orthanc  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402

SAMPLE = ROOT / "data/sample"
SCALE = (0.01, 0.01)  # an example: the sample scans have no scale
FLAGS = ["--no-sandbox", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # WebGL without a graphics card
SEGMENTATION, REPORT = "SEG", "SR"
MOST_MS = 240_000


def scans(study: str) -> list[Any]:
    """Return a scan with a scale, one without, and a clip."""
    elements = {"StudyInstanceUID": study, "PatientName": "Sample", "PatientID": "sample", "StudyDescription": "Breast ultrasound"}
    one, other = _pixels("benign (2)"), _pixels("benign (21)")
    clip = np.stack([np.roll(one, shift, 1) for shift in (0, 12, 24)])
    made = [dicom(one, _whole(one), SeriesDescription="with a scale", SeriesNumber=1, **elements)]
    made.append(dicom(other, SeriesDescription="without a scale", SeriesNumber=2, **elements))
    made.append(dicom(clip, _whole(one), clip=True, SeriesDescription="clip", SeriesNumber=3, **elements))
    return made


def _pixels(name: str) -> np.ndarray:
    return np.asarray(Image.open(SAMPLE / name.split()[0] / f"{name}.png").convert("L"))


def _whole(pixels: np.ndarray) -> Any:
    return region((0, 0, *pixels.shape), SCALE)


def predict(pacs: Orthanc, study: str) -> None:
    """Predict the study as a user does."""
    command = [sys.executable, "-m", "bcdseg", "dicomweb", "--server", pacs.url, "--user", USER, "--study", study]
    subprocess.run(command, check=True, env={**os.environ, "BCDSEG_PACS_PASSWORD": PASSWORD})


def open_result(page: Page, kind: str, of: str) -> None:
    """Open the segmentation or the report of a scan by a double click, as its list names it."""
    page.get_by_text(of, exact=True).first.dblclick()
    page.wait_for_selector(".cornerstone-viewport-element canvas")
    page.wait_for_timeout(3000)
    page.evaluate(OPEN, [kind, of])
    if kind == SEGMENTATION:
        page.get_by_role("button", name="Yes").first.click()
    page.wait_for_function(SHOWN[kind], timeout=MOST_MS)
    page.wait_for_timeout(5000)
    page.evaluate("window.services.cornerstoneViewportService.getRenderingEngine().render()")  # draws regions loaded later
    page.wait_for_timeout(3000)


# The list of OHIF names results of a kind alike, so the one of a scan is found by what it refers to. The root refers to all scans.
OPEN = """([kind, scan]) => {
  const { displaySetService, viewportGridService } = window.services;
  const sets = displaySetService.getActiveDisplaySets();
  const series = sets.find(one => one.SeriesDescription === scan).SeriesInstanceUID;
  const refers = one => JSON.stringify(one.instance ?? one.instances[0]).includes(series);
  const isRoot = one => String(one.SeriesDescription).startsWith('All results');
  const found = sets.find(one => one.Modality === kind && !isRoot(one) && refers(one));
  viewportGridService.setDisplaySetsForViewport({
    viewportId: viewportGridService.getActiveViewportId(), displaySetInstanceUIDs: [found.displaySetInstanceUID],
  });
}"""
SHOWN = {
    SEGMENTATION: "() => window.services.segmentationService.getSegmentations().length > 0",
    REPORT: "() => window.services.displaySetService.getActiveDisplaySets().some("
    "one => one.Modality === 'SR' && one.measurements?.length && one.measurements.every(measured => measured.loaded))",
}


def photograph(page: Page, address: str, study: str, kind: str, of: str) -> bytes:
    """Photograph a result over its scan in a new page."""
    page.goto(f"{address}/viewer?StudyInstanceUIDs={study}")
    page.add_locator_handler(page.get_by_text("Skip all"), lambda tour: tour.click())  # of the first visit
    open_result(page, kind, of)
    page.mouse.move(700, 5)
    return page.screenshot()


def main() -> None:
    """Store scans, predict them, and photograph what OHIF shows."""
    with tempfile.TemporaryDirectory() as folder:
        pacs = Orthanc(Path(folder) / "orthanc").start()
        try:
            study = generate_uid()
            for one in scans(study):
                pacs.store(content(one))
            predict(pacs, study)
            with Viewer(Path(sys.argv[1]), pacs.url, f"{USER}:{PASSWORD}") as viewer:
                threading.Thread(target=viewer.serve_forever, daemon=True).start()
                photograph_all(viewer.url, study)
                viewer.shutdown()
        finally:
            pacs.kill()


def photograph_all(address: str, study: str) -> None:
    """Photograph both results of the first scan, and open those of the others."""
    shots = [(REPORT, "with a scale", "ohif-sr.png"), (SEGMENTATION, "clip", ""), (REPORT, "clip", "")]
    shots += [(SEGMENTATION, "with a scale", "ohif-seg.png"), (SEGMENTATION, "without a scale", "")]
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        context = browser.new_context(viewport={"width": 1180, "height": 760})
        for kind, of, name in shots:
            page = context.new_page()
            page.set_default_timeout(MOST_MS)
            requested: list[str] = []
            page.on("request", lambda request, requested=requested: requested.append(request.url))
            picture = photograph(page, address, study, kind, of)
            if outside := [url for url in requested if not url.startswith((address, "blob:", "data:"))]:
                raise SystemExit(f"The page sent requests to other sites: {outside}")
            path = ROOT / "docs/figures" / name if name else Path(tempfile.gettempdir()) / f"ohif {kind} {of}.png"
            save(picture, path)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
