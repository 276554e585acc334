"""One metric against the share of edges kept: a figure per task, and a panel of all tasks.

Nothing is dropped silently: on a logarithmic axis, values at or below zero are drawn on a stated
floor with a hollow triangle, and a note counts the points that cannot be drawn at all.
"""

import math
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.entries import Entry
from reports.metric import Metric
from reports.numbers import number, plural
from reports.style import INK, Line, is_baseline, styled

X_LABEL = "edges kept, % of all edges (100 - edge sparsity)"


def plot_metric(
    entries: Sequence[Entry], metric: Metric, looks: Mapping[str, Line], title: str, log: bool = False
) -> Figure:
    """One task's figure: a line per method, its interval as a band, the empty circuit dashed.

    `log` makes the value axis logarithmic; the axis of edges always is.
    """
    with styled():
        figure = Figure(figsize=(5.4, 4.3), layout="constrained")
        axes = figure.add_subplot()
        _head(axes, title, _draw(axes, entries, metric, looks, log))
        axes.set(xlabel=X_LABEL, ylabel=_y_label(metric))
        _legend(figure, [axes], columns=2)
        return figure


def plot_panel(
    tasks: Mapping[str, Sequence[Entry]], metric: Metric, looks: Mapping[str, Line], log: bool = False
) -> Figure:
    """All tasks side by side under one legend; `tasks` maps a panel's title to its entries."""
    columns = min(len(tasks), 2 if len(tasks) in (2, 4) else 3)
    rows = math.ceil(len(tasks) / columns)
    with styled():
        figure = Figure(figsize=(max(5.4, 4.3 * columns), 2.9 * rows + 0.9), layout="constrained")
        panels = [figure.add_subplot(rows, columns, i + 1) for i in range(len(tasks))]
        for axes, (title, entries) in zip(panels, tasks.items(), strict=True):
            _head(axes, title, _draw(axes, entries, metric, looks, log))
        for axes in panels[-columns:]:
            axes.set_xlabel(X_LABEL)
        for axes in panels[::columns]:
            axes.set_ylabel(_y_label(metric))
        _legend(figure, panels, columns=2 * columns)
        return figure


def _y_label(metric: Metric) -> str:
    label = f"{metric.label} ({metric.unit})" if metric.unit else metric.label
    return f"{label}, {metric.direction}" if metric.direction else label


def kept(entry: Entry) -> float:
    """The per cent of edges that a circuit kept; the share asked for when the table does not say."""
    sparsity = entry.value("edge_sparsity")
    return 100 * (entry.size if math.isnan(sparsity) else 1 - sparsity)


def _draw(
    axes: Axes, entries: Sequence[Entry], metric: Metric, looks: Mapping[str, Line], log: bool
) -> list[str]:
    """Draw every method and the reference lines; return what a reader has to be told."""
    methods = [entry for entry in entries if not entry.is_reference]
    drawn = [entry for entry in methods if kept(entry) > 0 and math.isfinite(entry.value(metric.name))]
    floor = _floor(drawn, metric.name) if log else -math.inf
    for label in sorted({entry.label for entry in drawn}, key=lambda label: not is_baseline(label)):
        line = sorted((entry for entry in drawn if entry.label == label), key=kept)
        _draw_line(axes, line, metric.name, looks[label], floor)
    for entry in entries:
        value = entry.value(metric.name)
        if entry.method == "empty" and value > floor:
            axes.axhline(
                value, color=INK, linestyle=(0, (5, 3)), linewidth=1, label="empty circuit", zorder=1
            )
    if metric.better == "nearer 1":
        axes.axhline(1, color=INK, linewidth=0.8, label="full model", zorder=1)
    _scale(axes, drawn, log)
    notes = []
    if clipped := sum(entry.value(metric.name) <= floor for entry in drawn):
        notes.append(f"▽ {plural(clipped, 'value')} at or below the floor of {number(floor)}")
    if left_out := len(methods) - len(drawn):
        notes.append(f"not drawn: {plural(left_out, 'point')} unscored, infinite or without edges")
    return notes


def _floor(entries: Sequence[Entry], name: str) -> float:
    """A power of ten at most a tenth of the smallest positive value: what a log axis shows for zero."""
    smallest = min((entry.value(name) for entry in entries if entry.value(name) > 0), default=1.0)
    return float(10.0 ** (math.floor(math.log10(smallest)) - 1))


def _draw_line(axes: Axes, line: Sequence[Entry], name: str, look: Line, floor: float) -> None:
    x = [kept(entry) for entry in line]
    y = [max(entry.value(name), floor) for entry in line]
    order = 2 if is_baseline(line[0].method) else 3
    style: dict[str, Any] = {"color": look.colour, "marker": look.marker, "markersize": 4.5, "linewidth": 1.6}
    axes.plot(x, y, look.dash, label=line[0].label, zorder=order, **style)
    low = [max(entry.value(f"{name}_low"), floor) for entry in line]
    high = [max(entry.value(f"{name}_high"), floor) for entry in line]
    axes.fill_between(x, low, high, color=look.colour, alpha=0.16, linewidth=0, zorder=order - 1)
    if at_floor := [kept(entry) for entry in line if entry.value(name) <= floor]:
        style: dict[str, Any] = {
            "markersize": 9,
            "markerfacecolor": "none",
            "markeredgecolor": look.colour,
            "zorder": order + 1,
        }
        axes.plot(at_floor, [floor] * len(at_floor), "v", **style)


def _scale(axes: Axes, drawn: Sequence[Entry], log: bool) -> None:
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(NullFormatter())
    if log:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 300 else (1, 2, 5)))
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, panels: Sequence[Axes], columns: int) -> None:
    """One legend below the axes: methods by name, baselines and reference lines last."""
    handles: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    last = ("empty circuit", "full model")
    labels = sorted(handles, key=lambda label: (label in last, is_baseline(label), label))
    if labels:
        shown = [fill(label, 34) for label in labels]
        figure.legend([handles[label] for label in labels], shown, loc="outside lower left", ncols=columns)


def _head(axes: Axes, title: str, notes: Sequence[str]) -> None:
    """The title, and in small print between it and the axes what a reader has to be told."""
    axes.set_title(title, pad=5 + 11 * len(notes))
    axes.annotate(
        "\n".join(notes),
        (0, 1),
        xytext=(0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=7.5,
    )
