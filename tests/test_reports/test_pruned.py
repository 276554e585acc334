"""Circuits of fewer weights stand in tables of their own, and compete with each other alone."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from rich.console import Console

import reports
from report_tables import METRICS, leaderboard, section
from reports.leaderboard.entries import fold_seeds, tidy
from reports.leaderboard.ranking import rank
from reports.parts.methods import Methods
from reports.parts.metric import read_metrics
from reports.render import markdown_page
from reports.report import build

METHODS = Methods(("good", "middling", "random_edges"), "random_edges")


@pytest.fixture
def table() -> pd.DataFrame:
    """`good` leaves weights out as well."""
    table = leaderboard()
    table["pruned"] = table["method"].map({"good": "weights and edges"}).fillna("edges")
    return table


def test_each_kind_has_a_table_and_both_have_the_references(table: pd.DataFrame) -> None:
    page = markdown_page(build(table, METRICS, METHODS, ""))
    edges, weights = (section(page, f"ioi · {kind}") for kind in ("edges", "weights and edges"))
    names = [
        {line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if "| " in line}
        for text in (edges, weights)
    ]
    assert {"empty", "full", "middling", "random_edges"} <= names[0]
    assert {"empty", "full", "good"} <= names[1]
    assert "good" not in names[0]
    assert not {"middling", "random_edges"} & names[1]


def test_nobody_is_ranked_beside_the_other_kind(table: pd.DataFrame) -> None:
    metrics = read_metrics(METRICS)
    (ranking,) = rank(fold_seeds(tidy(table, metrics)), metrics["kl"])
    assert ranking.setting.pruned == "edges"
    assert set(ranking.mean.index) == {"middling", "random_edges"}
    one_kind = rank(fold_seeds(tidy(table.drop(columns="pruned"), metrics)), metrics["kl"])
    assert [set(ranking.mean.index) for ranking in one_kind] == [{"good", "middling", "random_edges"}]


def test_the_terminal_says_which(table: pd.DataFrame) -> None:
    told = io.StringIO()
    Console(file=told, width=120).print(reports.terminal_table(table, METRICS, METHODS))
    assert "weights and edges" in told.getvalue()


def test_figures_have_names_of_their_own(table: pd.DataFrame) -> None:
    built = build(table, METRICS, METHODS, "")
    names = [drawing.stem for task in built.tasks for drawing in task.figures]
    assert len(set(names)) == len(names) == 2 * len([n for n in names if "weights-and-edges" in n])
