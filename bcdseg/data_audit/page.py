"""Files of an audit: table, JSON and HTML page."""

from __future__ import annotations

import base64
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from bcdseg.data.images import to_uint8
from bcdseg.data.readers import read_sample_scan
from bcdseg.data_audit.findings import Box, Finding, mask_of
from bcdseg.files import check_free, write_whole
from bcdseg.table_text import csv_text
from bcdseg.types import Sample

if TYPE_CHECKING:
    from bcdseg.data.duplicates.search import DuplicatePair
    from bcdseg.data_audit.audit import Audit

NAMES = ("audit.json", "audit.csv", "index.html")


def save(audit: Audit, folder: Path, overwrite: bool) -> Path:
    """Write the three files, each complete or not at all, and return the page's path."""
    check_free(places(folder), overwrite=overwrite)
    contents = (as_json(audit), as_table(audit), page(audit))
    for path, content in zip(places(folder), contents, strict=True):
        write_whole(path, content.encode(), overwrite=overwrite)
    return folder / "index.html"


def places(folder: Path) -> list[Path]:
    """Return the paths of an audit's files in a folder."""
    return [folder / name for name in NAMES]


def as_json(audit: Audit) -> str:
    """Return all findings as JSON."""
    content = {
        "name": audit.name,
        "scans": len(audit.samples),
        "duplicate_groups": audit.duplicate_groups,
        "conflicts": audit.conflicts,
        "pairs": [asdict(pair) for pair in audit.pairs],
        "findings": [asdict(finding) for finding in audit.findings],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def as_table(audit: Audit) -> str:
    """Return a table with one line per scan."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for finding in audit.findings:
        for name in finding.sample_ids:
            if finding.kind not in kinds[name]:
                kinds[name].append(finding.kind)
    conflicted = {name for group in audit.conflicts for name in group}
    rows: list[list[str]] = []
    for sample in audit.samples:
        conflict = "yes" if sample.id in conflicted else ""
        rows.append([sample.id, sample.label or "", audit.groups.get(sample.id, ""), conflict, "; ".join(kinds[sample.id])])
    return csv_text(["id", "label", "group", "conflict", "findings"], rows)


SIDE = 200  # length of a picture's longer side in pixels
MOST_GROUPS = 500
MOST_OF_A_KIND = 48
COLOUR = (255, 90, 60)
OUTLINED = {"mask conflict", "lesion on normal", "several lesions", "tiny lesion", "mask at the border"}

STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--paper:#f6f7f9;--card:#fff;--line:#d9dee5;--alarm:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b4;--paper:#12161c;--card:#1b2129;--line:#313a46;--alarm:#ff8a80}}
*{box-sizing:border-box}body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
main{max-width:1100px;margin:auto;padding:1rem}h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem}
h3{font-size:1rem;margin:0 0 .5rem}p{margin:.4rem 0}.soft{color:var(--soft)}
table{border-collapse:collapse}td,th{padding:.25rem .9rem .25rem 0;text-align:left;vertical-align:top}
td.number{text-align:right;font-variant-numeric:tabular-nums}
section.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.8rem;margin:.8rem 0}
section.conflict{border-left:5px solid var(--alarm)}.pictures{display:flex;flex-wrap:wrap;gap:.8rem}
figure{margin:0;width:200px;max-width:calc(50% - .4rem)}img{display:block;width:100%;height:auto;border-radius:4px;background:#000}
figcaption{font-size:.82rem;overflow-wrap:anywhere}figcaption b{display:block}ul{margin:.5rem 0 0;padding-left:1.1rem}
ul{font-size:.86rem}
li{overflow-wrap:anywhere}a{color:inherit}
"""


def page(audit: Audit) -> str:
    """Return the page as HTML."""
    samples = {sample.id: sample for sample in audit.samples}
    body = [_summary(audit), *_shortcuts(audit.findings), *_groups(audit, samples), *_kinds(audit.findings, samples)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>Audit of {escape(audit.name)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _summary(audit: Audit) -> str:
    scans = sum(len(group) for group in audit.duplicate_groups)
    rows = [
        ("Scans", len(audit.samples)),
        ("Scans that are there more than once", scans),
        ("Groups of near-duplicates", len(audit.duplicate_groups)),
    ]
    rows += [(kind.capitalize(), count) for kind, count in audit.counts().items()]
    cells = "".join(f'<tr><td>{escape(name)}</td><td class="number">{count}</td></tr>' for name, count in rows)
    return (
        f"<h1>Audit of {escape(audit.name)}</h1><table>{cells}</table>"
        '<p class="soft">Nothing was changed. Look, and decide: keep a group on one side of a split, keep one scan of it, '
        "or correct a label.</p>"
    )


def _shortcuts(findings: Iterable[Finding]) -> list[str]:
    shortcuts = [finding for finding in findings if finding.kind == "shortcut"]
    if not shortcuts:
        return []
    return ["<h2>Class shortcuts</h2>", "<ul>" + "".join(f"<li>{escape(finding.message)}</li>" for finding in shortcuts) + "</ul>"]


def _groups(audit: Audit, samples: dict[str, Sample]) -> list[str]:
    conflicts = set(audit.conflicts)
    ordered = sorted(audit.duplicate_groups, key=lambda group: group not in conflicts)
    home = {name: group for group in ordered for name in group}
    pairs: dict[tuple[str, ...], list[DuplicatePair]] = defaultdict(list)
    for pair in audit.pairs:
        if home.get(pair.one) is not None and home.get(pair.one) == home.get(pair.other):
            pairs[home[pair.one]].append(pair)
    parts = ["<h2>Near-duplicates</h2>" if ordered else "<h2>No near-duplicates</h2>"]
    for group in ordered[:MOST_GROUPS]:
        alarm = group in conflicts
        title = escape(audit.groups[group[0]]) + (": the labels disagree" if alarm else "")
        lines = "".join(f"<li>{_pair(pair)}</li>" for pair in pairs[group])
        pictures = "".join(_figure(samples[name]) for name in group)
        parts.append(
            f'<section class="card{" conflict" if alarm else ""}"><h3>{title}</h3>'
            f'<div class="pictures">{pictures}</div><ul>{lines}</ul></section>'
        )
    return [*parts, *_more(len(ordered) - MOST_GROUPS, "groups")]


def _pair(pair: DuplicatePair) -> str:
    evidence = escape("; ".join(pair.evidence))
    return f"{escape(pair.one)} and {escape(pair.other)}: <b>{pair.score:.2f}</b>, {evidence}"


def _kinds(findings: Sequence[Finding], samples: dict[str, Sample]) -> list[str]:
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.sample_ids and finding.kind != "label conflict":
            kinds[finding.kind].append(finding)
    parts = []
    for kind, found in kinds.items():
        parts.append(f'<h2>{escape(kind.capitalize())} ({len(found)})</h2><section class="card"><div class="pictures">')
        for finding in found[:MOST_OF_A_KIND]:
            parts += [_figure(samples[name], finding, kind in OUTLINED) for name in finding.sample_ids]
        parts += ["</div>", *_more(len(found) - MOST_OF_A_KIND, "findings"), "</section>"]
    return parts


def _more(count: int, what: str) -> list[str]:
    return [f'<p class="soft">And {count} more {what}, in audit.json.</p>'] if count > 0 else []


def _figure(sample: Sample, finding: Finding | None = None, outlined: bool = False) -> str:
    name, label = escape(sample.id), escape(sample.label or "no label")
    picture = _picture(sample, finding.where if finding else None, outlined)
    message = f"<br>{escape(finding.message)}" if finding else ""
    return (
        f'<figure><img src="data:image/jpeg;base64,{picture}" alt="{name}">'
        f"<figcaption><b>{label}</b>{name}{message}</figcaption></figure>"
    )


def _picture(sample: Sample, where: Box | None, outlined: bool) -> str:
    pixels = to_uint8(read_sample_scan(sample.image).pixels)
    image = Image.fromarray(pixels).convert("RGB" if where or outlined else "L")
    scale = SIDE / max(image.size)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    if outlined:
        image = _with_outline(image, sample)
    elif where is not None:
        top, left, bottom, right = (round(edge * scale) for edge in where)
        ImageDraw.Draw(image).rectangle((left - 2, top - 2, right + 1, bottom + 1), outline=COLOUR, width=2)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _with_outline(image: Image.Image, sample: Sample) -> Image.Image:
    if not sample.masks:
        return image
    mask = np.array(Image.fromarray(mask_of(sample)).resize(image.size, Image.Resampling.NEAREST))
    pixels = np.array(image)
    pixels[mask & ~binary_erosion(mask, iterations=1)] = COLOUR
    return Image.fromarray(pixels)
