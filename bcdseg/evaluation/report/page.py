"""HTML page of a report."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape

from PIL import Image

from bcdseg.evaluation.report.blocks import Block, Cell, Document, Picture, Pictures, Points, Section, Table, Text

STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#566273;--paper:#f6f7f9;--card:#fff;--line:#d9dee5;--alarm:#b3261e;
--tint:#fdf1f0}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b4;--paper:#12161c;--card:#1b2129;--line:#313a46;--alarm:#ff8a80;
--tint:#2b1d1e}}
*{box-sizing:border-box}body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
main{max-width:1100px;margin:auto;padding:1rem}h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0}
h2{font-size:1.2rem;margin:2.2rem 0 .5rem;scroll-margin-top:1rem}h3{font-size:1rem;margin:1.2rem 0 .4rem}
p{margin:.5rem 0;max-width:46rem}
.soft,small,figcaption span{color:var(--soft)}small{display:block;font-size:.8rem;line-height:1.35}
.warning{border-left:5px solid var(--alarm);background:var(--tint);padding:.6rem .8rem;border-radius:4px}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;padding:0;font-size:.9rem}a{color:inherit}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;margin:.8rem 0}
table{border-collapse:collapse;width:100%}td,th{padding:.45rem .8rem;text-align:left;vertical-align:top;font-weight:400}
thead th{font-size:.85rem;color:var(--soft);vertical-align:bottom}tr+tr>*{border-top:1px solid var(--line)}
tbody tr:first-child>*{border-top:1px solid var(--line)}td{font-variant-numeric:tabular-nums}
.whole{white-space:nowrap}
table.wide tbody th{min-width:8rem}table.facts td{overflow-wrap:anywhere}table.facts th{white-space:nowrap;color:var(--soft)}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:1rem;margin:.8rem 0}
.pictures.small{grid-template-columns:repeat(auto-fill,minmax(min(46%,200px),1fr))}
.pictures.pair{grid-template-columns:repeat(auto-fill,minmax(min(100%,240px),1fr))}
figure.wide{grid-column:1/-1}figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.7rem}
figure img{display:block;width:100%;height:auto;border-radius:4px;background:#fff}.small img{background:#000}
figcaption{font-size:.85rem;overflow-wrap:anywhere;margin-top:.5rem;line-height:1.4}figcaption b,figcaption span{display:block}
li{margin:.4rem 0;max-width:46rem;overflow-wrap:anywhere}
@media(max-width:600px){main{padding:.7rem}td,th{padding:.4rem .5rem}table.facts th{white-space:normal}}
@media print{body{background:#fff}figure,.scroll,tr{break-inside:avoid}}
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
SHORT = 22  # number of letters up to which a text is not broken into lines
FEW = 4  # number of columns up to which a table doesn't need to scroll


def page(document: Document) -> str:
    """Return the page as HTML."""
    title = escape(document.title)
    links = "".join(f'<li><a href="#part-{at}">{escape(one.title)}</a></li>' for at, one in enumerate(document.sections))
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
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"
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
    kind = ' class="facts"' if facts else ' class="wide"' if len(table.columns) > FEW else ""
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
