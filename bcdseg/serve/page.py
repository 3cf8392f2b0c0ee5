"""The server's own page: its routes as they stand in OpenAPI, with nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h2 { font: 600 1.05rem ui-monospace, monospace; margin: 2rem 0 .25rem; }
pre, code { font: .875rem ui-monospace, monospace; background: #f3f5f7; border-radius: 4px; }
pre { padding: .75rem; overflow-x: auto; } code { padding: .1rem .3rem; }
table { border-collapse: collapse; font-size: .9rem; } td { padding: .15rem .75rem .15rem 0; vertical-align: top; }
td code { white-space: nowrap; }
"""
EXAMPLES = (
    ("class, outline and size of a scan", "curl -F file=@scan.png 'http://HOST/predict?spacing=0.1'"),
    ("its mask", "curl -F file=@scan.png http://HOST/mask -o mask.png"),
    ("the mask of a DICOM scan, as DICOM-SEG", "curl --data-binary @scan.dcm http://HOST/dicom-seg -o seg.dcm"),
)


def write_page(openapi: Mapping[str, Any], host: str) -> str:
    """HTML of an OpenAPI document, with examples for the address that it was asked at."""
    examples = "".join(f"# {escape(what)}\n{escape(command.replace('HOST', host))}\n\n" for what, command in EXAMPLES).strip()
    routes = "".join(
        part
        for path, methods in openapi["paths"].items()
        for method, route in methods.items()
        for part in _route(method, path, route)
    )
    title = escape(f"{openapi['info']['title']} {openapi['info']['version']}")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1><p>{escape(openapi['info']['description'])}</p>"
        f"<p>In full, for programs: <a href=openapi.json>openapi.json</a>.</p><pre>{examples}</pre>{routes}</html>"
    )


def _route(method: str, path: str, route: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(route['summary'])}</p>"
    if "requestBody" in route:
        kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in route["requestBody"]["content"])
        yield f"<p>Takes a file: {kinds}.</p>"
    rows = [(f"?{one['name']}=", one.get("description", "")) for one in route.get("parameters", ())]
    rows += [(status, answer["description"]) for status, answer in route["responses"].items()]
    cells = (f"<tr><td><code>{escape(name)}</code><td>{escape(text)}</tr>" for name, text in rows)
    yield f"<table>{''.join(cells)}</table>"
