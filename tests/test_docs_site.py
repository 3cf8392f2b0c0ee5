"""Build of the documentation: its checks, and the completeness of the reference."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from markdown.extensions.toc import slugify

import bcdseg

ROOT = Path(__file__).parents[1]
RECORDS = sorted(
    name for name in bcdseg.__all__ if inspect.isclass(kind := getattr(bcdseg, name)) and dataclasses.is_dataclass(kind)
)


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "scripts"))
    sys.modules.pop("hooks", None)
    import hooks

    return hooks


def test_the_reference_documents_every_public_name(hooks: ModuleType) -> None:
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md")]
    documented = {name for page in pages for name in hooks.DOCUMENTED.findall(page)}
    assert hooks.undocumented(documented) == set()
    assert hooks.undocumented(documented - {"load", "Model"}) == {"load", "Model"}


def test_what_a_page_would_fetch_from_other_sites_is_found(hooks: ModuleType) -> None:
    page = """<a href="https://doi.org/1">read</a> <abbr title=x src="y.js"> <img alt="" src="../figures/a.webp">
    <link rel=stylesheet href="//fonts.example/css"><script async src='https://cdn.example/a.js'></script>"""
    assert hooks.outside_requests(page) == ["//fonts.example/css", "https://cdn.example/a.js"]


def test_the_generated_parts_hold_what_they_are_made_of(hooks: ModuleType) -> None:
    assert "## `bcdseg predict`" in hooks.PARTS["command-line"]()
    assert "--spacing" in hooks.PARTS["command-line"]()
    assert "# Changelog" in hooks.PARTS["changelog"]()
    assert "(design.md)" in hooks.PARTS["contributing"]()
    assert "## Limits" in hooks.PARTS["model-card-bus-multi"]()
    assert hooks.PARTS["examples"]().count("??? example") == len(list((ROOT / "examples").glob("[0-9]*")))
    assert "| `default` |" in hooks.PARTS["recipes"]()


@pytest.mark.parametrize("name", RECORDS)
def test_a_public_record_documents_its_fields_and_no_others(name: str) -> None:
    kind = getattr(bcdseg, name)
    section = re.search(r"\nAttributes:\n((?: +.*\n?)+)", inspect.getdoc(kind) or "")
    documented = re.findall(r"^    (\w+):", section[1], re.MULTILINE) if section else []
    assert sorted(documented) == sorted(field.name for field in dataclasses.fields(kind) if not field.name.startswith("_"))


LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!\w+:|/)([^)#\s]*)(?:#([\w.-]+))?\)")
HEADING = re.compile(r"^#+ +(.+?)(?: +\{.*#([\w-]+).*\})?$", re.MULTILINE)
CODE = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    headings = HEADING.findall(CODE.sub("", page.read_text(encoding="utf-8")))
    return {given or slugify(title.replace("`", ""), "-") for title, given in headings}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    for target, anchor in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        linked = (page.parent / target).resolve() if target else page
        generated = linked.is_relative_to(ROOT / "docs" / "figures")
        assert generated or linked.exists(), f"{page.name}: {target} is not there"
        if anchor and linked.suffix == ".md" and not anchor.startswith("bcdseg"):
            generated = "<!-- made:" in linked.read_text(encoding="utf-8")
            assert generated or anchor in _anchors(linked), f"{page.name}: {target}#{anchor}"
