"""Methods over all programs: how often the true circuit was recovered exactly, and mean scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.grid import Cell, Grid, Heading, Row
from reports.metric import Metric, Metrics
from reports.numbers import DASH, number, plural
from reports.recoveries import EXACT, Recoveries, Recovery
from reports.style import is_baseline


@dataclass(frozen=True)
class Summary:
    """One method over all programs in one column: a mean, or for yes and no how many were exact."""

    value: float
    scored: int
    programs: int

    @property
    def unscored(self) -> int:
        """Programs without a value."""
        return self.programs - self.scored


def summarise(recoveries: Sequence[Recovery], name: str) -> Summary:
    """The mean of a column over the programs scored, its sum if it is one of `EXACT`; NaN where none was."""
    values = [value for r in recoveries if not math.isnan(value := r.value(name))]
    total = math.fsum(values) if values else math.nan
    value = total if name in EXACT or not values else total / len(values)
    return Summary(value, len(values), len(recoveries))


def summary_text(summary: Summary, name: str) -> str:
    """`31 / 44`, of those scored, if the column is one of `EXACT`; else the mean to three digits."""
    if not summary.scored:
        return DASH
    return f"{summary.value:.0f} / {summary.scored}" if name in EXACT else number(summary.value)


def heading_text(metric: Metric) -> str:
    """A column's heading: `Exact ↑`, `mean F1 ↑`."""
    return metric.heading if metric.name in EXACT else f"mean {metric.heading}"


def ordered(folded: Recoveries, names: Sequence[str], metrics: Metrics) -> list[str]:
    """Methods, the best in the first of `names` over all programs and ablations first, then by the second."""

    def key(label: str) -> tuple[float, float, str]:
        everywhere = [r for ablation in folded.ablations for r in folded.column(label, ablation)]
        bad = [metrics[name].badness(summarise(everywhere, name).value) for name in names[:2]]
        first, second = (math.inf if math.isnan(value) else value for value in bad)
        return first, second, label

    return sorted(folded.labels, key=key)


def method_grid(folded: Recoveries, names: Sequence[str], metrics: Metrics) -> Grid:
    """Methods by ablation and column. The best mean is marked among the methods scored on most programs."""
    labels = ordered(folded, names, metrics)
    cells: dict[str, list[Cell]] = {label: [] for label in labels}
    headings, uneven = [Heading("method")], False
    for ablation in folded.ablations:
        told = dict.fromkeys(labels, 0)
        for name in names:
            metric = metrics[name]
            found = {label: summarise(folded.column(label, ablation), name) for label in labels}
            best = _best(found, metric)
            uneven |= len({summary.scored for summary in found.values()}) > 1
            for label, summary in found.items():
                beside = f"({summary.unscored} unscored)" if summary.unscored != told[label] else ""
                text, order = summary_text(summary, name), metric.badness(summary.value)
                cells[label].append(Cell(text, beside, label in best, order))
                told[label] = summary.unscored
            headings.append(Heading(heading_text(metric), ablation, metric.description))
    notes = [
        f"{plural(len(folded.programs), 'program')}. Exact: programs recovered exactly / programs scored."
    ]
    if uneven:
        notes.append(
            "Means are over the programs scored, which differ between methods: the best mean is marked "
            "among the methods scored on most programs. How many are unscored holds for the columns to the "
            "right as well, up to the next such number."
        )
    return Grid(tuple(headings), tuple(Row((Cell(k), *v)) for k, v in cells.items()), 1, tuple(notes))


def _best(found: Mapping[str, Summary], metric: Metric) -> list[str]:
    """The best methods of a column, ties included; nobody competes with a random circuit."""
    rivals = {label: s for label, s in found.items() if s.scored and not is_baseline(label)}
    most = max((s.scored for s in rivals.values()), default=0)
    even = {label: s for label, s in rivals.items() if metric.name in EXACT or s.scored == most}
    bad = {label: metric.badness(s.value) for label, s in even.items()}
    bad = {label: value for label, value in bad.items() if not math.isnan(value)}
    if len(bad) < 2 or min(bad.values()) == max(bad.values()):
        return []
    return [label for label, value in bad.items() if value == min(bad.values())]
