"""The leaderboard as a small table for the terminal: one metric, methods by size."""

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest

import pandas as pd
from rich.markup import escape
from rich.table import Table

from reports.leaderboard.entries import Entry, by_task, fold_seeds, tidy
from reports.leaderboard.tables import HEADLINE
from reports.parts.metric import Metric, Metrics, read_metrics
from reports.parts.numbers import DASH, number, share


def terminal_table(table: pd.DataFrame, metrics: Sequence[Mapping[str, str]]) -> Table:
    """kl by method and size for each task, and the seconds of discovery; the best of a size is bold.

    The values of the full and the empty circuit, and of the mask of ones, stand under the task's name. A star
    marks a circuit with more edges than asked for, which is never bold.

    Raises:
        ValueError: an empty table.
    """
    known = read_metrics(metrics)
    entries = fold_seeds(tidy(table, known))
    groups = by_task(entries)
    sizes = sorted({entry.size for entry in entries if not (entry.is_reference or math.isnan(entry.size))})
    settings = {setting for setting, _ in groups}
    metric = known[HEADLINE]
    view = Table(title=f"{escape(metric.heading)} ({metric.unit or metric.name}) by share of edges kept")
    view.add_column("task")
    view.add_column("method")
    for size in sizes:
        view.add_column(share(size), justify="right")
    view.add_column("seconds", justify="right")
    for (setting, task), group in groups.items():
        names = [task] if len(settings) == 1 else [task, setting.model, setting.ablation]
        names += [f"{e.method} {number(e.value(HEADLINE))}" for e in group if e.is_reference]
        _add_task(view, names, group, sizes, known)
    if any(entry.is_oversize for entry in entries):
        view.caption = "* more edges than asked for: not ranked"
    return view


def _add_task(
    view: Table, names: Sequence[str], group: Sequence[Entry], sizes: Sequence[float], known: Metrics
) -> None:
    """One line per method; the task's names run down the first column beside them."""
    cells = {(entry.label, entry.size): entry for entry in group if not entry.is_reference}
    texts = {key: number(e.value(HEADLINE)) + "*" * e.is_oversize for key, e in cells.items()}
    for key in _best(cells, known[HEADLINE]):
        texts[key] = f"[bold]{texts[key]}[/bold]"
    lines = []
    for label in sorted({label for label, _ in cells}):
        seconds = [entry.value("seconds") for (name, _), entry in cells.items() if name == label]
        slowest = max((value for value in seconds if not math.isnan(value)), default=math.nan)
        lines.append([escape(label), *(texts.get((label, size), DASH) for size in sizes), number(slowest)])
    for name, line in zip_longest(names, lines):
        view.add_row(escape(name or ""), *(line or []))
    view.add_section()


def _best(cells: Mapping[tuple[str, float], Entry], metric: Metric) -> list[tuple[str, float]]:
    """The cells that are best of their size, ties included."""
    rivals = {key: entry for key, entry in cells.items() if not entry.is_oversize}
    badness = {key: metric.badness(e.value(metric.name), e.value("chance")) for key, e in rivals.items()}
    best: dict[float, float] = {}
    for (_, size), bad in badness.items():
        if not math.isnan(bad):
            best[size] = min(bad, best.get(size, math.inf))
    return [key for key, bad in badness.items() if bad == best.get(key[1])]
