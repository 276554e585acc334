"""Methods over tasks: the mean rank of one metric over every (task, size) that has been scored.

A rank says who was better, not by how much. Ties share their mean rank; the full and the empty
circuit are not ranked, random circuits are. A method missing from a cell is ranked in the others
only, and `cells` says in how many; a cell with a single scored method ranks nobody.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from reports.entries import Entry, Setting
from reports.grid import Cell, Grid, Heading, Row
from reports.metric import Metric
from reports.numbers import DASH, number, plural


@dataclass(frozen=True)
class Ranking:
    """One setting's mean ranks, best method first."""

    setting: Setting
    ranks: pd.DataFrame
    """Rows are methods with their parameters; columns `mean`, `cells`, then one mean rank per task."""
    cells: int
    """How many (task, size) cells ranked anybody."""


def rank(entries: Sequence[Entry], metric: Metric) -> list[Ranking]:
    """Rankings by `metric`, one per setting; none where the metric has no direction."""
    rankings = []
    for setting in sorted({entry.setting for entry in entries}):
        cells = _ranked_cells([entry for entry in entries if entry.setting == setting], metric)
        if not cells:
            continue
        ranks = pd.DataFrame(cells)  # columns are (task, size) cells, rows are methods
        table = pd.DataFrame({"mean": ranks.mean(axis=1), "cells": ranks.count(axis=1)})
        for task in sorted({task for task, _ in cells}):
            table[task] = ranks[[cell for cell in ranks.columns if cell[0] == task]].mean(axis=1)
        table = table.sort_index().sort_values("mean", kind="stable")
        rankings.append(Ranking(setting, table, len(cells)))
    return rankings


def _ranked_cells(entries: Sequence[Entry], metric: Metric) -> dict[tuple[str, float], "pd.Series[float]"]:
    """Ranks by method for each (task, size) where at least two methods were scored."""
    cells: dict[tuple[str, float], dict[str, float]] = {}
    for entry in entries:
        badness = metric.badness(entry.value(metric.name), entry.value("chance"))
        # A circuit of a method's own size has no rival of that size.
        if not entry.is_reference and not math.isnan(badness) and not math.isnan(entry.size):
            cells.setdefault((entry.task, entry.size), {})[entry.label] = badness
    return {cell: pd.Series(scores).rank() for cell, scores in cells.items() if len(scores) > 1}


def turnovers(rankings: Sequence[Ranking]) -> list[str]:
    """One sentence per pair of methods whose order turns over between two ablations of one model."""
    found = []
    for one, two in combinations(rankings, 2):
        if one.setting[:2] != two.setting[:2]:
            continue
        for a, b in combinations([name for name in one.ranks.index if name in two.ranks.index], 2):
            first = one.ranks.loc[a, "mean"] - one.ranks.loc[b, "mean"]
            second = two.ranks.loc[a, "mean"] - two.ranks.loc[b, "mean"]
            if first * second < 0:
                found.append(
                    f"{one.setting.model}: the order of {a} and {b} turns over "
                    f"between {one.setting.ablation} and {two.setting.ablation}."
                )
    return found


def ranking_grid(ranking: Ranking, metric: Metric) -> Grid:
    """Methods by mean rank, overall and per task; the lowest mean rank of each column is marked."""
    columns = [name for name in ranking.ranks.columns if name != "cells"]
    lowest = {name: ranking.ranks[name].min() for name in columns}
    rows = []
    for method, ranks in ranking.ranks.iterrows():
        cells = [Cell(number(ranks[name]), "", ranks[name] == lowest[name], ranks[name]) for name in columns]
        cells.insert(1, Cell(f"{int(ranks['cells'])} of {ranking.cells}", order=-ranks["cells"]))
        rows.append(Row((Cell(str(method)), *cells)))
    headings = (
        Heading("method"),
        Heading("mean rank ↓", meaning=f"mean rank of {metric.label} over tasks and sizes, 1 is best"),
        Heading("cells", meaning="in how many (task, size) cells the method was ranked"),
        *(Heading(name, meaning=f"mean rank on {name} over its sizes") for name in columns[1:]),
    )
    missing = int(ranking.ranks[columns].isna().sum().sum())
    notes = (f"{plural(missing, 'cell')} unscored ({DASH}).",) if missing else ()
    return Grid(headings, tuple(rows), 1, notes)
