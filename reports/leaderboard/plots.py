"""Figures of one metric against the share of edges kept: one task alone, or all tasks in a panel."""

import math
from collections.abc import Mapping, Sequence
from textwrap import fill

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.leaderboard.curves import draw
from reports.leaderboard.entries import Entry
from reports.leaderboard.scales import Scale
from reports.parts.metric import Metric
from reports.parts.style import Line, styled

X_LABEL = "edges kept, % of all edges (100 - edge sparsity)"


def plot_metric(
    entries: Sequence[Entry], metric: Metric, looks: Mapping[str, Line], title: str, values: Scale
) -> Figure:
    """One task's figure: a line per method, its interval as a band or its runs as dots; empty is dashed.

    Args:
        entries: of one task under one setting.
        metric: on the value axis.
        looks: of lines, by a method's label.
        title: of the axes.
        values: scale of the value axis; the axis of edges is logarithmic.
    """
    with styled():
        figure = Figure(figsize=(4.9, 4.2), layout="constrained")
        axes = figure.add_subplot()
        _head(axes, title, draw(axes, entries, metric, looks, values))
        axes.set(xlabel=X_LABEL, ylabel=_y_label(metric))
        _legend(figure, [axes], looks, columns=2)
        return figure


def plot_panel(
    tasks: Mapping[str, Sequence[Entry]], metric: Metric, looks: Mapping[str, Line], values: Scale
) -> Figure:
    """All tasks side by side under one legend.

    Args:
        tasks: entries by the title of their axes; one at least.
        metric: on the value axes.
        looks: of lines, by a method's label.
        values: as in `plot_metric`.
    """
    columns = min(len(tasks), 2 if len(tasks) in (2, 4) else 3)
    rows = math.ceil(len(tasks) / columns)
    with styled():
        figure = Figure(figsize=(max(4.9, 4.3 * columns), 2.9 * rows + 0.9), layout="constrained")
        panels = [figure.add_subplot(rows, columns, i + 1) for i in range(len(tasks))]
        for axes, (title, entries) in zip(panels, tasks.items(), strict=True):
            _head(axes, title, draw(axes, entries, metric, looks, values))
        for axes in panels[-columns:]:
            axes.set_xlabel(X_LABEL)
        for axes in panels[::columns]:
            axes.set_ylabel(_y_label(metric))
        _legend(figure, panels, looks, columns=2 * columns)
        return figure


def _y_label(metric: Metric) -> str:
    label = f"{metric.label} ({metric.unit})" if metric.unit else metric.label
    return f"{label}, {metric.direction}" if metric.direction else label


def _legend(figure: Figure, panels: Sequence[Axes], looks: Mapping[str, Line], columns: int) -> None:
    """One legend below the axes: methods by name, random circuits and reference lines last."""
    handles: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    labels = sorted(
        handles, key=lambda label: (label not in looks, label in looks and looks[label].behind, label)
    )
    if labels:
        shown = [fill(label, 34) for label in labels]
        figure.legend([handles[label] for label in labels], shown, loc="outside lower left", ncols=columns)


def _head(axes: Axes, title: str, notes: Sequence[str]) -> None:
    """The title, and in small print between it and the axes what a reader has to be told."""
    axes.set_title(fill(title, 44), pad=5 + 11 * len(notes))
    axes.annotate(
        "\n".join(notes),
        (0, 1),
        xytext=(0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=7.5,
    )
