"""Picture and list of the library's packages for the page on its design, read from the code.

The layers are those of import-linter's contract in ``pyproject.toml``, and descriptions are the docstrings of packages and modules.
The build fails if a call path names a function that doesn't exist.

    python docs/scripts/design.py > packages.svg
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "bcdseg"


@dataclass(frozen=True)
class CallPath:
    """A path through the packages: functions in the order of their calls, as ``module:function``."""

    title: str
    colour: str
    steps: tuple[str, ...]


CALL_PATHS = (
    CallPath(
        "a scan: model.predict(scan)",
        "#0072b2",
        (
            "model.model:Model.predict",
            "inference.predictor:Predictor.read",
            "data.readers:read_scan",
            "inference.predictor:Predictor.prepare",
            "data.preprocessing:Preprocessing.framed",
            "inference.predictor:Predictor.run",
            "runtimes.torch_runtime:TorchRuntime.__call__",
            "networks.network:Network.forward",
            "inference.postprocess:Postprocessing.__call__",
            "inference.prediction:Prediction",
        ),
    ),
    CallPath(
        "a sample in training: bcdseg.fit(...)",
        "#d55e00",
        (
            "training.fit:fit",
            "training.plan:make_plan",
            "training.engine:train_model",
            "training.data.loaders:training_loader",
            "data.dataset:Dataset.read",
            "training.loop.task:SegmentationClassificationTask.training_step",
            "networks.network:Network.forward",
            "training.losses:JointLoss.forward",
            "evaluation.site.fit_site:fit_class_rules",
            "training.run:Run",
        ),
    ),
    CallPath(
        "a result in evaluation: bcdseg.evaluate(...)",
        "#007a5e",
        (
            "evaluation.evaluate:evaluate",
            "evaluation.case_results:predict_cases",
            "model.model:Model.predict",
            "evaluation.results_table:table_of",
            "evaluation.measures.intervals:estimate",
            "evaluation.results:Evaluation",
        ),
    ),
)
ROW, TOP, LEFT, GAP, WIDTH = 30, 76, 150, 350, 1230
STYLE = """
  .page { fill: #ffffff; } text { font: 12px system-ui, sans-serif; fill: #1b1f24; }
  .title { font-size: 14px; font-weight: 600; } .package { font-weight: 600; } .step { font: 11px ui-monospace, monospace; }
  .layer { fill: #f3f5f7; } .track { fill: none; stroke-width: 2; }
"""


def layers() -> list[list[str]]:
    """Return the names of packages and modules from the highest layer to the lowest; those of one layer are together."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    return [[name.strip().removeprefix("bcdseg.") for name in layer.split(":")] for layer in contract["layers"]]


def description(path: Path) -> str:
    """Return the first line of a module's docstring."""
    return str(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))).partition("\n")[0]


def packages() -> str:
    """Return the packages with their modules as a list in Markdown."""
    lines = []
    for name in [name for layer in layers() for name in layer]:
        folder = LIBRARY / name
        if not folder.is_dir():
            lines.append(f"- `{name}.py`: {description(folder.with_suffix('.py'))}")
            continue
        lines.append(f"- **`{name}/`**: {description(folder / '__init__.py')}")
        lines += [f"    - {line}" for line in _modules(folder)]
    return "\n".join(lines)


def _modules(folder: Path) -> list[str]:
    inner = [path for path in sorted(folder.iterdir()) if (path / "__init__.py").is_file()]
    lines = []
    for path in inner:
        names = ", ".join(f"`{module.stem}`" for module in sorted(path.glob("[!_]*.py")))
        lines.append(f"`{path.name}/`: {description(path / '__init__.py')} ({names})")
    return lines + [f"`{path.name}`: {description(path)}" for path in sorted(folder.glob("[!_]*.py"))]


def check_step(step: str) -> None:
    """Raise a LookupError for a step whose function or class isn't in its module."""
    module, _, name = step.partition(":")
    path = LIBRARY.joinpath(*module.split("."))
    body = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")).body
    for part in name.split("."):
        found = [node for node in body if getattr(node, "name", "") == part]
        if not found:
            raise LookupError(f"docs/scripts/design.py: bcdseg.{module} has no {name}. Correct CALL_PATHS.")
        body = getattr(found[0], "body", [])


def picture() -> str:
    """Draw the layers as rows, and the call paths as tracks from package to package, as SVG."""
    folders = [[name for name in layer if (LIBRARY / name).is_dir()] for layer in layers()]
    order = [name for layer in folders for name in layer]
    height_of = {name: TOP + ROW * at for at, name in enumerate(order)}
    parts = []
    for name, y in height_of.items():
        parts.append(f'<rect class="layer" x="10" y="{y}" width="{WIDTH - 20}" height="{ROW - 4}" rx="4"/>')
        parts.append(f'<text class="package" x="22" y="{y + 17}">{name}/</text>')
    for number, calls in enumerate(CALL_PATHS):
        parts += _track(calls, LEFT + number * GAP, height_of)
    height = TOP + ROW * len(order) + 34
    low = ", ".join(name for layer in layers() for name in layer if name not in order)
    title = "The packages of bcdseg, each above those that it imports, and the path of three calls"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">'
        f'<style>{STYLE}</style><rect class="page" width="{WIDTH}" height="{height}"/>'
        f'<text class="title" x="12" y="24">{title}</text>{"".join(parts)}'
        f'<text x="22" y="{height - 12}">below all packages: {escape(low)}</text></svg>'
    )


def _track(calls: CallPath, x: float, height_of: dict[str, int]) -> list[str]:
    """Draw one call path: numbered steps, each in the row of its package, connected in the order of the calls."""
    rows: dict[str, list[str]] = {}
    points = []
    for number, step in enumerate(calls.steps, start=1):
        check_step(step)
        package, name = step.partition(".")[0], step.rpartition(":")[2].removesuffix(".__call__").removesuffix(".forward")
        rows.setdefault(package, []).append(f"{number} {name.rpartition('.')[2]}")
        points.append((x + 6 + 7 * number, height_of[package] + ROW / 2 - 2))
    path = f"M{points[0][0]:.0f} {points[0][1]:.0f}" + "".join(f" H{px:.0f} V{py:.0f}" for px, py in points[1:])
    dots = [f'<circle cx="{px:.0f}" cy="{py:.0f}" r="3" fill="{calls.colour}"/>' for px, py in points]
    after = x + 22 + 7 * len(points)
    labels = [
        f'<text class="step" x="{after:.0f}" y="{height_of[package] + 23 - 6 * count + 11 * line}">{escape(text)}</text>'
        for package, texts in rows.items()
        for count in (len(_lines(texts)),)
        for line, text in enumerate(_lines(texts))
    ]
    title = f'<text class="title" x="{x:.0f}" y="56" style="fill: {calls.colour}">{escape(calls.title)}</text>'
    return [title, f'<path class="track" stroke="{calls.colour}" d="{path}"/>', *dots, *labels]


def _lines(texts: list[str]) -> list[str]:
    """Return the steps of one package on at most two lines."""
    middle = -(-len(texts) // 2) if len(texts) > 3 else len(texts)
    return [", ".join(part) for part in (texts[:middle], texts[middle:]) if part]


if __name__ == "__main__":
    print(picture())
