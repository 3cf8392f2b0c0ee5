"""The page without a server: written to a folder, opened from it and from a web server, and compared with the library."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import bcdseg
from bcdseg.app.limits import static_files
from bcdseg.app.static_page import bundle
from bcdseg.cli import app
from bcdseg.data.masks import dice
from bcdseg.inference.writers import csv_bytes, table_rows

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]
TOOLS = Path(__file__).parent / "page_tools/node_modules"
RUNTIME = TOOLS / "onnxruntime-web/dist"
AXE = TOOLS / "axe-core/axe.min.js"
SAMPLES = sorted((Path(__file__).parents[2] / "data/sample").glob("*/*[0-9)].png"))
SCAN = Path(bcdseg.__file__).parent / "app/samples/malignant (30).png"
BOUND = 0.001  # of probabilities; that of an exported model
SLOW = 300_000  # milliseconds on a busy machine

playwright = pytest.importorskip("playwright.sync_api", reason="playwright, of the extra dev, is not installed")
needs_runtime = pytest.mark.skipif(not RUNTIME.is_dir(), reason="no onnxruntime-web: npm install in tests/app/page_tools")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")


def _invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["app", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page by the command."""
    out = tmp_path_factory.mktemp("static") / "page"
    done = _invoke("--static", out, "--onnxruntime-web", RUNTIME)
    assert done.exit_code == 0, done.output
    assert "index.html" in done.output
    return out


class _Isolated(SimpleHTTPRequestHandler):
    """Web server whose pages may share memory between threads."""

    def end_headers(self) -> None:
        self.send_header("cross-origin-opener-policy", "same-origin")
        self.send_header("cross-origin-embedder-policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Isolated, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as tool:
        running = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=SLOW)
        yield running
        running.close()


@contextmanager
def _opened(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """Open a page without a network; any request beyond the folder and any error in the console fails the test."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "offline": address.startswith("file:"), **options})
    page = context.new_page()
    page.set_default_timeout(SLOW)
    requests: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.extend([message.text] if message.type in ("error", "warning") else []))
    page.goto(address)
    page.wait_for_selector("#samples button")
    yield page
    context.close()
    assert not [url for url in requests if not url.startswith((address.removesuffix("index.html"), "blob:", "data:"))]
    assert not wrong


def _downloaded(page: Any, selector: str) -> bytes:
    with page.expect_download() as download:
        page.click(selector)
    return Path(download.value.path()).read_bytes()


def _same(found: Any, expected: Any, place: str = "") -> None:
    """Compare JSON values; numbers may differ by the bound of an exported model, or by a hundredth of a larger number."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for key, value in expected.items():
            _same(found[key], value, f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            _same(one, other, f"{place}[{number}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=0.01, abs=BOUND), place
    else:
        assert found == expected, place


def _rows(table: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.decode())))


def _cells(row: dict[str, str]) -> dict[str, Any]:
    """Return the cells of a row, with numbers as numbers."""
    return {name: float(cell) if re.fullmatch(r"[\d.]+", cell) else cell for name, cell in row.items()}


@pytest.mark.browser
@needs_chromium
@needs_runtime
def test_predictions_from_a_folder_without_a_network_are_the_librarys(browser: Any, folder: Path) -> None:
    model = bcdseg.load()
    with _opened(browser, f"file://{folder}/index.html") as page:
        page.set_input_files("#files", [str(path) for path in SAMPLES])
        page.wait_for_selector(f"#batch-words:has-text('{len(SAMPLES)} of {len(SAMPLES)} scans read')")
        rows = {row["source"]: row for row in _rows(_downloaded(page, "#csv"))}
        for path in SAMPLES:
            expected = model.predict(path)
            page.click("#tab-batch")
            page.click(f"#table-body th button:text-is('{path.name}')")
            page.wait_for_selector(f"#scan-name:text-is('{path.name}')")
            page.wait_for_selector("#waiting", state="hidden")
            found = json.loads(_downloaded(page, "#downloads a:text-is('JSON')"))
            _same(found, {**expected.to_dict(), "source": path.name})
            mask = np.asarray(Image.open(io.BytesIO(_downloaded(page, "#downloads a:text-is('Mask PNG')"))).convert("L")) > 0
            assert expected.mask is not None
            assert dice(expected.mask, mask) > 1 - BOUND
            table = csv_bytes(table_rows([expected], model.classes), model.classes)
            _same(_cells(rows[path.name]), {**_cells(*_rows(table)), "source": path.name})


@pytest.mark.browser
@needs_chromium
@needs_runtime
def test_threshold_scale_operating_point_and_ground_truth_from_a_web_server(browser: Any, address: str, tmp_path: Path) -> None:
    model = bcdseg.load()
    mask = model.predict(SCAN, threshold=0.7).mask
    Image.fromarray(mask).save(tmp_path / f"{SCAN.stem}_mask.png")
    with _opened(browser, address) as page:
        assert page.evaluate("crossOriginIsolated")
        page.set_input_files("#files", [str(SCAN), str(tmp_path / f"{SCAN.stem}_mask.png")])
        page.wait_for_selector("#waiting", state="hidden")
        before = model.predict(SCAN)
        agreement = dice(mask, before.mask)
        page.wait_for_selector(f"#compared-rows tr:has-text('Ground truth'):has-text('{agreement:.2f}')")

        page.focus("#threshold")
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        page.fill("#spacing", "0,1")
        page.click("#scale button[type=submit]")
        page.wait_for_selector("#lesions h3:has-text('mm')")
        page.select_option("#point", model.rules.operating_points[1].name)
        page.wait_for_selector("#point-note:has-text('malignant from a probability')")
        threshold = round(model.rules.threshold + 0.08, 2)
        after = model.predict(SCAN, threshold=threshold, spacing=0.1, operating_point=model.rules.operating_points[1].name)
        found = json.loads(_downloaded(page, "#downloads a:text-is('JSON')"))
        _same(found, {**after.to_dict(), "source": SCAN.name})
        overlay = Image.open(io.BytesIO(_downloaded(page, "#downloads a:text-is('Overlay PNG')")))
        assert overlay.size == after.image.shape[1::-1]

        page.fill("#spacing", "100")
        page.click("#scale button[type=submit]")
        page.wait_for_selector("#problem:has-text('a number from 0.001 to 10')")


@pytest.mark.browser
@needs_chromium
@needs_runtime
def test_other_files_are_refused_with_the_reason_and_a_jpeg_is_read_as_the_library_reads_it(
    browser: Any, folder: Path, tmp_path: Path
) -> None:
    gray = Image.open(SCAN).convert("L")
    turned = Image.Exif()
    turned[0x0112] = 6
    gray.convert("RGB").save(tmp_path / "scan.jpg", quality=90, exif=turned)
    gray.save(tmp_path / "scan.tif")
    Image.fromarray(np.asarray(gray).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    (tmp_path / "scan.dcm").write_bytes(bytes(128) + b"DICM" + bytes(200))
    (tmp_path / "broken.png").write_bytes(SCAN.read_bytes()[:5000])
    (tmp_path / "page.png").write_bytes(b"<!doctype html>")
    (tmp_path / "clip.gif").write_bytes(b"GIF89a")
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0 ftypisom")
    reasons = {
        "scan.tif": "is TIFF, which this page can't read",
        "deep.png": "is PNG of 16 bits",
        "scan.dcm": "is DICOM",
        "page.png": "is not an image in a format that is read here",
        "clip.gif": "is a clip (GIF), which this page can't play",
        "clip.mp4": "is a clip (MP4 or MOV), which this page can't play",
        "broken.png": "truncated or damaged",
    }
    with _opened(browser, f"file://{folder}/index.html") as page:
        for name, reason in reasons.items():
            page.set_input_files("#files", str(tmp_path / name))
            page.wait_for_selector(f"#problem:has-text('{name}: '):has-text(\"{reason}\")")
            assert page.is_visible("#welcome")
        page.set_input_files("#files", str(tmp_path / "scan.jpg"))
        page.wait_for_selector("#waiting", state="hidden")
        expected = bcdseg.load().predict(tmp_path / "scan.jpg")
        found = json.loads(_downloaded(page, "#downloads a:text-is('JSON')"))
        assert (found["height"], found["width"], found["label"]) == (*expected.size, expected.label)
        assert found["probabilities"] == pytest.approx(expected.probabilities, abs=0.01)  # browsers decode JPEG with other rounding


@pytest.mark.browser
@needs_chromium
@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm install in tests/app/page_tools")
@needs_runtime
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_no_barrier_and_nothing_is_offered_that_needs_the_program(
    browser: Any, address: str, scheme: str, width: int
) -> None:
    look = {"viewport": {"width": width, "height": 850}, "color_scheme": scheme, "bypass_csp": True}
    with _opened(browser, address, **look) as page:
        found = _barriers(page)
        assert "need the program" in page.inner_text("#welcome")
        page.click("#samples li:nth-child(3) button")
        page.wait_for_selector("#marks .line", state="attached")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for name in ("#heat-tools", "#tab-report", "#second", "#reading", "#brush-size", "#downloads a:text-is('DICOM-SEG')"):
            assert not page.is_visible(name)
        found += _barriers(page)
        page.click("#keys-open")
        assert "Heat map" not in page.inner_text("#keys-list")
        assert "Accept" not in page.inner_text("#keys-list")
        found += _barriers(page)
        page.click("#keys-close")
        page.click("#about")
        assert "non-commercial" in page.inner_text("#card-body")
        page.click("#card-close")
        page.click("#tab-batch")
        found += _barriers(page)
        page.keyboard.press("ArrowRight")  # there are two tabs here
        assert page.get_attribute("#tab-scan", "aria-selected") == "true"
    assert found == []


def _barriers(page: Any) -> list[str]:
    """Return the findings of axe-core: the rule, and the elements."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']]}" for one in found]


@needs_runtime
def test_the_folder_names_its_licences_and_is_replaced_only_on_request(folder: Path) -> None:
    notice = (folder / "NOTICE.txt").read_text(encoding="utf-8")
    for words in ("CC BY-NC 4.0", "Microsoft", "not a medical device", "Al-Dhabyani"):
        assert words in notice
    assert "connect-src" not in (folder / "index.html").read_text(encoding="utf-8")  # default-src 'none' forbids all of it
    refused = _invoke("--static", folder, "--onnxruntime-web", RUNTIME)
    assert isinstance(refused.exception, bcdseg.errors.OutputExistsError)
    assert "--overwrite" in str(refused.exception)


def test_errors_that_prevent_a_page_are_reported(tmp_path: Path) -> None:
    def refused(*arguments: Any) -> str:
        done = _invoke("--static", *arguments)
        assert isinstance(done.exception, bcdseg.errors.BcdsegError), done.output
        return str(done.exception)

    missing = refused(tmp_path / "page", "--onnxruntime-web", tmp_path / "nowhere")
    assert "npm install onnxruntime-web@" in missing
    assert "nowhere" in missing
    assert not (tmp_path / "page").exists()
    (tmp_path / "mine.txt").write_text("kept")
    assert "has other files" in refused(tmp_path, "--onnxruntime-web", tmp_path, "--overwrite")
    assert "one model" in refused(tmp_path / "page", "--model", "bus-multi", "--model", "busi-lite")
    assert "--corrections" in refused(tmp_path / "page", "--corrections", tmp_path)


def test_a_bundle_runs_each_module_once_and_refuses_other_forms() -> None:
    modules = {
        "main.js": 'import { a as first, b } from "./deep/one.js";\nimport { c } from "./two.js";\nuse(first, b, c);',
        "deep/one.js": 'import { c } from "../two.js";\nexport const a = c;\nexport function b() {}',
        "two.js": "export class c {}",
    }
    made = bundle(modules, "main.js")
    assert made.index('modules["two.js"] =') < made.index('modules["deep/one.js"] =') < made.index('modules["main.js"] =')
    assert made.count('modules["two.js"] =') == 1
    assert 'const { a: first, b } = modules["deep/one.js"];' in made
    assert "return { a, b };" in made
    for wrong in (
        'import x from "./two.js";',
        "export default 3;",
        'import { c } from "./none.js";',
        'import { a } from "./main.js";',
    ):
        with pytest.raises(ValueError, match=r"\.js"):
            bundle({**modules, "main.js": wrong}, "main.js")
    texts = {name: content.decode() for name, (content, _) in static_files().items() if name.endswith(".js")}
    for entry in ("main.js", "local/main.js"):
        assert "\nimport " not in bundle(texts, entry)
