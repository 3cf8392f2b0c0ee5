"""The page's modules as one script, for pages that are opened from a folder, where browsers load no modules.

It is for the modules of this page, which import and export on one line each: anything else is an error and not guessed at.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

IMPORT = re.compile(r'^import \{ (?P<names>[\w, ]+) \} from "(?P<path>\./|\.\./)(?P<rest>[\w./-]+)";$')
EXPORT = re.compile(r"^export (?P<rest>(?:async function|function|class|const) (?P<name>\w+).*)$")


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
