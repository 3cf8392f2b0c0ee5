"""The structure of the package: no circles of imports, lazy ones counted, and rooms that can be surveyed."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bcdseg"
ROOT = PACKAGE.parent
LONGEST = 400  # lines of a module
MOST = 14  # modules on one level of a room, besides __init__
ALLOWED: dict[str, int] = {}
"""Rooms that have more modules, and how many; a room that has become smaller is removed here."""


@cache
def _modules():
    named = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        named[name.removesuffix(".__init__")] = path
    return named


@cache
def _imports(path):
    """Modules that a module imports anywhere, but for type checking."""
    modules, found = _modules(), []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = [node for node in ast.walk(tree) if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"]
    skipped = {inner for node in guarded for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in skipped:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.append(full if full in modules else str(node.module))
    return found


def _circles(graph):
    """Groups of nodes that reach each other."""
    reached = {}

    def reach(start):
        found, waiting = set(), [start]
        while waiting:
            for other in graph[waiting.pop()] - found:
                found.add(other)
                waiting.append(other)
        return found

    for node in list(graph):
        reached[node] = reach(node)
    return {frozenset(other for other in reached[node] if node in reached[other]) for node in reached if node in reached[node]}


def test_no_module_imports_itself_through_others():
    modules = _modules()
    graph = defaultdict(set)
    for name, path in modules.items():
        graph[name] |= {other for other in _imports(path) if other in modules and other not in (name, "bcdseg")}
    assert not _circles(graph)


def test_no_room_imports_itself_through_others():
    modules = _modules()
    graph = defaultdict(set)
    for name, path in modules.items():
        rooms = {other.split(".")[1] for other in _imports(path) if other in modules and "." in other}
        if "." in name:
            graph[name.split(".")[1]] |= rooms - {name.split(".")[1]}
    assert not _circles(graph)


def test_no_module_is_longer_than_a_reader_can_survey():
    long = {str(path): count for path in PACKAGE.rglob("*.py") if (count := len(path.read_text().splitlines())) > LONGEST}
    assert not long


def test_no_room_has_more_modules_than_a_reader_can_survey():
    counts = {room: len([*room.glob("[!_]*.py")]) for room in (PACKAGE, *PACKAGE.rglob("*")) if room.is_dir()}
    assert not {room.relative_to(PACKAGE).as_posix(): count for room, count in counts.items() if count > MOST}


def test_each_room_and_module_has_a_layer_and_is_in_the_design(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "scripts")
    import design

    named = {name for layer in design.layers() for name in layer}
    assert {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()} - {
        "__init__",
        "__main__",
    } == named
    listed = design.rooms()
    assert [str(path) for path in PACKAGE.rglob("[!_]*.py") if f"`{path.stem}" not in listed] == []


def test_ways_through_the_rooms_name_functions_that_exist(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "scripts")
    import design

    for way in design.WAYS:
        for step in way.steps:
            assert design.check_step(step) is None
    with pytest.raises(LookupError, match="has no nothing"):
        design.check_step("training.fit:nothing")
