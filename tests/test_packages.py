"""Structure of the library: no import cycles, lazy imports included, and packages of a limited size."""

import ast
from collections import defaultdict
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "bcdseg"
ROOT = LIBRARY.parent
LONGEST = 400  # lines of a module
MOST = 14  # modules in one folder, besides __init__
SCRIPTS = ("training", "benchmarks", "examples", "scripts", "docs/scripts")


@cache
def _modules():
    named = {}
    for path in LIBRARY.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        named[name.removesuffix(".__init__")] = path
    return named


@cache
def _imports(path):
    """Return the modules that a module imports, apart from imports for type checking."""
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


def _cycles(graph):
    """Return the groups of nodes that reach each other."""
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
    assert not _cycles(graph)


def test_no_package_imports_itself_through_others():
    modules = _modules()
    graph = defaultdict(set)
    for name, path in modules.items():
        packages = {other.split(".")[1] for other in _imports(path) if other in modules and "." in other}
        if "." in name:
            graph[name.split(".")[1]] |= packages - {name.split(".")[1]}
    assert not _cycles(graph)


def test_no_module_is_too_long():
    long = {str(path): count for path in LIBRARY.rglob("*.py") if (count := len(path.read_text().splitlines())) > LONGEST}
    assert not long


def test_no_folder_has_too_many_modules():
    counts = {folder: len([*folder.glob("[!_]*.py")]) for folder in (LIBRARY, *LIBRARY.rglob("*")) if folder.is_dir()}
    assert not {folder.relative_to(LIBRARY).as_posix(): count for folder, count in counts.items() if count > MOST}


def test_each_package_and_module_has_a_layer_and_is_on_the_design_page(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "scripts")
    import design

    named = {name for layer in design.layers() for name in layer}
    assert {path.stem for path in LIBRARY.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()} - {
        "__init__",
        "__main__",
    } == named
    listed = design.packages()
    assert [str(path) for path in LIBRARY.rglob("[!_]*.py") if f"`{path.stem}" not in listed] == []


def test_call_paths_name_functions_that_exist(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "scripts")
    import design

    for calls in design.CALL_PATHS:
        for step in calls.steps:
            assert design.check_step(step) is None
    with pytest.raises(LookupError, match="has no nothing"):
        design.check_step("training.fit:nothing")


def test_scripts_import_only_what_the_library_has():
    missing = []
    for script in (path for folder in SCRIPTS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "bcdseg":
                module = import_module(str(node.module))
                names = [one.name for one in node.names if f"{node.module}.{one.name}" not in _modules()]
                missing += [f"{script}: {node.module}.{name}" for name in names if not hasattr(module, name)]
    assert not missing
