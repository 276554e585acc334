"""Methods over all programs: how often the true circuit was recovered exactly, and mean scores."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import Methods
from reports.parts.metric import Metric, Metrics
from reports.parts.numbers import DASH, number, plural
from reports.recovery.fold import EXACT, Recoveries, Recovery, runs_in_words

ACDC_NOTE = (
    "ACDC tests one removal at a time, which is nearly how the truth defines a necessary edge: its recovery "
    "says less about circuits in general than other methods' does."
)


@dataclass(frozen=True)
class Summary:
    """One method over all programs in one column: a mean or, for yes and no, how many were exact in a run."""

    value: float
    scored: int
    programs: int
    runs: int
    """How often the method ran on a program."""
    extremes: tuple[float, float] | None = None
    """For yes and no, the fewest and the most in a run, among the runs that scored the most programs."""

    @property
    def unscored(self) -> int:
        """Programs without a value."""
        return self.programs - self.scored


def summarise(folded: Recoveries, label: str, ablation: str, name: str) -> Summary:
    """A method over all programs in one column under an ablation.

    Args:
        folded: the table.
        label: the method's, with its parameters.
        ablation: its name.
        name: name of the column.
    """
    column = folded.column(label, ablation)
    runs = max(recovery.runs for recovery in column)
    scored = sum(not math.isnan(recovery.value(name)) for recovery in column)
    counts = [exact for exact, programs in folded.by_run(label, ablation, name) if programs == scored]
    several = name in EXACT and runs > 1 and len(counts) > 1 and scored > 0
    extremes = (min(counts), max(counts)) if several else None
    return Summary(_over_programs(column, name), scored, len(column), runs, extremes)


def _over_programs(recoveries: Sequence[Recovery], name: str) -> float:
    """The mean of a column over the programs scored, its sum if it is one of `EXACT`; NaN where none was.

    The sum of shares of runs is the mean number of programs per run.
    """
    values = [value for r in recoveries if not math.isnan(value := r.value(name))]
    if not values:
        return math.nan
    total = round(math.fsum(values), 9)  # thirds add up as they should, so that ties are ties
    return total if name in EXACT else total / len(values)


def summary_text(summary: Summary, name: str) -> str:
    """`31 / 44`, out of those scored, if the column is one of `EXACT`; else the mean to three digits.

    For several runs, the mean of such numbers, `30.6 / 44`; what falls short of all is not rounded up.
    """
    if not summary.scored:
        return DASH
    if name not in EXACT:
        return number(summary.value)
    if summary.runs == 1:
        return f"{summary.value:.0f} / {summary.scored}"
    short = summary.value < summary.scored
    text = f">{summary.scored - 0.1:.1f}" if short and summary.value > summary.scored - 0.05 else ""
    return f"{text or f'{summary.value:.1f}'} / {summary.scored}"


def extremes_text(summary: Summary) -> str:
    """`44 to 47`: the fewest and the most programs of a run, where there were several."""
    if summary.extremes is None:
        return ""
    fewest, most = summary.extremes
    return f"{fewest:.0f} to {most:.0f}"


def runs_note(folded: Recoveries) -> str:
    """How often each method ran on a program, with which seeds and kernels; empty where all ran once."""
    runs = dict.fromkeys(folded.labels, 0)
    for (label, _, _), recovery in folded.cells.items():
        runs[label] = max(runs[label], recovery.runs)
    if max(runs.values(), default=0) < 2:
        return ""
    alike: dict[str, list[str]] = {}
    for label, count in runs.items():
        words = runs_in_words(folded.table[folded.table["label"] == label])
        alike.setdefault(f"{plural(count, 'run')} ({words})", []).append(label)
    parts = [f"{', '.join(labels)} {words}" for words, labels in alike.items()]
    return f"On each program: {'; '.join(parts)}."


def acdc_notes(names: Iterable[str]) -> list[str]:
    """What a reader must know about ACDC's recovery, if ACDC is among some methods."""
    return [ACDC_NOTE] if any(name.startswith("acdc") for name in names) else []


def heading_text(metric: Metric) -> str:
    """A column's heading: `Exact ↑`, `mean F1 ↑`."""
    return metric.heading if metric.name in EXACT else f"mean {metric.heading}"


def ordered(folded: Recoveries, names: Sequence[str], metrics: Metrics) -> list[str]:
    """Labels of the methods, the best over all programs and ablations first.

    Args:
        folded: the table.
        names: columns; the first decides, then the second, the others do not.
        metrics: by name; they say which way is better.
    """

    def key(label: str) -> tuple[float, float, str]:
        everywhere = [r for ablation in folded.ablations for r in folded.column(label, ablation)]
        bad = [metrics[name].badness(_over_programs(everywhere, name)) for name in names[:2]]
        first, second = (math.inf if math.isnan(value) else value for value in bad)
        return first, second, label

    return sorted(folded.labels, key=key)


def method_grid(folded: Recoveries, names: Sequence[str], metrics: Metrics, methods: Methods) -> Grid:
    """Methods by ablation and column. The best mean is marked among the methods scored on most programs.

    Random circuits do not compete.

    Args:
        folded: the table.
        names: columns shown.
        metrics: by name; they say which way is better.
        methods: names the random baseline.
    """
    rivals = {name for name, method in folded.labels.items() if method != methods.baseline}
    labels = ordered(folded, names, metrics)
    cells: dict[str, list[Cell]] = {label: [] for label in labels}
    headings, uneven = [Heading("method")], False
    for ablation in folded.ablations:
        told = dict.fromkeys(labels, 0)
        for name in names:
            metric = metrics[name]
            found = {label: summarise(folded, label, ablation, name) for label in labels}
            best = _best({name: s for name, s in found.items() if name in rivals}, metric)
            uneven |= len({summary.scored for summary in found.values()}) > 1
            for label, summary in found.items():
                unscored = f"{summary.unscored} unscored" if summary.unscored != told[label] else ""
                words = "; ".join(filter(None, (extremes_text(summary), unscored)))
                beside = f"({words})" if words else ""
                text, order = summary_text(summary, name), metric.badness(summary.value)
                cells[label].append(Cell(text, beside, label in best, order))
                told[label] = summary.unscored
            headings.append(Heading(heading_text(metric), ablation, metric.description))
    notes = [
        f"{plural(len(folded.programs), 'program')}. Exact: programs recovered exactly / programs scored."
    ]
    if note := runs_note(folded):
        notes.append(
            f"{note} Where a method ran several times, exact is the mean number of programs that a run "
            "recovered, with the fewest and the most in brackets."
        )
    notes += acdc_notes(folded.labels.values())
    if uneven:
        notes.append(
            "Means are over the programs scored, which differ between methods: the best mean is marked "
            "among the methods scored on most programs. A number of unscored programs also holds for the "
            "columns to its right, up to the next such number."
        )
    return Grid(tuple(headings), tuple(Row((Cell(k), *v)) for k, v in cells.items()), 1, tuple(notes))


def _best(found: Mapping[str, Summary], metric: Metric) -> list[str]:
    """The best methods of a column, ties included."""
    most = max((s.scored for s in found.values()), default=0)
    even = {label: s for label, s in found.items() if metric.name in EXACT or s.scored == most}
    bad = {label: metric.badness(s.value) for label, s in even.items()}
    bad = {label: value for label, value in bad.items() if not math.isnan(value)}
    if len(bad) < 2 or min(bad.values()) == max(bad.values()):
        return []
    return [label for label, value in bad.items() if value == min(bad.values())]
