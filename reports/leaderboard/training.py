"""Training curves: what a method recorded at each step, a panel per quantity."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from reports.parts.content import Training
from reports.parts.style import Line, styled

COLUMNS = 3
STEP = "step"
WIDE = 30.0
"""A positive quantity whose largest value is more than this times its smallest gets a logarithmic axis."""


def plot_training(title: str, runs: Sequence[Training], look: Line) -> Figure:
    """One method on one task: every quantity against the step, a line per seed, in the method's colour.

    Args:
        title: title of the figure.
        runs: one per seed.
        look: line style of the method; its marker and dash are not used.
    """
    names = list(dict.fromkeys(name for run in runs for name in run.series if name != STEP))
    rows = math.ceil(len(names) / COLUMNS)
    with styled():
        figure = Figure(figsize=(4.1 * min(COLUMNS, len(names)), 2.6 * rows + 0.4), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        for i, name in enumerate(names):
            axes = figure.add_subplot(rows, COLUMNS if len(names) > COLUMNS else len(names), i + 1)
            those = [run.series for run in runs if name in run.series]
            for series in those:
                axes.plot(series[STEP], series[name], color=look.colour, linewidth=0.9, alpha=0.8)
            values = [value for series in those for value in series[name] if math.isfinite(value)]
            if values and 0 < min(values) * WIDE < max(values):
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set(title=name.replace("_", " "), xlabel="step")
    return figure
