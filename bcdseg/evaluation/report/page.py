"""HTML page of a report."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable
from html import escape
from pathlib import Path

from PIL import Image

from bcdseg.evaluation.report.blocks import Block, Cell, Document, Picture, Pictures, Points, Section, Table, Text

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
DIGEST = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
POLICY = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{DIGEST}'"
SHORT = 22  # number of letters up to which a text is not broken into lines
FEW = 4  # number of columns up to which a table doesn't need to scroll


def page(document: Document) -> str:
    """Return the page as HTML."""
    title = escape(document.title)
    links = "".join(f'<li><a href="#part-{at}">{escape(one.title)}</a></li>' for at, one in enumerate(document.sections))
    links += "".join(f'<li><a href="{escape(file)}">{escape(name)}</a></li>' for name, file in document.others)
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="soft">{escape(document.subtitle)}</p>',
        *map(_block, document.warnings),
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>',
        *(_section(at, one) for at, one in enumerate(document.sections)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + f'\n</main><script data-part="tables">{SCRIPT}</script></body></html>\n'
    )


def _section(at: int, section: Section) -> str:
    body = "\n".join(map(_block, section.blocks))
    return f'<section><h2 id="part-{at}">{escape(section.title)}</h2>\n{body}</section>'


def _block(block: Block) -> str:
    if isinstance(block, Text):
        kind = "" if block.kind == "plain" else f' class="{block.kind}"'
        return f"<p{kind}>{escape(block.words)}</p>"
    if isinstance(block, Points):
        return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in block.items)}</ul>"
    return _table(block) if isinstance(block, Table) else _pictures(block)


def _table(table: Table) -> str:
    facts = not any(table.columns)
    kinds = ["facts"] * facts + ["wide"] * (not facts and len(table.columns) > FEW) + ["search"] * table.searchable
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    title = f"<h3>{escape(table.title)}</h3>" if table.title else ""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    head = "" if facts else f"<thead><tr>{heads}</tr></thead>"
    rows = "".join(f"<tr>{_row(cells)}</tr>" for cells in table.rows)
    return f'{title}<div class="scroll" tabindex="0"><table{kind}>{head}<tbody>{rows}</tbody></table></div>'


def _row(cells: Iterable[Cell]) -> str:
    first, *others = cells
    return f'<th scope="row">{_cell(first)}</th>' + "".join(f"<td>{_cell(cell)}</td>" for cell in others)


def _cell(cell: Cell) -> str:
    whole = ' class="whole"' if len(cell.below) < SHORT else ""
    return escape(cell.text) + (f"<small{whole}>{escape(cell.below)}</small>" if cell.below else "")


def _pictures(pictures: Pictures) -> str:
    small = all(one.small for one in pictures.each)
    title = f'<h3>{escape(pictures.title)}</h3><p class="soft">{escape(pictures.caption)}</p>' if pictures.title else ""
    return f'{title}<div class="pictures{_kind(pictures) if small else ""}">{"".join(map(_figure, pictures.each))}</div>'


def _kind(pictures: Pictures) -> str:
    """Return the layout of the figures: scans next to their heat map are twice as wide."""
    with Image.open(io.BytesIO(pictures.each[0].png)) as image:
        return " small pair" if image.width > 1.7 * image.height else " small"


def _figure(picture: Picture) -> str:
    kind, content = ("svg+xml", picture.svg) if picture.svg else ("jpeg", _jpeg(picture.png))
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    caption = f"<b>{escape(picture.title)}</b><span>{escape(picture.caption)}</span>"
    wide = ' class="wide"' if picture.wide else ""
    return f'<figure{wide}><img src="{source}" alt="{escape(picture.alt)}"><figcaption>{caption}</figcaption></figure>'


def _jpeg(png: bytes) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(file, "JPEG", quality=85)
    return file.getvalue()
