"""The page in a real browser: what it shows, hides, sorts and saves, and that it asks for nothing."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import reports
from bench.exchange.drawn import drawn_edge
from report_tables import EVIL, METRICS, leaderboard, one_seed
from reports import Methods, Viewed
from reports.page import render_page
from reports.parts.content import Section
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.numbers import number
from reports.report import build

sync_api = pytest.importorskip("playwright.sync_api")

METHODS = Methods(("good", "middling", "random_edges"), "random_edges")
WHERE = {"model": "tiny/lm", "graph": "edges", "ablation": "resample", "pruned": "edges"}
PAIR = {
    **WHERE, "found_under": "resample", "behaviour": "ioi", "a": "good", "b": "middling", "size": None,
    "difference": -0.5, "low": -0.9, "high": -0.1, "over": "new templates, this data seed",
    "p_holm": 0.01, "p_equal": 0.6, "verdict": "a ahead", "reason": "",
}  # fmt: skip
GOOD = {
    "method": "good", "interquartile_mean": 0.6, "low": 0.5, "high": 0.7, "rank_low": 1.0, "rank_high": 1.0,
    "data_seeds": 5,
}  # fmt: skip
MIDDLING = {
    **GOOD, "method": "middling", "interquartile_mean": 0.3, "low": None, "high": None, "rank_low": None,
    "rank_high": None, "reason": "too few data seeds",
}  # fmt: skip
WHOLE = {**WHERE, "behaviours": ["gt", "ioi"], "methods": [GOOD, MIDDLING]}
SMALL, LARGE = ("embed->a0.h1.q", "a0.h1->logits"), ("embed->a0.h1.q", "a0.h1->logits", "embed->m1")
CIRCUITS = [
    Viewed(
        "ioi · tiny/lm · resample", name,
        [(size, frozenset(map(drawn_edge, edges))) for size, edges in sizes], scores,
    )
    for name, sizes, scores in (
        ("good", [("1 %", SMALL), ("2 %", LARGE)], {"embed->m1": 0.1234}),
        (EVIL, [("1 %", SMALL[:1]), ("2 %", ("embed->a0.h1.q", "embed->logits"))], {}),
    )
]  # fmt: skip
IOI, GT = "#task-tiny-lm_ioi_resample", "#task-tiny-lm_gt_resample"
Page = Any
"""Playwright's, which is not typed where it is not installed."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two tasks whose title is markup."""
    out = tmp_path_factory.mktemp("page")
    table = one_seed(leaderboard()).assign(cpu_seconds=2.0)
    told: dict[str, list[Any]] = {"pairs": [PAIR], "behaviours": [WHOLE]}
    files = reports.render_report(
        table, METRICS, METHODS, EVIL, compared=told, bibtex="@article{one}", viewed=CIRCUITS
    )
    (out / "index.html").write_bytes(files["index.html"])
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, as Debian has it. Where there is none these tests are skipped, but in CI they fail."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None and os.environ.get("CI"):
        pytest.fail("there is no Chromium: .ci/run installs it")
    if found is None:
        pytest.skip("there is no Chromium here")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Page]:
    """The page, opened; it says nothing on the console and asks for nothing but itself."""
    shown = browser.new_page(viewport={"width": 1280, "height": 900})
    troubles: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: troubles.append(message.text))
    shown.on("pageerror", lambda error: troubles.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    address = (folder / "index.html").as_uri()
    shown.goto(address)
    yield shown
    blobs = [each for each in asked if not each.startswith("blob:")]  # what it saves
    assert (troubles, blobs) == ([], [address])
    shown.close()


def rows(page: Page, place: str) -> list[list[str]]:
    """The rows of a section's table that are seen, by their first two cells."""
    seen = page.locator(f"{place} tbody tr:visible").all()
    return [[cell.inner_text().split("\n")[0] for cell in row.locator("td").all()[:2]] for row in seen]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(page: Page, scheme: str, width: int) -> None:
    """By axe-core's rules."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    [each.click() for each in page.locator("details > summary").all()]
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # tables scroll, the page does not


def test_names_are_text(page: Page) -> None:
    assert page.locator("h1").inner_text() == EVIL


def test_filters_leave_out_rows_sections_and_lines(page: Page) -> None:
    everything = rows(page, IOI)
    page.select_option("select[name=method]", "good")
    assert {name for name, _ in rows(page, IOI)} == {"good", "full", "empty"}
    assert rows(page, "#pairs") == [["ioi", "good"]]
    figure = page.locator(f"{IOI} figure").first
    assert figure.locator("[data-method=good]:visible").count() > 0
    assert figure.locator("[data-method=middling]:visible").count() == 0
    page.select_option("select[name=size]", "10 %")
    assert [size for name, size in rows(page, IOI) if name == "good"] == ["10 %"]
    page.select_option("select[name=task]", "gt")
    assert not page.locator(IOI).is_visible()
    assert page.locator(GT).is_visible()
    assert rows(page, "#pairs") == []
    page.get_by_role("button", name="reset").click()
    assert rows(page, IOI) == everything
    assert page.locator("select[name=method]").input_value() == ""


def test_a_heading_sorts_and_the_references_stay(page: Page) -> None:
    """Best first, by the mouse; then worst first, by the keyboard; then as it was."""
    before = rows(page, IOI)
    heading = page.locator(f"{IOI} th button", has_text="KL")
    heading.click()
    names = [name for name, _ in rows(page, IOI)]
    assert set(names[:2]) == {"full", "empty"}
    assert rows(page, IOI)[2] in (["good", "10 %"], ["middling", "10 %"])
    assert rows(page, IOI)[-1] == ["random_edges", "1 %"]
    heading.focus()
    page.keyboard.press("Enter")
    assert {name for name, _ in rows(page, IOI)[:2]} == {"full", "empty"}
    assert rows(page, IOI)[2] == ["random_edges", "1 %"]
    page.get_by_role("button", name="reset").click()
    assert rows(page, IOI) == before


def test_infinity_is_sorted_as_a_number(browser: Any, tmp_path: Path) -> None:
    """Of edges needed: no circuit is good enough."""
    orders = [math.inf, 0.5, 0.2, math.inf, 0.9]
    cells = [Row((Cell(f"m{i}"), Cell(number(order), order=order))) for i, order in enumerate(orders)]
    grid = Grid((Heading("method"), Heading("edges needed")), tuple(cells), 1)
    whole = build(leaderboard(), METRICS, METHODS, "")
    report = replace(whole, tasks=(), panel=None, further=[Section("Needed", "needed", grid)])
    (tmp_path / "index.html").write_text(render_page("", report, None, {}, {}))
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    page.locator("#needed th button", has_text="edges needed").click()
    assert [name for name, _ in rows(page, "#needed")] == ["m2", "m1", "m4", "m0", "m3"]
    page.close()


def test_axes_are_as_suits_or_linear(page: Page) -> None:
    figure = page.locator(f"{IOI} figure").first
    suits, linear = figure.locator(".as-suits"), figure.locator(".linear")
    assert (suits.is_visible(), linear.is_visible()) == (True, False)
    page.select_option("select[name=axes]", "linear")
    assert (suits.is_visible(), linear.is_visible()) == (False, True)
    assert "0.97" in suits.text_content()
    assert "0.97" not in linear.text_content()


def test_values_are_read_at_their_points(page: Page) -> None:
    line = page.locator(f"{IOI} figure .as-suits [data-method=good][data-values*='0.850']").first
    told = [title.text_content() for title in line.locator("use > title").all()]
    assert told == ["good, 1 %: 0.850 [0.800, 0.867]", "good, 10 %: 0.933 [0.883, 0.950]"]


def test_tables_and_papers_are_saved(page: Page, tmp_path: Path) -> None:
    """Just the rows that are shown."""

    def saved(name: str) -> str:
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        download.value.save_as(tmp_path / "file")
        return (tmp_path / "file").read_text()

    page.select_option("select[name=method]", "good")
    table = list(csv.DictReader(saved("CSV: Circuits on ioi").splitlines()))
    assert [row["method"] for row in table if row["method"] not in ("full", "empty")] == ["good", "good"]
    assert len(json.loads(saved("JSON: Circuits on ioi"))) == len(table)
    [each.click() for each in page.locator("details > summary").all()]
    assert saved("BibTeX of the methods, as a file") == "@article{one}"


def test_it_reads_without_scripts(browser: Any, folder: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    shown = context.new_page()
    shown.goto((folder / "index.html").as_uri())
    assert not shown.locator("#filters").is_visible()
    assert len(rows(shown, IOI)) == 8
    assert shown.locator(f"{IOI} figure svg:visible").count() >= 2
    assert shown.locator("#behaviours td", has_text="not available: too few data seeds").is_visible()
    context.close()


def test_circuits_are_drawn_at_a_size_beside_another_and_by_layer(page: Page) -> None:
    viewer, edges = page.locator("#viewer"), page.locator("#circuit .edge")
    assert edges.count() == 3
    viewer.locator("input").press("Home")
    assert (viewer.locator("output").text_content(), edges.count()) == ("1 %", 2)
    viewer.locator("input").press("End")
    viewer.locator("select").nth(2).select_option(label=EVIL)
    kinds = {kind: page.locator(f"#circuit .edge.{kind}").count() for kind in ("both", "first", "second")}
    assert kinds == {"both": 1, "first": 2, "second": 1}
    titles = edges.locator("title").all_text_contents()
    assert "embed->m1, in good alone; score: good 0.123" in titles
    assert sorted(page.locator("#circuit-edges").text_content().split("\n")) == sorted(titles)
    viewer.locator("select").nth(3).select_option("1")
    assert [title.partition(",")[0] for title in edges.locator("title").all_text_contents()] == ["embed->m1"]
    assert (
        page.locator("#circuit svg")
        .get_attribute("aria-label")
        .startswith("0 edges in both, 1 in good alone")
    )


def test_beside_a_circuit_stands_the_other_s_nearest_smaller_one(browser: Any, tmp_path: Path) -> None:
    small, large = frozenset(map(drawn_edge, SMALL)), frozenset(map(drawn_edge, LARGE))
    circuits = [
        Viewed("here", "one", [("1 %", small), ("5 %", large), ("20 %", large)], {}, 3),
        Viewed("here", "two", [("0.5 %", small), ("50 %", large)], {}),
    ]
    files = reports.render_report(leaderboard(), METRICS, METHODS, viewed=circuits)
    (tmp_path / "index.html").write_bytes(files["index.html"])
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    page.locator("#viewer select").nth(2).select_option(label="two")
    page.locator("#viewer input").press("ArrowLeft")
    assert page.locator("#viewer output").text_content() == "5 %"
    said = page.locator("#circuit svg").get_attribute("aria-label")
    assert said == "2 edges in both, 1 in one alone, 0 in two at 0.5 % alone"
    page.locator("#viewer select").nth(2).select_option(label="nothing")
    page.locator("#viewer input").press("ArrowLeft")
    said = page.locator("#circuit svg").get_attribute("aria-label")
    assert said == "2 edges of one; larger circuits, not drawn: 3"
    page.close()
