"""The words of the package and of the docs: dialect that a reader of this field would stumble over stays out."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BANNED = {
    "anew": "again",
    "told": "documented in, reported, stated",
    "says so": "warns, reports",
    "speck": "small component",
    "specks": "small components",
    "doubts": "warnings",
    "goes on": "resumes, continues",
    "let go": "release",
    "tells of": "describes, reports",
    "mend": "fix, correct",
    "mended": "fixed",
    "mends": "fixes",
    "begun with": "started from",
    "as good as none": "invalid",
    "what is taken for what": "confusion matrix",
    "as sure as right": "reliability diagram",
    "said aloud": "warns",
    "aloud": "(rewrite the sentence)",
    "made ready": "prepared",
    "brought to": "converted to",
    "looked at": "processed, read",
    "lies in": "is in",
    "lie in": "are in",
    "is no model": "is not a Model",
    "holds answers": "contains predictions",
    "a row a": "one row per",
    "a line a": "one line per",
    "let alone": "(rewrite the sentence)",
    "speaks of": "describes, names",
}
"""Words, and what to write instead."""


def test_no_banned_word_is_in_the_package_or_the_docs() -> None:
    files = [
        *(ROOT / "bcdseg").rglob("*.py"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "bcdseg" / "app" / "static").glob("*.*s"),
        *ROOT.glob("*.md"),
    ]
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, BANNED))})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]!r}; write {BANNED[match[0].lower()]}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for match in pattern.finditer(line)
    ]
    assert not found, "\n".join(found)
