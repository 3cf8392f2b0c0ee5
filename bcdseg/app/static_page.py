"""The page as a folder of files that needs no server: the browser runs the exported model."""

from __future__ import annotations

import base64
import gzip
import json
import posixpath
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bcdseg import __version__
from bcdseg.app.limits import SAMPLES, Limits, sample_scans, static_files
from bcdseg.app.responses import card_html
from bcdseg.errors import ModelNotFoundError, OutputExistsError
from bcdseg.extras import require
from bcdseg.files import restore, write_folder
from bcdseg.model.model import Model
from bcdseg.runtimes.agreement import Difference
from bcdseg.sources import LARGEST, SMALLEST
from bcdseg.types import SPACING_RANGE

VERSION = "1.30.0"
"""Version of onnxruntime-web that the page was tested with."""

DIST = Path("node_modules/onnxruntime-web/dist")
LIBRARY, PROGRAM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
PIXELS = 16_000_000  # of one scan; a canvas of a phone has no more
ENTRY, WORKER = "local/main.js", "local/engine_worker.js"
SERVED = '<script type="module" src="/static/main.js"></script>'
POLICY = (
    "default-src 'none'; script-src 'self' blob: data: 'wasm-unsafe-eval'; worker-src blob: data:; style-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'"
)
HEAD = f"""<meta http-equiv="content-security-policy" content="{POLICY}">
<meta name="referrer" content="no-referrer">
<script defer src="page.js"></script>"""
NOTICE = """This folder is a page that outlines and classifies breast-ultrasound scans in the browser. Open index.html, or put the
folder on any web server. For research: not a medical device, not for diagnosis, and not a substitute for a physician's reading.

The page was written by bcdseg {version} (Apache License 2.0).

It contains:

The model {name} (model.js, facts.js).
{licence}

ONNX Runtime Web {onnxruntime} (runtime.js), copyright Microsoft Corporation, MIT License, https://onnxruntime.ai

{samples}"""

IMPORT = re.compile(r'^import \{ (?P<names>[\w, ]+) \} from "(?P<path>\./|\.\./)(?P<rest>[\w./-]+)";$')
EXPORT = re.compile(r"^export (?P<rest>(?:async function|function|class|const) (?P<name>\w+).*)$")


@dataclass(frozen=True, kw_only=True)
class StaticPage:
    """Result of writing a static page.

    Attributes:
        folder: Folder of the page.
        size: Size of all its files in bytes.
        difference: Difference between the outputs of the exported model and the model's.
    """

    folder: Path
    size: int
    difference: Difference

    def __str__(self) -> str:
        return f"{self.folder / 'index.html'}: {self.size / 1e6:.1f} MB. The exported model against the model: {self.difference}."


def write_static_page(model: Model, folder: Path, *, onnxruntime_web: Path = DIST, overwrite: bool = False) -> StaticPage:
    """Write the page as a folder that works without a server, without a network, and on any web server.

    Args:
        model: The model that the page offers.
        folder: Folder of the page; it is created.
        onnxruntime_web: The folder ``dist`` of the npm package onnxruntime-web.
        overwrite: Whether a page in the folder may be replaced.

    Raises:
        ModelNotFoundError: onnxruntime-web is not in its folder.
        OutputExistsError: The folder exists, and is not a page or may not be replaced.
        ParityError: The outputs of the exported model differ too much from the model's.
    """
    folder = folder.resolve()
    _check_free(folder, overwrite=overwrite)
    runtime = _runtime(onnxruntime_web)
    require("markdown_it", extra="app", purpose="The page")
    with tempfile.TemporaryDirectory() as place:
        exported = model.export(Path(place) / "model.onnx")
        graph = _optimised(exported.path)
    contents = {
        **_page_files(),
        "facts.js": _part("facts", _facts(model)),
        "model.js": _part("model", base64.b64encode(graph).decode()),
        "runtime.js": _part("runtime", runtime),
        "NOTICE.txt": _notice(model, _version(onnxruntime_web)).encode(),
    }
    write_folder(folder, contents)
    return StaticPage(folder=folder, size=sum(map(len, contents.values())), difference=exported.difference)


FILES = {"index.html", "page.js", "style.css", "icon.svg", "facts.js", "model.js", "runtime.js", "NOTICE.txt"}


def _check_free(folder: Path, *, overwrite: bool) -> None:
    restore(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"{folder}: is a file. A page is a folder: choose another name.")
    there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if there - FILES:
        raise OutputExistsError(f"{folder}: has other files than a page's, and is not replaced. Choose another folder.")
    if there and not overwrite:
        raise OutputExistsError(f"{folder}: exists already. Choose another folder, or allow it: overwrite=True, --overwrite.")


def _runtime(dist: Path) -> dict[str, str]:
    """Return ONNX Runtime's library and program, and the worker that uses them."""
    missing = [name for name in (LIBRARY, PROGRAM) if not (dist / name).is_file()]
    if missing:
        raise ModelNotFoundError(
            f"{dist}: has no {missing[0]}. A page without a server needs ONNX Runtime for browsers, which is not on PyPI. Run: "
            f"npm install onnxruntime-web@{VERSION}, and name its folder: onnxruntime_web=, --onnxruntime-web {DIST}."
        )
    # The module's last line names a file for debuggers, which is not in the folder.
    library = (dist / LIBRARY).read_text(encoding="utf-8").partition("//# sourceMappingURL=")[0]
    worker = static_files()[WORKER][0].decode()
    return {"worker": worker, "library": library, "program": _packed((dist / PROGRAM).read_bytes())}


def _optimised(graph: Path) -> bytes:
    """Return a graph with the operators that ONNX Runtime fuses on any machine, so that a browser starts sooner."""
    onnxruntime = require("onnxruntime", extra="onnx", purpose="A page without a server")
    made = graph.with_name("optimised.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(made)
    onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return made.read_bytes()


def _version(dist: Path) -> str:
    package = dist.parent / "package.json"
    return str(json.loads(package.read_text(encoding="utf-8")).get("version", "")) if package.is_file() else ""


def _page_files() -> dict[str, bytes]:
    """Return the files of the page that don't depend on the model."""
    texts = {name: content.decode() for name, (content, _) in static_files().items()}
    html = texts["index.html"]
    for served, written in ((SERVED, HEAD), ('data-runs="server"', 'data-runs="browser"')):
        assert html.count(served) == 1
        html = html.replace(served, written)
    return {
        "index.html": html.replace('"/static/', '"').encode(),
        "page.js": bundle(texts, ENTRY).encode(),
        "style.css": texts["style.css"].encode(),
        "icon.svg": texts["icon.svg"].encode(),
    }


def _facts(model: Model) -> dict[str, Any]:
    """Return what the page decides and shows by: the rules of the model, its card, samples and limits."""
    path, config = model.preprocessing, model.config
    return {
        "model": {
            "name": model.name,
            "classes": list(model.classes),
            "no_lesion": model.no_lesion,
            "trained": bool(model.training),
            "rules": asdict(model.rules),
            "points": {point.name: str(point) for point in model.rules.operating_points},
            "outputs": [*(["mask_probability"] if config.decoder else []), *(["probabilities"] if config.head else [])],
            "preprocessing": {"channels": path.channels, "resize": path.resize, "stride": path.stride},
            "card": card_html(model),
        },
        "samples": {
            name: {"name": scan.name, "content": base64.b64encode(scan.read_bytes()).decode()}
            for name, scan in sample_scans().items()
        },
        "limits": {
            "file_bytes": Limits().file_bytes,
            "pixels": PIXELS,
            "smallest": SMALLEST,
            "largest": LARGEST,
            "spacing": list(SPACING_RANGE),
        },
    }


def _part(name: str, value: Any) -> bytes:
    """Return data as a script, since a page that is opened from a folder may load nothing else."""
    return f"(globalThis.bcdsegParts ??= {{}}).{name} = {json.dumps(value, allow_nan=False)};\n".encode()


def _packed(content: bytes) -> str:
    """Return content compressed, in base64; weights are not compressed, as that saves little and costs time."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _notice(model: Model, onnxruntime: str) -> str:
    licence = (model.training or {}).get("licence") or "Its licence is not known."
    samples = (SAMPLES / "README.md").read_text(encoding="utf-8")
    return NOTICE.format(version=__version__, name=model.name, licence=licence, onnxruntime=onnxruntime, samples=samples)


def bundle(modules: Mapping[str, str], entry: str) -> str:
    """Return modules as one classic script; each of them runs once, after those that it imports.

    Args:
        modules: Source of each module by its path.
        entry: Path of the module that starts the page.

    Raises:
        ValueError: A module imports or exports in another form, is missing, or imports itself through others.
    """
    parts: dict[str, str] = {}
    _add(entry, modules, parts, ())
    return "\n".join(['"use strict";', "(() => {", "const modules = {};", *parts.values(), "})();", ""])


def _add(path: str, modules: Mapping[str, str], parts: dict[str, str], importers: tuple[str, ...]) -> None:
    """Add a module as a function that returns what it exports, after the modules that it imports."""
    if path in parts:
        return
    if path in importers or path not in modules:
        raise ValueError(f"{path}: is missing, or imports itself through {' -> '.join(importers)}")
    lines, exported = [], []
    for line in modules[path].splitlines():
        if found := IMPORT.match(line):
            imported = posixpath.normpath(posixpath.join(posixpath.dirname(path), found["path"] + found["rest"]))
            _add(imported, modules, parts, (*importers, path))
            names = ", ".join(found["names"].replace(" as ", ": ").split(", "))
            lines.append(f'const {{ {names} }} = modules["{imported}"];')
        elif found := EXPORT.match(line):
            exported.append(found["name"])
            lines.append(found["rest"])
        elif line.startswith(("import", "export")):
            raise ValueError(f"{path}: a bundle can't have this line: {line}")
        else:
            lines.append(line)
    parts[path] = "\n".join([f'modules["{path}"] = (() => {{', *lines, f"return {{ {', '.join(exported)} }};", "})();"])
