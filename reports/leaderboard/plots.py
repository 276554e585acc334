"""Figures of one metric against the share of edges kept: one task alone, or all tasks in a panel."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.leaderboard.curves import draw
from reports.leaderboard.entries import Entry
from reports.leaderboard.scales import Scale
from reports.parts.metric import Metric
from reports.parts.style import LETTERS, Line, styled

X_LABEL = "edges kept, % of all edges"


@dataclass(frozen=True)
class Format:
    """The format of a figure: sizes in inches, font size in points."""

    width: float
    """Width of a single task's figure."""
    widest: float
    """Width of a panel of three tasks side by side."""
    height: float
    """Height of a row of axes."""
    letters: float


PAGE, COLUMN = Format(4.9, 12.9, 2.9, LETTERS), Format(3.25, 6.75, 1.75, 7.0)
"""A page on a screen; one column of a paper, or both columns for a panel."""


def plot_metric(
    entries: Sequence[Entry],
    metric: Metric,
    looks: Mapping[str, Line],
    title: str,
    values: Scale,
    form: Format = PAGE,
) -> Figure:
    """One task's figure: a line per method, with intervals as bands and runs as dots; empty is dashed.

    Args:
        entries: entries of one task under one setting.
        metric: the metric on the value axis.
        looks: line styles, by a method's label.
        title: title of the axes.
        values: scale of the value axis; the axis of edges is logarithmic.
        form: format of the figure.
    """
    return _plot({title: entries}, metric, looks, values, form, form.width)


def plot_panel(
    tasks: Mapping[str, Sequence[Entry]],
    metric: Metric,
    looks: Mapping[str, Line],
    values: Scale,
    form: Format = PAGE,
) -> Figure:
    """All tasks side by side under one legend, with the same value axis.

    Args:
        tasks: entries by the title of their axes; at least one.
        metric: the metric on the value axes.
        looks: line styles, by a method's label.
        values: as in `plot_metric`.
        form: format of the figure.
    """
    columns = _columns(len(tasks))
    return _plot(tasks, metric, looks, values, form, max(form.width, form.widest * columns / 3))


def _columns(tasks: int) -> int:
    return min(tasks, 2 if tasks in (2, 4) else 3)


def _plot(
    tasks: Mapping[str, Sequence[Entry]],
    metric: Metric,
    looks: Mapping[str, Line],
    values: Scale,
    form: Format,
    width: float,
) -> Figure:
    columns = _columns(len(tasks))
    rows = math.ceil(len(tasks) / columns)
    letter = 0.0078 * form.letters  # inches, for a letter of average width
    with styled(form.letters):
        figure = Figure(figsize=(width, 1), layout="constrained")
        panels = [figure.add_subplot(rows, columns, i + 1) for i in range(len(tasks))]
        for axes, (title, entries) in zip(panels, tasks.items(), strict=True):
            notes = draw(axes, entries, metric, looks, values)
            _head(axes, title, notes, int(width / columns / letter))
        lows, highs = zip(*(axes.get_ylim() for axes in panels), strict=True)
        for i, axes in enumerate(panels):
            axes.set_ylim(min(lows), max(highs))
            if i % columns:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel(_y_label(metric))
            if i >= len(panels) - columns:
                axes.set_xlabel(X_LABEL)
        lines = _legend(figure, panels, looks, letter)
        figure.set_figheight(form.height * rows + 0.025 * form.letters * lines + 0.3)
        return figure


def _y_label(metric: Metric) -> str:
    label = f"{metric.label} ({metric.unit})" if metric.unit else metric.label
    return f"{label},\n{metric.direction}" if metric.direction else label


def _legend(figure: Figure, panels: Sequence[Axes], looks: Mapping[str, Line], letter: float) -> int:
    """One legend below the axes, with as many columns as there is room for; returns its number of lines.

    Methods by name, random circuits and reference lines last.
    """
    handles: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    labels = sorted(
        handles, key=lambda label: (label not in looks, label in looks and looks[label].behind, label)
    )
    if not labels:
        return 0
    width = figure.get_figwidth() / letter
    shown = [fill(label, max(12, min(34, int(width) - 8))) for label in labels]
    longest = max(len(line) for label in shown for line in label.splitlines())
    columns = max(1, int(width / (longest + 7)))
    figure.legend([handles[label] for label in labels], shown, loc="outside lower left", ncols=columns)
    rows = math.ceil(len(shown) / columns)
    return sum(sorted((label.count("\n") + 1 for label in shown), reverse=True)[:rows])


def _head(axes: Axes, title: str, notes: Sequence[str], width: int) -> None:
    """The title and, in small print between it and the axes, the notes that a reader needs."""
    size = 0.72 * float(axes.title.get_fontsize())
    lines = [line for note in notes for line in fill(note, int(width / 0.8)).splitlines()]
    axes.set_title(fill(title, width), pad=5 + 1.45 * size * len(lines))
    axes.annotate(
        "\n".join(lines),
        (0, 1),
        xytext=(0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=size,
    )
