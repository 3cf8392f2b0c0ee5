"""Files that broke a reader once, and hostile ones: each is read, or refused with one of the library's own errors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.loop import CORPUS, check_case
from fuzz.targets import TARGETS, Read

FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.fixture(scope="module", params=[pytest.param(name, id=name) for name in TARGETS])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Read]]:
    with TARGETS[request.param].reading(tmp_path_factory.mktemp(request.param)) as read:
        yield request.param, read


def test_stored_files_are_read_or_refused(target: tuple[str, Read]) -> None:
    name, read = target
    for path in FILES:
        if path.parent.name == name:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                check_case(read, path.name, path.read_bytes())


def test_valid_files_are_read(target: tuple[str, Read]) -> None:
    name, read = target
    for file, content in TARGETS[name].seeds().items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert check_case(read, file, content), file


def test_the_corpus_is_small_and_each_file_has_a_target() -> None:
    assert {Path(path).parent.name for path in FILES} <= set(TARGETS)
    assert sum(path.stat().st_size for path in FILES) < 500_000
