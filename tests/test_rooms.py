"""The structure of the package: no circles of imports, lazy ones counted, and rooms that can be surveyed."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "bcdseg"
ROOT = PACKAGE.parent
LONGEST = 400  # lines of a module
MOST = 15  # modules on one level of a room


def _modules():
    named = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        named[name.removesuffix(".__init__")] = path
    return named


def _imports(path, modules):
    """Modules that a module imports anywhere, but for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = [node for node in ast.walk(tree) if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"]
    skipped = {inner for node in guarded for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in skipped:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules else str(node.module)


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
        graph[name] |= {other for other in _imports(path, modules) if other in modules and other not in (name, "bcdseg")}
    assert not _circles(graph)


def test_no_room_imports_itself_through_others():
    modules = _modules()
    graph = defaultdict(set)
    for name, path in modules.items():
        rooms = {other.split(".")[1] for other in _imports(path, modules) if other in modules and "." in other}
        if "." in name:
            graph[name.split(".")[1]] |= rooms - {name.split(".")[1]}
    assert not _circles(graph)


def test_modules_and_rooms_can_be_surveyed():
    long = {str(path): count for path in PACKAGE.rglob("*.py") if (count := len(path.read_text().splitlines())) > LONGEST}
    assert not long
    full = {str(room): count for room in PACKAGE.rglob("*") if (count := len([*room.glob("[!_]*.py")])) > MOST}
    assert not full


def test_each_room_is_in_the_design():
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rooms = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    assert [room for room in rooms if f"  {room}/" not in design] == []
