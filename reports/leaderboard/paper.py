"""The leaderboard as a paper prints it: methods by task and size, one number and one interval per cell."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reports.leaderboard.entries import Entry, Setting
from reports.leaderboard.tables import best, headline
from reports.parts.content import PaperTable
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import Methods, label_of_typed
from reports.parts.metric import Metric, Metrics
from reports.parts.numbers import DASH, number, share

NEW = "recovered_new"
"""The metric printed if all tasks have intervals for it: recovered on templates that no method saw."""
Told = Mapping[str, Any]


def paper_table(
    stem: str,
    title: str,
    groups: Mapping[str, Sequence[Entry]],
    metrics: Metrics,
    methods: Methods,
    pairs: Sequence[Told],
) -> PaperTable | None:
    """One table; None if no method was scored at a requested size.

    Intervals are shown for a single task only. The best of a column is bold; a dagger marks methods found
    equal to it, within a factor of 1.25 in the KL left, by two one-sided tests.

    Args:
        stem: stem of its file names.
        title: what part of the leaderboard it shows.
        groups: entries by task, all of one setting.
        metrics: what columns mean.
        methods: names the random baseline.
        pairs: the tests of pairs, as `circuitmark compare --json` prints them.
    """
    entries = [entry for group in groups.values() for entry in group]
    new = all(any(_has_interval(entry, NEW) for entry in group) for group in groups.values())
    metric = metrics[NEW if new else headline(entries)]
    shown = [
        entry
        for entry in entries
        if not entry.is_reference and math.isfinite(entry.size) and not math.isnan(entry.value(metric.name))
    ]
    if not shown:
        return None
    columns = {
        (task, size): [entry for entry in shown if (entry.task, entry.size) == (task, size)]
        for task in groups
        for size in sorted({entry.size for entry in shown if entry.task == task})
    }
    bold = {id(entry) for column in columns.values() for entry in best(column, metric, methods)}
    equal = {id(e) for column in columns.values() for e in _equal(column, bold, pairs)}
    alone = len(groups) == 1
    rows = []
    for label in _order(columns, metric, methods):
        cells, runs = [], set()
        for column in columns.values():
            entry = next((each for each in column if each.label == label), None)
            cells.append(_cell(entry, metric, id(entry) in bold, id(entry) in equal, alone))
            runs |= {entry.stat(metric.name).scored} if entry else set()
        n = " to ".join(map(str, sorted({min(runs), max(runs)})))
        rows.append(Row((Cell(label), Cell(n), *cells), starts=methods.is_random(label)))
    spans = [("", 2), *Counter(task for task, _ in columns).items()]
    headings = [Heading("method"), Heading("n"), *(Heading(share(size)) for _, size in columns)]
    notes = _notes(shown, metric, methods, equal, alone)
    if unscored := sorted({*groups} - {task for task, _ in columns}):
        notes = (*notes, f"Left out, because nothing was scored: {', '.join(unscored)}.")
    grid = Grid(tuple(headings), tuple(rows), 1, notes, tuple(spans))
    told = [_told(entry, metric, id(entry) in bold, id(entry) in equal) for entry in shown]
    return PaperTable(stem, f"{title}: {_caption(metric)}", grid, told)


def _has_interval(entry: Entry, name: str) -> bool:
    return not math.isnan(entry.value(f"{name}_low"))


def _order(
    columns: Mapping[tuple[str, float], Sequence[Entry]], metric: Metric, methods: Methods
) -> list[str]:
    """Methods by their mean rank over the columns, random circuits last."""
    ranks: dict[str, list[float]] = {}
    for column in columns.values():
        worth = {entry.label: metric.badness(entry.value(metric.name)) for entry in column}
        for label, value in worth.items():
            ranks.setdefault(label, []).append(sum(other < value for other in worth.values()))
    mean = {label: sum(each) / len(each) for label, each in ranks.items()}
    return sorted(ranks, key=lambda label: (methods.is_random(label), mean[label], label))


def _equal(column: Sequence[Entry], bold: set[int], pairs: Sequence[Told]) -> list[Entry]:
    """The entries of a column that a test found equal to its best."""
    leaders = {entry.label for entry in column if id(entry) in bold}
    found = {
        label_of_typed(pair[other])
        for pair in pairs
        for side, other in (("a", "b"), ("b", "a"))
        if pair["verdict"] == "equal"
        and column
        and _of(pair, column[0])
        and label_of_typed(pair[side]) in leaders
    }
    return [entry for entry in column if entry.label in found - leaders]


def _of(pair: Told, entry: Entry) -> bool:
    """Whether a pair was tested in the cell of an entry."""
    setting = Setting(pair["model"], pair["graph"], pair["ablation"], pair["pruned"])
    size = math.nan if pair["size"] is None else pair["size"]
    at_size = math.isclose(size, entry.size, abs_tol=1e-9)
    return at_size and (setting, pair["behaviour"]) == (entry.setting, entry.task)


def _cell(entry: Entry | None, metric: Metric, bold: bool, equal: bool, intervals: bool) -> Cell:
    if entry is None:
        return Cell(DASH)
    stat = entry.stat(metric.name)
    low, high = (entry.value(f"{metric.name}_{end}") for end in ("low", "high"))
    written = _thousandths if metric.unit == "share" else number
    ends = f"[{written(low)}, {written(high)}]" if intervals and not math.isnan(low + high) else ""
    spread = f" ± {written(stat.spread)}" if intervals and not ends and stat.spread > 0 else ""
    text = written(stat.mean) + spread
    faded = entry.is_worse_than_empty or entry.is_oversize
    return Cell(text, ends, bold, stat.mean, equal=equal, faded=faded)


def _thousandths(share: float) -> str:
    """Always three decimals; no negative zero."""
    return f"{share:.3f}".replace("-0.000", "0.000")


def _caption(metric: Metric) -> str:
    return f"{metric.label} ({metric.direction}) by share of edges kept"


def _notes(
    shown: Sequence[Entry], metric: Metric, methods: Methods, equal: set[int], alone: bool
) -> tuple[str, ...]:
    """What a reader of the paper needs to know, in the caption."""
    seeds = sorted({entry.data_seeds for entry in shown if not methods.is_random(entry.label)})
    of = " or ".join(map(str, seeds)) or "1"
    notes = [f"n: runs, over {of} data seed{'s' * (of != '1')}; for random circuits, draws."]
    if alone and (of_runs := {e.data_seeds > 1 for e in shown if _has_interval(e, metric.name)}):
        over = "new templates" if metric.name == NEW else "these prompts"
        several = {
            (True,): f"new data seeds and {over}",
            (False, True): f"{over}, for methods with several data seeds over new data seeds as well",
        }
        notes.append(f"Beside the values: 95 % intervals over {several.get(tuple(sorted(of_runs)), over)}.")
    if alone and any(e.stat(metric.name).spread > 0 and not _has_interval(e, metric.name) for e in shown):
        notes.append("±: sample standard deviation over runs.")
    notes.append("Bold: the best of a column, random circuits aside.")
    if equal:
        notes.append("†: equal to the best within a factor of 1.25 in the KL left (TOST, 5 % for each pair).")
    if any(entry.is_worse_than_empty for entry in shown):
        notes.append("Grey: worse than the empty circuit.")
    if any(entry.is_oversize for entry in shown):
        notes.append("Grey and not ranked: more edges than requested.")
    if same := sorted({(entry.task, entry.size) for entry in shown if entry.is_all_the_same}):
        cells = ", ".join(f"{task} {share(size)}" for task, size in same)
        notes.append(f"All the same, none marked as best: {cells}.")
    return tuple(notes)


def _told(entry: Entry, metric: Metric, bold: bool, equal: bool) -> dict[str, Any]:
    ends = {end: entry.value(f"{metric.name}_{end}") for end in ("low", "high")}
    return {
        **entry.setting._asdict(), "task": entry.task, "method": entry.method, "params": entry.params,
        "size_requested": entry.size, "runs": entry.runs, "data_seeds": entry.data_seeds,
        "metric": metric.name, "value": entry.value(metric.name),
        **{end: "" if math.isnan(value) else value for end, value in ends.items()},
        "best": bold, "equal_to_best": equal, "cell": entry.cell,
    }  # fmt: skip
