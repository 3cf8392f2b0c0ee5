"""Hooks of mkdocs: insert generated parts, draw the pictures, and warn of missing ones.

The build is strict, so each warning fails it.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Any

os.environ.setdefault("BCDSEG_RUNTIME", "torch")  # few predictions: exporting a graph would take longer

from browser_page import add_browser_page
from figures import FIGURES
from mkdocs.structure.files import File, Files
from parts import PARTS

import bcdseg

log = logging.getLogger("mkdocs.hooks.bcdseg")
MADE = re.compile(r"<!-- made: ([\w-]+) -->")
DOCUMENTED = re.compile(r"^::: bcdseg\.(\w+)", re.MULTILINE)
FETCHED = re.compile(r"""<(?!a\b)\w+\b[^>]*?\b(?:src|href|srcset|data)=["']?((?:\w+:)?//[^"'\s>]+)""")
documented: set[str] = set()


def on_files(files: Files, config: Any) -> Files:
    """Add the pictures, each under ``figures/``, and the page in the browser."""
    documented.clear()
    for draw in FIGURES:
        for name, content in draw().items():
            files.append(File.generated(config, f"figures/{name}", content=content))
    add_browser_page(files, config)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put each generated part in its place, and record which public names the page documents."""
    documented.update(DOCUMENTED.findall(markdown))
    unknown = set(MADE.findall(markdown)) - PARTS.keys()
    if unknown:
        log.warning("%s: no part is named %s; there are %s.", page.file.src_uri, min(unknown), ", ".join(PARTS))
    return MADE.sub(lambda found: PARTS[found[1]]() if found[1] in PARTS else "", markdown)


def on_env(env: Any, **_: Any) -> Any:
    """Warn of public names that no page documents."""
    for name in sorted(undocumented(documented)):
        log.warning("bcdseg.%s is public and on no page: add '::: bcdseg.%s' to one in docs/reference/.", name, name)
    return env


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Warn of a page that loads files from another site."""
    for address in outside_requests(output):
        log.warning("%s: loads %s from another site.", page.file.src_uri, address)
    return output


def undocumented(names: set[str]) -> set[str]:
    """Return the public names that are not among the given ones."""
    return set(bcdseg.__all__) - {"__version__"} - names


def outside_requests(page: str) -> list[str]:
    """Return the addresses of other sites from which a browser loads files to show a page; links don't count."""
    return FETCHED.findall(page)
