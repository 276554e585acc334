"""The leaderboard as a small table for the terminal: one metric, methods by size."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

import pandas as pd
from rich.markup import escape
from rich.table import Table

from reports.leaderboard.entries import EDGES, Entry, by_task, fold_seeds, tidy
from reports.leaderboard.tables import best, headline
from reports.parts.methods import Methods
from reports.parts.metric import Metric, read_metrics
from reports.parts.numbers import DASH, number, share

MARKS = {
    "*": "more edges than requested: not ranked",
    "!": "worse than the empty circuit",
    "=": "all the same: methods cannot be told apart at this size",
}
"""The marks after a value, and what they mean."""


def terminal_table(table: pd.DataFrame, metrics: Sequence[Mapping[str, str]], methods: Methods) -> Table:
    """The headline by method and size for each task, and seconds of discovery; the best of a size is bold.

    The values of the full and the empty circuit, and of the mask of ones, are under the task's name. Values
    with one of the `MARKS` are never bold, nor are random circuits.

    Args:
        table: the long form.
        metrics: what its columns mean, as `read_metrics` takes it.
        methods: names the random baseline.

    Raises:
        ValueError: an empty table.
    """
    known = read_metrics(metrics)
    entries = fold_seeds(tidy(table, known))
    groups = by_task(entries)
    shown = [entry for entry in entries if not entry.is_reference]
    sizes = sorted({entry.size for entry in shown if not math.isnan(entry.size)})
    settings = {setting._replace(pruned=EDGES) for setting, _ in groups}
    metric = known[headline(entries)]
    view = Table(title=f"{escape(metric.heading)} ({metric.unit or metric.name}) by share of edges kept")
    view.add_column("task")
    view.add_column("method")
    if several := any(entry.runs > 1 for entry in shown):
        view.add_column("runs (data seeds)", justify="right")
    for size in sizes:
        view.add_column(share(size), justify="right")
    view.add_column("seconds", justify="right")
    for (setting, task), group in groups.items():
        names = [task] if len(settings) == 1 else [task, setting.model, setting.ablation]
        names += [setting.pruned] if setting.pruned != EDGES else []
        names += [f"{e.method} {number(e.value(metric.name))}" for e in group if e.is_reference]
        lines = _lines(group, sizes, metric, methods, several)
        for name, line in zip_longest(names, lines):
            view.add_row(escape(name or ""), *(line or []))
        view.add_section()
    met = set("".join(map(_marks, shown)))
    view.caption = "\n".join(f"{mark} {meaning}" for mark, meaning in MARKS.items() if mark in met) or None
    return view


def _lines(
    group: Sequence[Entry], sizes: Sequence[float], metric: Metric, methods: Methods, several: bool
) -> Iterator[list[str]]:
    """One line per method; the task's names run down the first column beside them."""
    marked = best(group, metric, methods)
    texts = {}
    for entry in group:
        text = number(entry.value(metric.name)) + _marks(entry)
        texts[entry.label, entry.size] = f"[bold]{text}[/bold]" if entry in marked else text
    for label in sorted({entry.label for entry in group if not entry.is_reference}):
        mine = [entry for entry in group if entry.label == label]
        seconds = [entry.value("seconds") for entry in mine]
        slowest = max((value for value in seconds if not math.isnan(value)), default=math.nan)
        most = max(mine, key=lambda entry: entry.runs)
        runs = [f"{most.runs} ({most.data_seeds})" if most.runs > 1 else ""] if several else []
        yield [escape(label), *runs, *(texts.get((label, size), DASH) for size in sizes), number(slowest)]


def _marks(entry: Entry) -> str:
    return "*" * entry.is_oversize + "!" * entry.is_worse_than_empty + "=" * entry.is_all_the_same
