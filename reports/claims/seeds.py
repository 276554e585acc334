"""How much circuits differ over seeds: their KL, their sizes, and the edges they share."""

import math
from collections.abc import Mapping
from functools import partial
from itertools import product

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from reports.leaderboard.entries import contenders
from reports.parts.content import Drawing, Section
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import Methods, label_of
from reports.parts.metric import Metrics
from reports.parts.numbers import mean_spread, number, share
from reports.parts.style import Line, styled

SEEDS = 8
"""The minimum number of data seeds for a spread to be shown."""
SHOWN = ("kl", "unaided_edges", "seed_overlap")
MEANING = (
    "Each data seed redraws the discovery prompts; the evaluation prompts stay the same, and so does a "
    "method's own randomness, which its method seed draws. Overlap is the mean Jaccard similarity of a "
    "circuit with those of the other seeds: edges in both over edges in either. Unaided edges are those of "
    "the circuit that a method settles on when given no size; their variation is the standard deviation over "
    "the mean. Each point in the figure is one run."
)


def spread_over_seeds(table: pd.DataFrame, methods: Methods) -> pd.DataFrame:
    """Rows of the methods that ran with `SEEDS` data seeds or more, at the sizes where they did."""
    if not {*SHOWN, "effective_edges", "n_edges", "data_seed"} <= set(table.columns):
        return table.iloc[:0]
    ok = contenders(table, methods)
    key = ["model", "graph", "ablation", "task", "method", "params", "size_requested"]
    return ok[ok.groupby(key)["data_seed"].transform("nunique") >= SEEDS]


def seeds_section(
    table: pd.DataFrame, metrics: Metrics, methods: Methods, looks: Mapping[str, Line]
) -> Section | None:
    """How results vary over seeds, as a table and a figure; None where no method ran with enough seeds.

    Args:
        table: the long leaderboard, tidy.
        metrics: by name.
        methods: which methods compete.
        looks: line styles, by a method's label.
    """
    rows = spread_over_seeds(table, methods)
    if rows.empty:
        return None
    labels = list(map(label_of, rows["method"], rows["params"]))
    several = [name for name in ("model", "ablation") if rows[name].nunique() > 1]
    places = rows[["task", *several]].agg(" · ".join, axis=1)
    rows = rows.assign(label=labels, place=places)
    figure = Drawing(
        "over_seeds",
        partial(_plot, rows, metrics, looks),
        "KL, unaided edges and overlap, a point per run",
    )
    return Section("Over seeds", "over-seeds", _grid(rows), (figure,), MEANING)


def _grid(rows: pd.DataFrame) -> Grid:
    headings = (
        Heading("task"),
        Heading("method"),
        Heading("size"),
        Heading("seeds"),
        Heading("KL", "nats", "mean and standard deviation over seeds"),
        Heading("KL, extremes", "nats"),
        Heading("effective edges", "edges"),
        Heading("overlap", "share"),
        Heading("unaided edges", "edges"),
        Heading("variation", "", "of unaided edges: standard deviation over mean"),
    )
    found: list[Row] = []
    for (place, label), group in rows.groupby(["place", "label"]):
        seeds = [name for name in ("data_seed", "method_seed") if name in group.columns]
        unaided = group.drop_duplicates(seeds)["unaided_edges"]
        for i, (size, circuits) in enumerate(group.groupby("size_requested")):
            values = [
                _spread(circuits["effective_edges"]),
                number(float(circuits["seed_overlap"].mean())),
                _spread(unaided) if i == 0 else "",
                number(variation(unaided)) if i == 0 else "",
            ]
            extremes = f"{number(circuits['kl'].min())} to {number(circuits['kl'].max())}"
            cells = [str(place), str(label), share(float(str(size))), str(circuits["data_seed"].nunique())]
            found.append(
                Row(
                    tuple(map(Cell, [*cells, _spread(circuits["kl"]), extremes, *values])),
                    starts=i == 0,
                    about={"method": str(label)},
                )
            )
    return Grid(headings, tuple(found), 2)


def variation(values: "pd.Series[float]") -> float:
    """Standard deviation over mean."""
    return float(values.std() / values.mean()) if values.mean() else math.nan


def _spread(values: "pd.Series[float]") -> str:
    return mean_spread(float(values.mean()), float(values.std()))


def _plot(rows: pd.DataFrame, metrics: Metrics, looks: Mapping[str, Line]) -> Figure:
    """A panel per quantity and task; at every size the methods are side by side."""
    places, labels = sorted(rows["place"].unique()), sorted(rows["label"].unique())
    sizes = sorted(rows["size_requested"].unique())
    with styled():
        figure = Figure(figsize=(3.4 * len(places) + 0.6, 2.5 * len(SHOWN) + 0.6), layout="constrained")
        for i, (name, place) in enumerate(product(SHOWN, places)):
            axes = figure.add_subplot(len(SHOWN), len(places), i + 1)
            for j, label in enumerate(labels):
                points = rows[(rows["place"] == place) & (rows["label"] == label)]
                shift = (j - (len(labels) - 1) / 2) * 0.6 / len(labels)
                x = [sizes.index(size) + shift for size in points["size_requested"]]
                look = looks[label]
                axes.plot(
                    x, points[name], look.marker, color=look.colour, markersize=4, alpha=0.5, label=label
                )
            values = rows[(rows["place"] == place)][name]
            if name != "seed_overlap" and 0 < values.min() * 10 < values.max():
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            if axes.get_yscale() == "linear":
                axes.set_ylim(0, 1.08 * values.max() if values.max() > 0 else None)
            axes.set_xticks(range(len(sizes)), [share(size) for size in sizes])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlim(-0.6, len(sizes) - 0.4)
            axes.set_title(place if i < len(places) else "")
            if i % len(places) == 0:
                axes.set_ylabel(metrics[name].label)
            if i >= len(places) * (len(SHOWN) - 1):
                axes.set_xlabel("edges requested")
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=max(2, len(places)))
    return figure
