"""One task's leaderboard as a grid: methods by size, the columns of `COLUMNS`."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from reports.leaderboard.entries import Entry, Stat
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import Methods
from reports.parts.metric import Metric, Metrics
from reports.parts.numbers import DASH, interval, mean_spread, plural, share

HEADLINE, OLDER = "recovered", "kl"
"""The metric that ranks methods, and the one used before; their descriptions say which way is better."""
EXCEEDED = "exceeded"
"""Shown beside the size of a circuit that has more edges than requested."""
WORSE = "worse than empty"
"""Shown beside the headline value of such a circuit."""


@dataclass(frozen=True)
class Column:
    """One column of a task's table. An interval is shown where `<metric>_low` and `_high` exist."""

    metric: str
    judged: bool = True
    """Whether the best of a size is marked; False for metrics that should not rank circuits."""
    optional: bool = False
    """Whether it is left out of a task where nothing was scored."""
    over: str = ""
    """What its interval is over, where the heading must say so."""


COLUMNS = (
    Column(HEADLINE, over="these prompts"),
    Column("recovered_new", optional=True, over="new templates"),
    Column("recovered_rewired", judged=False, optional=True),
    Column("kl"),
    Column("kl_candidates", optional=True),
    Column("exact_match"),
    Column("choice_accuracy", optional=True),
    Column("complement_choice_accuracy", judged=False, optional=True),
    Column("chance", judged=False, optional=True),
    Column("faithfulness"),
    Column("complement_kl", judged=False),
    Column("complement_loss", judged=False),  # any large circuit reaches 1: read its margin
    Column("complement_loss_margin"),
    Column("edges_kept"),
    Column("edges_filled", judged=False, optional=True),
    Column("effective_edges"),
    Column("weight_density", judged=False, optional=True),
    Column("seconds"),
    Column("forward_equivalents"),
)


def headline(entries: Iterable[Entry]) -> str:
    """The main metric: `HEADLINE`, or `OLDER` in a table from a version without it."""
    return HEADLINE if any(HEADLINE in entry.stats for entry in entries) else OLDER


def task_grid(entries: Sequence[Entry], metrics: Metrics, methods: Methods) -> Grid:
    """Methods by size on one task: empty first, then by size, the best in the headline of each size on top.

    The best value of a size is marked, as `best` says.

    Args:
        entries: entries of one task under one setting.
        metrics: by name; they say which way is better.
        methods: names the random baseline.
    """
    columns = [column for column in COLUMNS if _is_shown(column, entries)]
    lead = metrics[headline(entries)]
    ranked = sorted(entries, key=lambda entry: (*_size_order(entry), _badness(entry, lead), entry.label))
    marked = {
        column: best(ranked, metrics[column.metric], methods) if column.judged else [] for column in columns
    }
    several = any(entry.runs > 1 for entry in entries)
    whole = {column: _is_whole(column, metrics[column.metric], entries) for column in columns}
    rows = []
    for position, entry in enumerate(ranked):
        asked = Cell(share(entry.size), EXCEEDED if entry.is_oversize else "", order=entry.size)
        names = (Cell(entry.method, entry.params), asked, *([_runs(entry)] if several else []))
        cells = [_cell(entry, column, metrics, whole[column], entry in marked[column]) for column in columns]
        starts = position == 0 or _size_order(ranked[position - 1]) != _size_order(entry)
        about = {} if entry.is_reference else {"method": entry.label, "size": share(entry.size)}
        rows.append(Row((*names, *cells), starts, entry.is_reference, about))
    headings = (
        Heading("method"),
        Heading("edges asked", meaning="requested share of all edges"),
        *(
            [Heading("n", meaning="number of runs and of their data seeds, if there are several runs")]
            if several
            else []
        ),
        *(_heading(metrics[column.metric], column) for column in columns),
    )
    notes = (*_all_the_same(ranked), *_oversize(ranked), *_unscored(rows, ranked, columns))
    return Grid(headings, tuple(rows), 2, notes)


def _size_order(entry: Entry) -> tuple[bool, float]:
    own = math.isnan(entry.size)
    return own, 0.0 if own else entry.size


def _badness(entry: Entry, metric: Metric) -> float:
    badness = metric.badness(entry.value(metric.name))
    return math.inf if math.isnan(badness) else badness


def _is_shown(column: Column, entries: Sequence[Entry]) -> bool:
    stats = [entry.stats[column.metric] for entry in entries if column.metric in entry.stats]
    return any(stat.scored for stat in stats) if column.optional else bool(stats)


def _is_whole(column: Column, metric: Metric, entries: Sequence[Entry]) -> bool:
    """Whether a column holds counts: all values are integers, and they are edges or some are above 1."""
    scored = [entry.stat(column.metric) for entry in entries if entry.stat(column.metric).scored]
    counts = metric.unit == "edges" or any(stat.mean > 1 for stat in scored)
    return counts and all(stat.whole for stat in scored)


def best(entries: Sequence[Entry], metric: Metric, methods: Methods) -> list[Entry]:
    """The entries that are best at their size, ties included, where at least two were scored and they differ.

    Random circuits, and circuits with more edges than requested, do not compete. None is best where all are
    the same, and a circuit worse than the empty one never is.

    Args:
        entries: entries of one task under one setting.
        metric: the metric to compare.
        methods: names the random baseline.
    """
    sizes: dict[tuple[bool, float], list[Entry]] = {}
    for entry in entries:
        competes = not (entry.is_reference or entry.is_oversize or entry.method == methods.baseline)
        if competes and not entry.is_all_the_same and not math.isinf(_badness(entry, metric)):
            sizes.setdefault(_size_order(entry), []).append(entry)
    found = []
    for rivals in sizes.values():
        scores = {id(entry): _badness(entry, metric) for entry in rivals}
        sound = [entry for entry in rivals if not entry.is_worse_than_empty]
        if sound and min(scores.values()) < max(scores.values()):
            least = min(scores[id(entry)] for entry in sound)
            found += [entry for entry in sound if scores[id(entry)] == least]
    return found


def _runs(entry: Entry) -> Cell:
    if entry.runs == 1:
        return Cell("")
    return Cell(plural(entry.runs, "run"), plural(entry.data_seeds, "data seed"), order=entry.runs)


def _cell(entry: Entry, column: Column, metrics: Metrics, whole: bool, best: bool) -> Cell:
    if entry.method == "empty" and column.metric.startswith("complement_"):
        return Cell("", order=math.nan)  # its complement is the model: nothing to compare others with
    stat, metric = entry.stat(column.metric), metrics[column.metric]
    beside = [interval(entry.value(f"{metric.name}_low"), entry.value(f"{metric.name}_high"))]
    if column.metric == HEADLINE and entry.is_worse_than_empty:
        beside.append(WORSE)
    if 0 < stat.scored < stat.runs:
        beside.append(f"{stat.scored} of {plural(stat.runs, 'seed')}")
    badness = metric.badness(stat.mean)
    order = stat.mean if math.isnan(badness) else badness
    text = mean_spread(stat.mean, stat.spread, whole)
    return Cell(text, " ".join(filter(None, beside)), best, order, faded=_is_faded(entry))


def _is_faded(entry: Entry) -> bool:
    """Whether it does not compete; references have their own style."""
    return not entry.is_reference and (entry.is_worse_than_empty or entry.is_oversize)


def _heading(metric: Metric, column: Column) -> Heading:
    if column.over and column.over not in metric.label:
        metric = replace(metric, label=f"{metric.label}, {column.over}")
    unit = "" if metric.unit in metric.label else metric.unit  # not "edges kept (edges)"
    return Heading(metric.heading, unit, metric.description)


def _all_the_same(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The line under a table that names the sizes at which methods cannot be told apart."""
    sizes = dict.fromkeys(share(entry.size) for entry in entries if entry.is_all_the_same)
    words = (
        f"All the same at {', '.join(sizes)}: fewer than two methods, random circuits aside, are two "
        "standard errors above the floor, so none is ranked or marked as best."
    )
    return (words,) if sizes else ()


def _oversize(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The line under a table about circuits that are larger than requested."""
    count = plural(sum(entry.is_oversize for entry in entries), "row")
    words = f"{EXCEEDED}: {count} with more edges than requested, neither ranked nor marked as best."
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
