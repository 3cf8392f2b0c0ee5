"""Words that a reader of this field would not understand at first sight stay out of code, documentation, examples and tests."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BANNED = {
    "aloud": "(rewrite the sentence)",
    "anew": "again",
    "answer": "prediction, output, result, response",
    "answered": "predicted, responded",
    "answering": "predicting, responding",
    "answers": "predictions, outputs, results, responses",
    "as good as none": "invalid",
    "as it was": "unchanged, (rewrite the sentence)",
    "as sure as right": "reliability diagram",
    "asked": "requested, options",
    "asking": "requesting",
    "asks": "requests",
    "at once": "immediately, at the same time",
    "began": "started",
    "begins": "starts",
    "begun": "started",
    "beside": "next to",
    "brought to": "converted to",
    "doubts": "warnings",
    "goes on": "resumes, continues",
    "knows of": "supports, has",
    "let alone": "(rewrite the sentence)",
    "let go": "release",
    "lie in": "are in",
    "lies in": "is in",
    "looked at": "processed, read",
    "made ready": "prepared",
    "mend": "fix, correct",
    "mended": "fixed",
    "mends": "fixes",
    "model knows": "model has, model was trained on",
    "models know": "models have",
    "network sees": "network processes, network was trained on",
    "one a fold": "one per fold",
    "one a scan": "one per scan",
    "rooms": "packages",
    "said": "stated, reported",
    "says": "states, reports, shows",
    "speaks of": "describes, names",
    "speck": "small component",
    "specks": "small components",
    "telling": "reporting, informative",
    "tells": "reports, describes",
    "told": "reported, stated, documented in",
    "unasked": "by default",
    "what is taken for what": "confusion matrix",
    "holds answers": "contains predictions",
    "a row a": "one row per",
    "a line a": "one line per",
}
"""Words, and what to write instead. Spaces also match underscores in names."""

IS_NO = r"(?<!there[ _])(?:is|are|was|were)[ _](?:no[ _](?!longer|more|less|better|faster)|none[ _]of)"
"""Pattern of "X is no Y" and "X is none of Y", for which to write "X is not a Y" and "X is not one of Y"."""

FOLDERS = ("bcdseg", "benchmarks", "docs", "examples", "scripts", "tests", "training")
SUFFIXES = {".py", ".md", ".js", ".mjs", ".html", ".css", ".ipynb", ".toml", ".yml"}
KEYS = ('"begun from"',)
"""Keys in files of earlier versions, which are still read."""

LEFT_OUT = (
    "CHANGELOG.md",  # of released versions
    "tests/test_words.py",
    "tests/fuzz/",  # files that fuzzing found
    "tests/model/saved_by_0_1_0/",  # files of an earlier version
    "training/field/finished/",  # results of finished runs
)


def _files() -> list[str]:
    paths = [*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    files = [path.relative_to(ROOT) for path in paths if path.suffix in SUFFIXES and path.is_file()]
    return sorted(
        path.as_posix() for path in files if "node_modules" not in path.parts and not path.as_posix().startswith(LEFT_OUT)
    )


def _without_keys(line: str) -> str:
    for key in KEYS:
        line = line.replace(key, "")
    return line


def test_no_banned_word_is_in_the_repository() -> None:
    words = "|".join(re.escape(word).replace(r"\ ", "[ _]") for word in sorted(BANNED, key=len, reverse=True))
    pattern = re.compile(rf"(?<![A-Za-z])(?:(?:{words})(?![A-Za-z])|{IS_NO})", re.IGNORECASE)
    found = [
        f"{name}:{number}: {match[0]!r}; write {BANNED.get(match[0].lower().replace('_', ' '), 'is not')}"
        for name in _files()
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), start=1)
        for match in pattern.finditer(_without_keys(line))
    ]
    assert not found, "\n".join(found)
