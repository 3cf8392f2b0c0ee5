"""HTML page of a report, and a page of all scans to search, to filter and to sort."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bcdseg.evaluation.measures.measure import NONE, number
from bcdseg.evaluation.report.blocks import Block, Cell, Document, Picture, Pictures, Points, Section, Table, Text
from bcdseg.messages import counted
from bcdseg.model.saving import DISCLAIMER

if TYPE_CHECKING:
    from bcdseg.evaluation.results import Evaluation
    from bcdseg.evaluation.results_table import Cases

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


DECIMALS = {"dice": "fraction", "hd95_px": "px", "hd95_mm": "mm", "lesions_false": "count"}
TITLES = {"dice": "Dice", "hd95_px": "HD95 (px)", "hd95_mm": "HD95 (mm)", "lesions_false": "false lesions"}


def scans_document(evaluation: Evaluation) -> Document:
    """Return the page with one row per scan."""
    return Document(
        title=f"Every scan: {evaluation.model} on {evaluation.dataset}",
        subtitle=f"{counted(len(evaluation.cases), 'scan')}. {DISCLAIMER}",
        warnings=(),
        sections=(Section("Scans", tuple(_blocks(evaluation))),),
        others=(("Report", "report.html"),),
    )


def _blocks(evaluation: Evaluation) -> Iterator[Block]:
    yield Text("One row per scan. A click on a header sorts. The file cases.csv has all measures.", "soft")
    columns = dict(_columns(evaluation.cases))
    rows = tuple(zip(*columns.values(), strict=True))
    yield Table(tuple(columns), rows, searchable=True)


def _columns(cases: Cases) -> Iterator[tuple[str, list[Cell]]]:
    rows = range(len(cases))
    yield "scan", [Cell(name) for name in cases.ids]
    if (cases.labels >= 0).any():
        yield "true class", [Cell(cases.label(at) or NONE) for at in rows]
    if cases.has_probabilities.any():
        yield "predicted class", [Cell(cases.classes[at] if at >= 0 else NONE) for at in cases.predicted]
        yield "confidence", [Cell(_value(value, "fraction")) for value in cases.probabilities.max(axis=1)]
    if cases.has_class.any():
        right = cases.predicted == cases.labels
        yield (
            "classification",
            [Cell(NONE if not known else "right" if one else "wrong") for known, one in zip(cases.has_class, right, strict=True)],
        )
    if cases.has_mask.any():
        yield "outline", [Cell(_outline(cases, at)) for at in rows]
        for name in ("dice", "hd95_px", "hd95_mm", "lesions_false"):
            column = cases.outline[name] if name == "lesions_false" else np.where(cases.lesion, cases.outline[name], np.nan)
            if not np.isnan(column).all():
                yield TITLES[name], [Cell(_value(value, DECIMALS[name])) for value in column]
    for fact in sorted({name for one in cases.facts for name in one}):
        yield fact, [Cell(NONE if (value := facts.get(fact)) is None else str(value)) for facts in cases.facts]


def _outline(cases: Cases, at: int) -> str:
    """Return whether the lesion of a scan is found or missed, or whether its outline is false or correctly empty."""
    if not cases.has_mask[at]:
        return NONE
    outlined = cases.outlined[at] == 1
    if cases.lesion[at]:
        return "found" if cases.outline["lesions_found"][at] > 0 else "missed"
    return "false lesion" if outlined else "empty, correct"


def _value(value: float, unit: str) -> str:
    return NONE if np.isnan(value) else f"{value:.0f}" if unit == "count" else number(float(value), unit)
