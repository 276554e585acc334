"""The table of tests of circuits: what stands in it, and what is counted beneath."""

from __future__ import annotations

import math

import pandas as pd

from report_tables import METRICS, leaderboard, one_seed, section
from reports.leaderboard.circuit_tests import SHOWN
from reports.parts.methods import Methods
from reports.render import markdown_page
from reports.report import build

HEADING = "Tests of circuits"


def page(table: pd.DataFrame) -> str:
    metrics = [*METRICS, *({"name": name, "label": name} for name in SHOWN)]
    return markdown_page(
        build(table, metrics, Methods(names=("good", "middling"), baseline="random_edges"), "x")
    )


def with_tests(table: pd.DataFrame) -> pd.DataFrame:
    """Methods' circuits with an idle share and a p by seed; a random one's, which is not to be shown."""
    circuits = table["size_requested"].notna() & ~table["method"].isin(("full", "empty"))
    p = table["data_seed"].map({0: 0.01, 1: 0.2})
    untested = pd.Series("", index=table.index).where(table["method"] != "middling", "minimality: no edge")
    return table.assign(
        idle_share=pd.Series(0.25, index=table.index).where(circuits),
        p_equivalence=p.where(circuits),
        untested=untested.where(circuits),
    )


def test_one_run_shows_p_and_several_how_many_are_small() -> None:
    one = section(page(with_tests(one_seed(leaderboard()))), HEADING)
    rows = [line for line in one.splitlines() if line.startswith(("| gt ", "| ioi "))]
    assert len(rows) == 8
    assert all("| 0.250 |" in row and "| 0.0100 |" in row for row in rows)
    assert "random_edges" not in one
    assert "p_necessity" not in one, "which no circuit had"
    several = section(page(with_tests(leaderboard())), HEADING)
    assert several.count("| 1 of 2 |") == 8


def test_untested_circuits_are_counted() -> None:
    text = section(page(with_tests(leaderboard())), HEADING)
    assert "Not tested, 8 circuits: minimality: no edge." in text


def test_without_tests_there_is_no_section() -> None:
    table = leaderboard()
    assert f"## {HEADING}" not in page(table)
    assert f"## {HEADING}" not in page(table.assign(idle_share=math.nan, untested="knock-outs: not made"))
