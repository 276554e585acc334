"""The lines of one task on one pair of axes: methods, their intervals, the reference circuits.

Nothing is dropped silently: on a logarithmic axis, values at or below zero are drawn on a stated
floor with a hollow triangle, and a note counts the points that cannot be drawn at all.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from reports.leaderboard.entries import Entry
from reports.leaderboard.scales import Scale, scale
from reports.parts.metric import Metric
from reports.parts.numbers import interval, number, plural, share
from reports.parts.style import INK, Line
from reports.parts.svg import series

JITTER = 1.03
"""The factor by which the outermost runs are shifted to either side."""
EMPTY, FULL = "empty circuit", "full model"
"""The reference lines, as the legend names them."""


def kept(entry: Entry) -> float:
    """The percentage of edges that a circuit kept; the share requested if the table does not say."""
    sparsity = entry.value("edge_sparsity")
    return 100 * (entry.size if math.isnan(sparsity) else 1 - sparsity)


def draw(
    axes: Axes, entries: Sequence[Entry], metric: Metric, looks: Mapping[str, Line], values: Scale
) -> list[str]:
    """Draws every method and the reference lines; returns the notes that a reader needs.

    Args:
        axes: the axes to draw into and scale.
        entries: entries of one task under one setting.
        metric: the metric on the value axis.
        looks: line styles, by a method's label.
        values: scale of the value axis; the axis of edges is logarithmic.
    """
    methods = [entry for entry in entries if not entry.is_reference]
    drawn = [entry for entry in methods if kept(entry) > 0 and math.isfinite(entry.value(metric.name))]
    floor = _floor(drawn, metric.name) if values == "log" else -math.inf
    for label in sorted({e.label for e in drawn}, key=lambda label: (not looks[label].behind, label)):
        mine = sorted((entry for entry in drawn if entry.label == label), key=kept)
        line = [entry for entry in mine if not entry.is_oversize]
        if line:
            _draw_line(axes, line, metric.name, looks[label], floor)
        for entry in mine:
            if entry.is_oversize:
                _draw_oversize(axes, entry, metric.name, looks[label], floor)
    for entry in entries:
        value = entry.value(metric.name)
        if entry.method == "empty" and value > floor:
            axes.axhline(value, color=INK, linestyle=(0, (5, 3)), linewidth=1, label=EMPTY, zorder=1)
    if metric.better == "nearer 1" or values == "share":
        axes.axhline(1, color=INK, linewidth=0.8, label=FULL, zorder=1)
    scale(axes, values, sorted({float(f"{100 * e.size:.3g}") for e in methods if math.isfinite(e.size)}))
    notes = []
    if any(entry.shows_runs(metric.name) for entry in drawn):
        notes.append("small dots: single runs")
    if any(not math.isnan(entry.value(f"{metric.name}_low")) for entry in drawn):
        notes.append("bands: 95 % intervals over these prompts")
    if clipped := sum(entry.value(metric.name) <= floor for entry in drawn):
        notes.append(f"▽ {plural(clipped, 'value')} at or below the floor of {floor:g}")
    if larger := sum(entry.is_oversize for entry in drawn):
        notes.append(f"hollow, off the lines: {plural(larger, 'circuit')} with more edges than requested")
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
    order = 2 if look.behind else 3
    style: dict[str, Any] = {"color": look.colour, "marker": look.marker}
    label, told = line[0].label, [_told(entry, name) for entry in line]
    panel = _panel(axes)
    axes.plot(x, y, look.dash, label=label, zorder=order, gid=series(label, f"line {panel}", told), **style)
    low = [max(entry.value(f"{name}_low"), floor) for entry in line]
    high = [max(entry.value(f"{name}_high"), floor) for entry in line]
    band = series(label, f"band {panel}")
    axes.fill_between(x, low, high, color=look.colour, alpha=0.16, linewidth=0, zorder=order - 1, gid=band)
    runs = [dot for entry in line if entry.shows_runs(name) for dot in _dots(entry, name)]
    if runs:
        at, values = zip(*((x, max(y, floor)) for x, y in runs), strict=True)
        dots = series(label, f"dots {panel}")
        axes.scatter(at, values, s=10, color=look.colour, alpha=0.6, linewidth=0, zorder=order, gid=dots)
    if at_floor := [entry for entry in line if entry.value(name) <= floor]:
        hollow: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": look.colour, "markersize": 9}
        mark = series(label, f"floor {panel}", [_told(entry, name) for entry in at_floor])
        x, y = [kept(entry) for entry in at_floor], [floor] * len(at_floor)
        axes.plot(x, y, "v", zorder=order + 1, gid=mark, **hollow)


def _panel(axes: Axes) -> int:
    """The index of the axes in the figure, which tells a method's artists apart."""
    place = axes.get_subplotspec()
    return place.num1 if place else 0


def _told(entry: Entry, name: str) -> str:
    """The text shown when hovering over a value."""
    runs = f", {plural(entry.stat(name).scored, 'run')}" if entry.shows_runs(name) else ""
    reach = interval(entry.value(f"{name}_low"), entry.value(f"{name}_high"))
    return f"{entry.label}, {share(entry.size)}: {number(entry.value(name))} {reach}".rstrip() + runs


def _dots(entry: Entry, name: str) -> Iterable[tuple[float, float]]:
    """Its runs, spread around the edges kept, so that equal values are all visible."""
    each = entry.stat(name).each
    for i, value in enumerate(each):
        yield kept(entry) * JITTER ** (2 * i / (len(each) - 1) - 1), value


def _draw_oversize(axes: Axes, entry: Entry, name: str, look: Line, floor: float) -> None:
    """A separate hollow mark, at the edges that the circuit kept and not at the size requested."""
    hollow: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": look.colour, "markersize": 7}
    y = max(entry.value(name), floor)
    mark = series(entry.label, f"oversize {_panel(axes)} {entry.size}", [_told(entry, name)])
    axes.plot([kept(entry)], [y], look.marker, linestyle="", label=entry.label, zorder=4, gid=mark, **hollow)
