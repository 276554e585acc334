"""Methods over tasks: the mean rank of one metric over every (task, size) that has been scored.

A rank says who was better, not by how much. Ties share their mean rank. The full and the empty
circuit are not ranked, nor are circuits with more edges than requested; random circuits are. A method
missing from a cell is ranked in the others only, and `cells` says in how many. Cells with a single
scored method, or in which all are the same, are left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports.leaderboard.entries import Entry, Setting
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import Methods
from reports.parts.metric import Metric
from reports.parts.numbers import DASH, number, plural


@dataclass(frozen=True)
class Ranking:
    """One setting's mean ranks, best method first."""

    setting: Setting
    mean: "pd.Series[float]"
    """Mean rank by method (with its parameters), lowest first."""
    scored: "pd.Series[int]"
    """In how many cells each method was ranked."""
    by_task: pd.DataFrame
    """Mean rank over the sizes of a task: methods by tasks."""
    cells: int
    """How many (task, size) cells rank methods."""


def rank(entries: Sequence[Entry], metric: Metric) -> list[Ranking]:
    """Rankings by `metric`, one per setting; none where the metric has no direction."""
    rankings = []
    for setting in sorted({entry.setting for entry in entries}):
        cells = _ranked_cells([entry for entry in entries if entry.setting == setting], metric)
        if not cells:
            continue
        ranks = pd.DataFrame(list(cells.values()), index=pd.MultiIndex.from_tuples(cells)).T.sort_index()
        mean = ranks.mean(axis=1).sort_values(kind="stable")
        by_task = ranks.T.groupby(level=0).mean().T
        rankings.append(Ranking(setting, mean, ranks.count(axis=1), by_task, len(cells)))
    return rankings


def _ranked_cells(entries: Sequence[Entry], metric: Metric) -> dict[tuple[str, float], "pd.Series[float]"]:
    """Ranks by method for each (task, size) where at least two methods were scored."""
    cells: dict[tuple[str, float], dict[str, float]] = {}
    for entry in entries:
        badness = metric.badness(entry.value(metric.name))
        # A circuit of a method's own size has no rival of that size.
        competes = not (entry.is_reference or entry.is_oversize or entry.is_all_the_same)
        if competes and not math.isnan(badness) and not math.isnan(entry.size):
            cells.setdefault((entry.task, entry.size), {})[entry.label] = badness
    return {cell: pd.Series(scores).rank() for cell, scores in cells.items() if len(scores) > 1}


def ranking_grid(ranking: Ranking, metric: Metric, methods: Methods) -> Grid:
    """Methods by mean rank, overall and per task; the lowest of each column is marked, random ones aside.

    Overall, only methods ranked in the most cells can be marked: one that ran only on easy cells is not best.

    Args:
        ranking: the ranking of one setting.
        metric: the metric that ranks methods.
        methods: names the random baseline.
    """
    tasks = list(ranking.by_task.columns)
    competing = ranking.scored[[not methods.is_random(str(method)) for method in ranking.scored.index]]
    most = ranking.mean[ranking.scored == competing.max()]
    rows = []
    for method in map(str, ranking.mean.index):
        scored = int(ranking.scored[method])
        overall = (
            _cell(method, ranking.mean, most, methods),
            Cell(f"{scored} of {ranking.cells}", order=-float(scored)),
        )
        each = (_cell(method, ranking.by_task[task], ranking.by_task[task], methods) for task in tasks)
        rows.append(Row((Cell(method), *overall, *each), about={"method": method}))
    headings = (
        Heading("method"),
        Heading("mean rank ↓", meaning=f"mean rank by {metric.label} over tasks and sizes; 1 is best"),
        Heading("cells", meaning="in how many (task, size) cells the method was ranked"),
        *(Heading(name, meaning=f"mean rank on {name} over its sizes") for name in tasks),
    )
    missing = int(ranking.by_task.isna().sum().sum())
    notes = (f"{plural(missing, 'cell')} unscored ({DASH}).",) if missing else ()
    return Grid(headings, tuple(rows), 1, notes)


def _cell(method: str, column: "pd.Series[float]", rivals: "pd.Series[float]", methods: Methods) -> Cell:
    rank = float(column[method])
    ranks = {label: each for label, each in rivals.items() if not methods.is_random(str(label))}
    best = method in ranks and rank == min(filter(math.isfinite, ranks.values()), default=math.nan)
    return Cell(number(rank), best=best, order=rank)
