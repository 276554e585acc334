"""Pairs and standings as a report tells them: the numbers are those of `circuitmark compare --json`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from report_tables import METRIC, rows
from reports.compared.ahead import pairs_section, standings_section
from reports.compared.costs import costs_of, plot_costs
from reports.compared.fresh import fresh_section
from reports.leaderboard.entries import Entry, fold_seeds, tidy
from reports.parts.grid import Grid
from reports.parts.numbers import DASH
from reports.parts.style import Line

WHERE: dict[str, Any] = {"model": "m", "graph": "g", "ablation": "resample", "pruned": "edges"}
PAIR: dict[str, Any] = {
    **WHERE, "found_under": "resample", "behaviour": "ioi", "a": "eap", "b": "acdc:attempts=1", "size": None,
    "difference": math.log(2), "low": math.log(1.5), "high": math.log(3), "over": "new data seeds",
    "p_holm": 0.01, "p_equal": 0.9, "verdict": "b ahead", "reason": "",
}  # fmt: skip


def method(name: str, mean: float | None, **more: Any) -> dict[str, Any]:
    ends = {"low": None, "high": None, "rank_low": None, "rank_high": None}
    return {"method": name, "interquartile_mean": mean, "data_seeds": 5, "reason": "none", **ends, **more}


def texts(grid: Grid | None) -> list[list[str]]:
    assert grid is not None
    return [[cell.text for cell in row.cells] for row in grid.rows]


def entries(**costs: float) -> list[Entry]:
    """A method on two tasks, twice as dear on the second."""
    table = [
        row
        for name, cost in costs.items()
        for i, task in enumerate(("ioi", "gt"))
        for row in rows(name, task, cpu_seconds=cost * (i + 1))
    ]
    return fold_seeds(tidy(pd.DataFrame(table), METRIC))


def test_a_pair_is_a_row() -> None:
    section = pairs_section([PAIR, {**PAIR, "size": 0.01}])
    assert section is not None
    assert section.grid is not None
    assert texts(section.grid) == [
        ["ioi", "eap", "acdc (attempts=1)", "2.00", "1.50 to 3.00", "0.0100", "0.900", "b ahead"]
    ]
    assert [cell.best for cell in section.grid.rows[0].cells][:3] == [False, False, True]
    assert section.grid.rows[0].about["method"] == "eap\nacdc (attempts=1)"
    assert "over all sizes: the primary family. Intervals and p are over new data seeds." in section.meaning
    assert "circuitmark compare --json" in section.grid.notes[0]


def test_what_cannot_be_tested_says_why() -> None:
    lone = {
        **PAIR,
        "size": 0.01,
        "low": None,
        "high": None,
        "p_holm": None,
        "p_equal": None,
        "reason": "one template",
    }
    section = pairs_section([lone])
    assert section is not None
    assert texts(section.grid)[0][4:7] == ["not available: one template", DASH, DASH]
    assert "exploratory, because only one size was run" in section.meaning
    assert pairs_section([]) is None
    same = pairs_section([{**PAIR, "p_holm": None, "reason": "a standard error of 0"}])
    assert same is not None
    assert same.grid is not None
    assert same.grid.rows[0].cells[-1].beside == "(a standard error of 0)"


def test_standings_are_ordered_and_cost_what_they_took() -> None:
    acdc = method("acdc", 0.7, low=0.6, high=0.8, rank_low=1.0, rank_high=2.0)
    methods = [method("eap", 0.2), acdc, method("none", None)]
    whole = {**WHERE, "behaviours": ["gt", "ioi"], "methods": methods}
    section = standings_section([whole], entries(eap=2.0, acdc=10.0), {})
    assert section is not None
    assert texts(section.grid) == [
        ["acdc", "0.700", "0.600 to 0.800", "1 to 2", "5", "15.0"],
        ["eap", "0.200", "not available: none", DASH, "5", "3.00"],
        ["none", DASH, "not available: none", DASH, "5", DASH],
    ]
    assert [drawing.stem for drawing in section.figures] == ["quality_and_cost"]
    assert standings_section([{**whole, "methods": [method("eap", None)]}], [], {}) is None
    assert costs_of(entries(eap=2.0), {**WHERE, "model": "other"}) == {}
    unknown = standings_section([whole], entries(other=1.0), {})  # no cost, no figure
    assert unknown is not None
    assert unknown.figures == ()


@pytest.mark.parametrize(
    ("gone", "front"), [((0.1, 0.5, 0.9), [1, 2, 3]), ((0.5, 0.1, 0.9), [1, 3]), ((0.9, 0.5, 0.5), [1])]
)
def test_the_front_is_of_those_whom_nobody_cheaper_beats(gone: tuple[float, ...], front: list[int]) -> None:
    methods = [method(f"m{i}", value) for i, value in enumerate(gone, start=1)]
    costs = {f"m{i}": float(i) for i in range(1, 4)}
    figure = plot_costs(methods, costs, {"m1": Line("#0072b2", "o", "-")}, "")
    steps = figure.axes[0].get_lines()[0]
    assert np.asarray(steps.get_xdata()).tolist() == front
    assert np.asarray(steps.get_ydata()).tolist() == [gone[i - 1] for i in front]
    assert {text.get_text() for text in figure.axes[0].texts} == {"m1", "m2", "m3"}
    figure.canvas.draw()
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert "2" in ticks
    assert not any("$" in tick for tick in ticks)


def test_fresh_prompts_of_one_size_stand_beside_those_of_several() -> None:
    """The area where a behaviour has one, else its only size: none is left out."""
    gap = {
        "model": "m", "ablation": "resample", "graph": "g", "pruned": "edges", "method": "eap", "gap": 0.1,
        "low": 0.0, "high": 0.2, "over": "templates", "other_circuits": 0, "reason": "",
    }  # fmt: skip
    sizes = [("ioi", None), ("ioi", 0.01), ("ioi", 0.1), ("gp", 0.01)]
    section = fresh_section([{**gap, "behaviour": name, "size": size} for name, size in sizes])
    assert section is not None
    assert [row[0] for row in texts(section.grid)] == ["ioi", "gp"]
