"""Quality against cost: how far each method gets over all behaviours, and the CPU seconds it takes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.leaderboard.entries import Entry, Setting
from reports.leaderboard.plots import PAGE
from reports.parts.methods import label_of_typed
from reports.parts.style import INK, Line, styled

Told = Mapping[str, Any]


def costs_of(entries: Sequence[Entry], whole: Told) -> dict[str, float]:
    """Mean CPU seconds of discovery by a method's label, over the behaviours of a setting's standings.

    What a method spends only on its unaided circuit is left out, since no score here is of that circuit. A
    method that did not run on all behaviours has no cost: means over different tasks are not comparable.

    Args:
        entries: entries of all settings; discovery for all sizes is one run, with the same cost at each.
        whole: the standings of that setting, as `circuitmark compare --json` prints `behaviours`.
    """
    setting = Setting(whole["model"], whole["graph"], whole["ablation"], whole["pruned"])
    found: dict[str, dict[str, float]] = {}
    for entry in entries:
        seconds = entry.value("sized_cpu_seconds")
        seconds = entry.value("cpu_seconds") if math.isnan(seconds) else seconds
        if entry.setting == setting and entry.task in whole["behaviours"] and seconds > 0:
            found.setdefault(entry.label, {})[entry.task] = seconds
    return {
        label: sum(tasks.values()) / len(tasks)
        for label, tasks in found.items()
        if set(tasks) == set(whole["behaviours"])
    }


def plot_costs(
    methods: Sequence[Told],
    costs: Mapping[str, float],
    looks: Mapping[str, Line],
    title: str,
) -> Figure:
    """A mark per method with its interval, and the front: the methods that are ahead of every cheaper one.

    Args:
        methods: the standings of one setting; those without a score or a cost are left out.
        costs: CPU seconds by label.
        looks: line styles, by label.
        title: title of the axes.
    """
    labelled = [(label_of_typed(method["method"]), method) for method in methods]
    points = [
        (costs[label], method["interquartile_mean"], label, method)
        for label, method in labelled
        if label in costs and method["interquartile_mean"] is not None
    ]
    front: list[tuple[float, float]] = []
    for cost, gone, *_ in sorted(points, key=lambda point: point[:2]):
        if not front or gone > front[-1][1]:
            front.append((cost, gone))
    with styled(PAGE.letters):
        figure = Figure(figsize=(1.35 * PAGE.width, 1.25 * PAGE.height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.step(
            [cost for cost, _ in front], [gone for _, gone in front], where="post", color=INK, linestyle="--",
            linewidth=0.8, zorder=1,
        )  # fmt: skip
        lifts = _lifts([point[:2] for point in points], 64 * 1.25 * PAGE.height, PAGE.letters)
        for (cost, gone, label, method), lift in zip(points, lifts, strict=True):
            look = looks.get(label, Line(INK, "o", "-"))
            if method["low"] is not None:
                axes.plot([cost] * 2, [method["low"], method["high"]], color=look.colour, linewidth=1.2)
            axes.plot([cost], [gone], look.marker, color=look.colour)
            axes.annotate(
                label, (cost, gone), (6, lift), textcoords="offset points", fontsize=0.85 * PAGE.letters
            )
        axes.set(
            title=title,
            xlabel="CPU seconds of discovery, all sizes",
            ylabel="share of the way to 99 % recovered",
        )
        axes.margins(x=0.18, y=0.12)
        return figure


def _lifts(points: Sequence[tuple[float, float]], height: float, letters: float) -> list[float]:
    """How far above its point each label is placed, in typographic points: clear of labels beside and below.

    Args:
        points: cost and value of each.
        height: approximate height of the axes, in points.
        letters: height of a line of text.
    """
    values = [value for _, value in points]
    scale = height / max(1.25 * (max(values, default=1.0) - min(values, default=0.0)), 1e-9)
    found: dict[int, float] = {}
    for i in sorted(range(len(points)), key=lambda i: points[i][1]):
        cost, value = points[i]
        beside = [j for j in found if 0.3 < points[j][0] / cost < 3]
        clear = max((points[j][1] * scale + found[j] + letters for j in beside), default=-1e9)
        found[i] = max(4.0, clear - value * scale)
    return [found[i] for i in range(len(points))]
