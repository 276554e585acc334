"""What tests say about each circuit: one table for all tasks, and what was not tested."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial

import pandas as pd

from reports.leaderboard.entries import EDGES, Entry, Setting, by_task
from reports.parts.content import Section
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import Methods
from reports.parts.metric import Metrics
from reports.parts.numbers import mean_spread, number, plural, share

LEVEL = 0.05
SHOWN = (
    "idle_share", "unneeded_share", "incompleteness_mean", "incompleteness_max", "p_minimality",
    "p_equivalence", "p_independence", "p_independence_empty", "p_sufficiency", "p_necessity",
)  # fmt: skip
MEANING = (
    "Tests of single circuits, after Shi et al. 2024 (arXiv:2410.13032), on templates that no method saw (on "
    "all templates for tasks that hold none out). A small p of minimality, equivalence or independence says "
    "that the circuit is not ideal; a small p of sufficiency or partial necessity, which are tested on all "
    "templates, says that it is better than random connected circuits with as many edges. For several runs, "
    "the table gives how many have a p below 5 %. Incompleteness is Wang et al.'s (arXiv:2211.00593), with "
    "edges knocked out. p is not adjusted for the number of circuits."
)


def circuit_tests_section(
    table: pd.DataFrame, entries: Sequence[Entry], metrics: Metrics, methods: Methods
) -> Section | None:
    """The tests of all circuits except random ones, by task, size and method; None if nothing was tested.

    A test that no circuit took has no column.

    Args:
        table: the long leaderboard, tidy.
        entries: the same, folded over seeds.
        metrics: by name.
        methods: names the random baseline.
    """
    settings = len({entry.setting._replace(pruned=EDGES) for entry in entries})
    tested = [entry for entry in entries if _is_tested(entry, methods)]
    shown = [name for name in SHOWN if any(entry.stat(name).scored for entry in tested)]
    rows = []
    for (setting, task), group in by_task(tested).items():
        where = Cell(_place(setting, task, settings > 1))
        place = {"model": setting.model, "ablation": setting.ablation, "task": task}
        for i, entry in enumerate(group):
            size = Cell(share(entry.size), order=entry.size)
            cells = (where, Cell(entry.method, entry.params), size, *map(partial(_cell, entry), shown))
            rows.append(Row(cells, i == 0, about={**place, "method": entry.label, "size": size.text}))
    if not rows:
        return None
    headings = (
        Heading("task"),
        Heading("method"),
        Heading("edges asked", meaning="requested share of all edges"),
        *(Heading(metrics[name].heading, meaning=metrics[name].description) for name in shown),
    )
    grid = Grid(headings, tuple(rows), 3, _untested(table, methods))
    return Section("Tests of circuits", "circuit-tests", grid, meaning=MEANING)


def _place(setting: Setting, task: str, several: bool) -> str:
    parts = [task, setting.model, setting.ablation] if several else [task]
    return " · ".join([*parts, *([setting.pruned] if setting.pruned != EDGES else [])])


def _is_tested(entry: Entry, methods: Methods) -> bool:
    competes = not entry.is_reference and entry.method != methods.baseline
    return competes and any(entry.stat(name).scored for name in SHOWN)


def _cell(entry: Entry, name: str) -> Cell:
    stat = entry.stat(name)
    if name.startswith("p_") and stat.scored > 1:
        below = sum(p < LEVEL for p in stat.each)
        return Cell(f"{below} of {stat.scored}", order=-below)
    if math.isnan(stat.mean):
        return Cell(number(stat.mean))
    return Cell(mean_spread(stat.mean, stat.spread), order=stat.mean)


def _untested(table: pd.DataFrame, methods: Methods) -> tuple[str, ...]:
    """How many circuits were not tested, by test and by reason."""
    if "untested" not in table.columns:
        return ()
    told = table["untested"][table["method"] != methods.baseline].dropna().astype(str)
    counts = Counter(reason for words in told for reason in words.split("; ") if reason)
    return tuple(
        f"Not tested, {plural(count, 'circuit')}: {reason}." for reason, count in sorted(counts.items())
    )
