"""Parts of pages that are made from the code and from the files that they describe, so that they stay correct."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from textwrap import dedent

import design
from browser_page import browser_page
from figures import first_look

ROOT = Path(__file__).parents[2]
EXAMPLES = re.compile(r"Examples:\n((?: +.+\n)+)")


def changelog() -> str:
    """Return the changelog of the repository."""
    return _of_root("CHANGELOG.md")


def contributing() -> str:
    """Return the page on contributing."""
    return _of_root("CONTRIBUTING.md")


def command_line() -> str:
    """Return the reference of every command with its arguments and options."""
    from typer import Context
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from bcdseg.cli import app

    command = get_command(app)
    command.epilog = None  # each command has examples of its own
    for one in [*command.commands.values(), *command.commands["data"].commands.values()]:
        one.help = EXAMPLES.sub(lambda found: f"Examples:\n\n```console\n{dedent(found[1])}```", str(one.help) + "\n")
    text = get_docs_for_click(obj=command, ctx=Context(command, info_name="bcdseg", **command.context_settings), name="bcdseg")
    return text.split("\n", 1)[1]  # the page has a title of its own


def model_card(name: str) -> str:
    """Return a bundled model's card without its front matter, one heading lower."""
    from bcdseg.model.registry import BUNDLED

    card = (BUNDLED / name / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]
    return re.sub(r"^#", "##", card, flags=re.MULTILINE)


def examples() -> str:
    """Return each example: its description and its code."""
    return "\n".join(_example(path) for path in sorted((ROOT / "examples").glob("[0-9]*")))


def recipes() -> str:
    """Return a table of the recipes."""
    import bcdseg

    rows = [f"| `{one.name}` | {', '.join(one.classes or ('those of the data',))} | {one.summary} |" for one in bcdseg.recipes()]
    return "\n".join(["| recipe | classes | |", "|---|---|---|", *rows])


def _of_root(name: str) -> str:
    """Return a page of the repository's root, with links to the site's pages."""
    return (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")


def _example(path: Path) -> str:
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        title, _, text = "".join(cells[0]["source"]).lstrip("# ").partition("\n")
        code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    else:
        code = path.read_text(encoding="utf-8")
        title, _, text = str(ast.get_docstring(ast.parse(code))).partition("\n")
        code = code.split('"""', 2)[2].strip().removeprefix("from __future__ import annotations").strip()
    text = re.sub(r"^(python examples/.*|bcdseg .*)$", r"```console\n$ \1\n```", text.strip(), flags=re.MULTILINE)
    shown = "\n".join(f"    {line}".rstrip() for line in code.splitlines())
    number, _, name = path.stem.partition("_")
    heading = f"## {int(number)}. {name.replace('_', ' ').capitalize()}"
    lines = f'??? example "{path.name}"\n\n    ```python\n{shown}\n    ```\n'
    return f"{heading}\n\n{title}\n\n{text}\n\n{lines}"


PARTS: dict[str, Callable[[], str]] = {
    "browser-page": browser_page,
    "changelog": changelog,
    "command-line": command_line,
    "contributing": contributing,
    "examples": examples,
    "first-look": first_look,
    "model-card-bus-multi": partial(model_card, "bus-multi"),
    "model-card-busi-lite": partial(model_card, "busi-lite"),
    "recipes": recipes,
    "packages": design.packages,
}
