"""The page about security states the limits of the code, and true statements about the dependencies."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from bcdseg import sources
from bcdseg.app.limits import Limits as PageLimits
from bcdseg.app.start import GRACE, LONGEST_REQUEST
from bcdseg.data.reader_process import LEAST_MEMORY, PIXEL_MEMORY
from bcdseg.dicom import frame_index, header_limits
from bcdseg.model import network_source, registry
from bcdseg.networks import config
from bcdseg.serve.limits import Limits
from bcdseg.web.server import MARGIN

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "concepts" / "security.md").read_text(encoding="utf-8")
SCRIPT = ROOT / "scripts" / "supply_chain.py"


def row(name: str) -> list[str]:
    """Return the cells of a row of the page's tables, after its name."""
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def numbers(cell: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", cell)]


def test_limits_of_files() -> None:
    assert numbers(row("Side of an image")[0]) == [sources.SMALLEST, sources.LARGEST]
    assert numbers(row("DICOM header: elements")[0]) == [header_limits.MOST_ELEMENTS]
    assert numbers(row("DICOM header: values")[0]) == [header_limits.MOST_VALUES]
    assert numbers(row("DICOM header, and a deflated file once inflated")[0]) == [header_limits.MOST_BYTES / 2**20]
    assert header_limits.MOST_BYTES == header_limits.MOST
    assert numbers(row("DICOM pixel data: pieces")[0]) == [frame_index.MOST_PIECES]
    assert numbers(row("`config.json` of a model")[0]) == [registry.MOST_CONFIG / 2**20]
    assert numbers(row("Header of the weights")[0]) == [network_source.MOST_HEADER / 2**20]
    assert numbers(row("Classes of a model")[0]) == [config.MOST_CLASSES, config.MOST_CHARACTERS]


def test_limits_of_the_servers() -> None:
    serve, page = Limits(), PageLimits()
    expected = {
        "Bytes of an upload": ([serve.max_mb], [page.file_bytes / 1e6]),
        "Pixels of a scan": ([serve.max_megapixels], [page.pixels / 1e6]),
        "Simultaneous requests": ([serve.queue, 429], [page.parallel]),
        "Connections, and those from which new ones get 503": (
            [serve.connections, 2 * serve.connections, 503],
            [page.connections, 2 * page.connections, 503],
        ),
        "Time for the head of a request": ([serve.head_timeout], [10]),
        "Time for an upload": ([serve.timeout], [page.arrival_seconds, page.stall_seconds]),
        "Time to decode a file: of the processor, and in all": (
            [serve.read_timeout, serve.timeout],
            [page.read_seconds, page.passing_seconds],
        ),
        "Time for a response": ([serve.timeout, 503], [LONGEST_REQUEST]),
        "Bytes in memory": ([], [page.arriving_bytes / 1e6, page.session_bytes / 1e6, page.sessions]),
        "Memory of a process that decodes": ([LEAST_MEMORY / 2**30, PIXEL_MEMORY], []),
        "End after SIGTERM": ([serve.grace, MARGIN], [GRACE, MARGIN]),
    }
    assert {name: tuple(map(numbers, row(name))) for name in expected} == expected


def test_the_bill_of_materials_and_the_licences_name_the_same_dependencies(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SCRIPT, "sbom", tmp_path / "bom.json"], check=True)
    printed = subprocess.run([sys.executable, SCRIPT, "licences"], check=True, capture_output=True, text=True).stdout
    document = json.loads((tmp_path / "bom.json").read_text())
    names = {component["name"] for component in document["components"]}
    assert {"torch", "numpy", "pillow", "pydicom", "starlette"} <= names
    assert names | {"bcdseg"} == {line.split()[0] for line in printed.splitlines()}
    known = {component["bom-ref"] for component in [*document["components"], document["metadata"]["component"]]}
    assert {ref for one in document["dependencies"] for ref in (one["ref"], *one["dependsOn"])} == known
