"""One task's leaderboard as a grid: methods by size, the columns of `COLUMNS`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.leaderboard.entries import Entry, Stat
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import Methods
from reports.parts.metric import Metric, Metrics
from reports.parts.numbers import DASH, interval, mean_spread, plural, share

HEADLINE = "kl"
"""The metric that ranks methods; which way it is better comes with its description."""
EXCEEDED = "exceeded"
"""Stands beside the size of a circuit that has more edges."""


@dataclass(frozen=True)
class Column:
    """One column of a task's table. An interval is shown where `<metric>_low` and `_high` exist."""

    metric: str
    judged: bool = True
    """Whether the best of a size is marked; not for a metric that is no ranking by itself."""
    optional: bool = False
    """Left out of a task where nothing was scored."""


COLUMNS = (
    Column(HEADLINE),
    Column("kl_candidates", optional=True),
    Column("exact_match"),
    Column("choice_accuracy", optional=True),
    Column("complement_choice_accuracy", judged=False, optional=True),  # which way depends
    Column("chance", judged=False, optional=True),
    Column("faithfulness"),
    Column("complement_kl"),
    Column("complement_loss", judged=False),  # any large circuit reaches 1; its margin is what tells
    Column("complement_loss_margin"),
    Column("edges_kept"),
    Column("effective_edges"),
    Column("weight_density", judged=False, optional=True),
    Column("seconds"),
    Column("forward_equivalents"),
)


def task_grid(entries: Sequence[Entry], metrics: Metrics, methods: Methods) -> Grid:
    """Methods by size on one task: empty first, then by size, the best in kl of each size on top.

    The best value of a size is marked where at least two methods were scored and they differ; nobody
    competes with a random circuit, nor with one that has more edges than asked for.

    Args:
        entries: of one task under one setting.
        metrics: by name; they say which way is better.
        methods: which method is the random one.
    """
    columns = [column for column in COLUMNS if _is_shown(column, entries)]
    ranked = sorted(
        entries, key=lambda entry: (*_size_order(entry), _badness(entry, metrics[HEADLINE]), entry.label)
    )
    rivals = [
        entry
        for entry in ranked
        if not (entry.is_reference or entry.is_oversize or entry.method == methods.baseline)
    ]
    best = {column: _best(column, rivals, metrics) for column in columns}
    whole = {column: _is_whole(column, entries) for column in columns}
    rows = []
    for position, entry in enumerate(ranked):
        asked = Cell(share(entry.size), EXCEEDED if entry.is_oversize else "", order=entry.size)
        names = (Cell(entry.method, entry.params), asked)
        cells = [_cell(entry, column, metrics, whole[column], entry in best[column]) for column in columns]
        starts = position == 0 or _size_order(ranked[position - 1]) != _size_order(entry)
        rows.append(Row((*names, *cells), starts, entry.is_reference))
    headings = (
        Heading("method"),
        Heading("edges asked", meaning="share of all edges that was asked for"),
        *(_heading(metrics[column.metric]) for column in columns),
    )
    notes = (*_oversize(ranked), *_unscored(rows, ranked, columns))
    return Grid(headings, tuple(rows), 2, notes)


def _size_order(entry: Entry) -> tuple[bool, float]:
    own = math.isnan(entry.size)
    return own, 0.0 if own else entry.size


def _badness(entry: Entry, metric: Metric) -> float:
    badness = metric.badness(entry.value(metric.name), entry.value("chance"))
    return math.inf if math.isnan(badness) else badness


def _is_shown(column: Column, entries: Sequence[Entry]) -> bool:
    stats = [entry.stats[column.metric] for entry in entries if column.metric in entry.stats]
    return any(stat.scored for stat in stats) if column.optional else bool(stats)


def _is_whole(column: Column, entries: Sequence[Entry]) -> bool:
    """Whether a column counts things: all its values are integers, and some above 1."""
    scored = [entry.stat(column.metric) for entry in entries if entry.stat(column.metric).scored]
    return all(stat.whole for stat in scored) and any(stat.mean > 1 for stat in scored)


def _best(column: Column, entries: Sequence[Entry], metrics: Metrics) -> list[Entry]:
    """The entries that are best at their size, ties included."""
    judge = metrics[column.metric]
    sizes: dict[tuple[bool, float], list[Entry]] = {}
    for entry in entries:
        if column.judged and not math.isinf(_badness(entry, judge)):
            sizes.setdefault(_size_order(entry), []).append(entry)
    best = []
    for rivals in sizes.values():
        scores = [_badness(entry, judge) for entry in rivals]
        if min(scores) < max(scores):
            best += [entry for entry, score in zip(rivals, scores, strict=True) if score == min(scores)]
    return best


def _cell(entry: Entry, column: Column, metrics: Metrics, whole: bool, best: bool) -> Cell:
    stat, metric = entry.stat(column.metric), metrics[column.metric]
    beside = [interval(entry.value(f"{metric.name}_low"), entry.value(f"{metric.name}_high"))]
    if 0 < stat.scored < stat.runs:
        beside.append(f"{stat.scored} of {plural(stat.runs, 'seed')}")
    badness = metric.badness(stat.mean, entry.value("chance"))
    order = stat.mean if math.isnan(badness) else badness
    return Cell(mean_spread(stat.mean, stat.spread, whole), " ".join(filter(None, beside)), best, order)


def _heading(metric: Metric) -> Heading:
    unit = "" if metric.unit in metric.label else metric.unit  # not "edges kept (edges)"
    return Heading(metric.heading, unit, metric.description)


def _oversize(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The line under a table that says what becomes of circuits that are too large."""
    count = plural(sum(entry.is_oversize for entry in entries), "row")
    words = f"{EXCEEDED}: {count} with more edges than asked for, neither ranked nor marked as best."
    return (words,) if any(entry.is_oversize for entry in entries) else ()


def _unscored(rows: Sequence[Row], entries: Sequence[Entry], columns: Sequence[Column]) -> tuple[str, ...]:
    """The lines under a table that count what was not scored."""
    missing = [row for row in rows for cell in row.cells if cell.text == DASH]
    notes = []
    if missing:
        references = sum(row.reference for row in missing)
        where = f", {references:,} of them in the rows of references" if references else ""
        notes.append(f"{plural(len(missing), 'cell')} unscored ({DASH}){where}.")
    stats: list[Stat] = [entry.stat(column.metric) for entry in entries for column in columns]
    if partial := sum(0 < stat.scored < stat.runs for stat in stats):
        notes.append(f"{plural(partial, 'cell')} scored on some seeds only.")
    return tuple(notes)
