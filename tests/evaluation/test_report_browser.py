"""The report in a real browser: tables sort, scans are searched and filtered, nothing is wider than a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_cases import made_table

from bcdseg.evaluation.measures.catalogue import all_measures
from bcdseg.evaluation.measures.intervals import estimate
from bcdseg.evaluation.results import Evaluation

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = {"width": 390, "height": 844}

playwright = pytest.importorskip("playwright.sync_api", reason="playwright, of the extra dev, is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cases = made_table(60)
    measures = all_measures(cases)
    result = Evaluation(
        model="made",
        dataset="made scans",
        about={},
        cases=cases,
        measures=measures,
        estimates=estimate(cases, measures, draws=20),
        training_overlap="none",
    )
    return result.save(tmp_path_factory.mktemp("browser") / "report").parent


@pytest.fixture
def page() -> Iterator[Any]:
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=PHONE)
        page.set_default_timeout(120_000)
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        yield page
        browser.close()
        assert not messages


def test_scans_are_searched_filtered_and_sorted(folder: Path, page: Any) -> None:
    page.goto((folder / "cases.html").as_uri())
    assert page.locator("output").inner_text() == "60 of 60"
    page.locator("label", has_text="classification").locator("select").select_option("wrong")
    rows = page.locator("tbody tr:visible")
    assert page.locator("output").inner_text() == f"{rows.count()} of 60"
    assert rows.count() < 60
    assert all("wrong" in text for text in rows.all_inner_texts())
    page.locator("label", has_text="classification").locator("select").select_option("")
    heads = [text.strip() for text in page.locator("thead th").all_inner_texts()]
    dice = next(at for at, text in enumerate(heads) if text.startswith("Dice"))
    values = f"[...document.querySelectorAll('tbody tr')].map(row => row.cells[{dice}].textContent)"
    for order in ("ascending", "descending"):
        page.locator("thead th").nth(dice).locator("button").click()
        assert page.locator("thead th").nth(dice).get_attribute("aria-sort") == order
        shown = [float(value) for value in page.evaluate(values) if value != "\u2013"]
        assert shown == sorted(shown, reverse=order == "descending")
        assert page.evaluate(values)[-1] == "\u2013"  # scans without a lesion stay at the end
    page.locator("input[type=search]").fill("no such scan")
    assert page.locator("output").inner_text() == "0 of 60"


def test_the_report_fits_a_phone_and_its_pictures_grow(folder: Path, page: Any) -> None:
    page.goto((folder / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.set_viewport_size({"width": 1200, "height": 900})
    button = page.locator("button.picture").first
    before = button.bounding_box()["width"]
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert button.bounding_box()["width"] > 2 * before
