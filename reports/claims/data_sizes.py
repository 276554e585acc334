"""What more discovery examples cost and gain: seconds and KL against their number."""

import math
from collections.abc import Mapping
from functools import partial

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.claims.estimate import Estimate, logs, slope
from reports.claims.place import places
from reports.leaderboard.entries import contenders
from reports.parts.content import Drawing, Section
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import Methods, label_of
from reports.parts.metric import Metrics
from reports.parts.numbers import interval, number, share
from reports.parts.style import Line, styled

RUN = ("n_discovery", "data_seed", "method_seed")
"""What distinguishes the runs of a method on a task."""
MEANING = (
    "The same methods on more discovery examples, with the seeds that ran on every number of examples. "
    "Growth is the least-squares slope of log seconds, including prompt generation, over log "
    "examples, with Student's 95 % interval: at 1 the time grows in proportion to the data, at 0 not at all."
)


def over_data(table: pd.DataFrame, methods: Methods) -> pd.DataFrame:
    """Rows of the methods that ran with several numbers of examples, named by their own parameters."""
    if not {"n_discovery", "own_params", "seconds", "kl"} <= set(table.columns):
        return table.iloc[:0]
    ok = contenders(table, methods)
    ok = ok.assign(label=list(map(label_of, ok["method"], ok["own_params"])))
    key = ["model", "graph", "ablation", "task", "label", "size_requested"]
    ok = ok[ok.groupby(key)["n_discovery"].transform("nunique") > 1]
    all_of_them = ok.groupby(key)["n_discovery"].transform(
        "nunique"
    )  # seeds that ran on only some would mislead
    return ok[ok.groupby([*key, "data_seed"])["n_discovery"].transform("nunique") == all_of_them]


def growth(rows: pd.DataFrame) -> Estimate:
    """Slope of log seconds, including prompt generation, over log examples, with a point per run.

    A run's seconds are those for all its sizes together. Unscored if prompt generation was not timed.
    """
    runs = rows.drop_duplicates([name for name in RUN if name in rows.columns])
    if "data_seconds" not in runs.columns:
        return Estimate()
    return slope(logs(runs["n_discovery"]), logs(runs["seconds"] + runs["data_seconds"]))


def data_section(
    table: pd.DataFrame, metrics: Metrics, methods: Methods, looks: Mapping[str, Line]
) -> Section | None:
    """What more data costs and gains, as a table and a figure; None if no method ran on several numbers.

    Args:
        table: the long leaderboard, tidy.
        metrics: by name.
        methods: which methods compete.
        looks: line styles, by a method's label.
    """
    rows = over_data(table, methods)
    if rows.empty:
        return None
    figure = Drawing(
        "over_data", partial(_plot, rows, metrics, looks), "Seconds and KL against the number of examples"
    )
    return Section("More data", "more-data", _grid(rows), (figure,), MEANING)


def _grid(rows: pd.DataFrame) -> Grid:
    sizes = sorted(rows["size_requested"].unique())
    headings = (
        Heading("task"),
        Heading("method"),
        Heading("examples"),
        Heading("seconds", "s", "one discovery of all sizes requested, mean over seeds"),
        Heading("prompts", "s", "generating the discovery prompts, mean over seeds"),
        Heading("growth"),
        *(Heading(f"KL, {share(size)}", "nats") for size in sizes),
    )
    found = []
    each = [(place, *found) for place, here in places(rows) for found in here.groupby("label")]
    for place, label, group in each:
        line = growth(group)
        grown = Cell(number(line.value), interval(*line.interval()))
        for i, (n, runs) in enumerate(group.groupby("n_discovery")):
            kls = [float(runs[runs["size_requested"] == size]["kl"].mean()) for size in sizes]
            made = float(runs["data_seconds"].mean()) if "data_seconds" in runs.columns else math.nan
            names = [place, str(label), f"{float(str(n)):,.0f}"]
            texts = [number(float(runs["seconds"].mean())), number(made)]
            before, after = map(Cell, [*names, *texts]), map(Cell, map(number, kls))
            cells = (*before, grown if i == 0 else Cell(""), *after)
            found.append(Row(cells, starts=i == 0, about={"method": str(label)}))
    return Grid(headings, tuple(found), 2)


def _plot(rows: pd.DataFrame, metrics: Metrics, looks: Mapping[str, Line]) -> Figure:
    """Seconds, then KL at every size; a row of panels per place."""
    by_place, sizes = list(places(rows)), sorted(rows["size_requested"].unique())
    columns = 1 + len(sizes)
    with styled():
        figure = Figure(figsize=(3.1 * columns, 2.7 * len(by_place) + 0.5), layout="constrained")
        for i, (place, of_place) in enumerate(by_place):
            for j in range(columns):
                axes = figure.add_subplot(len(by_place), columns, i * columns + j + 1)
                name = "kl" if j else "seconds"
                here = of_place[of_place["size_requested"] == sizes[j - 1]] if j else of_place
                for label, points in here.groupby("label"):
                    look = looks[str(label)]
                    mean = points.groupby("n_discovery")[name].mean()
                    axes.plot(
                        mean, look.marker + look.dash, color=look.colour, markersize=4.5, label=str(label)
                    )
                axes.set(xscale="log", yscale="log", xlabel="discovery examples", ylabel=metrics[name].label)
                axes.set_title(f"{place}, {share(sizes[j - 1])} of edges" if j else f"{place}, all sizes")
                for axis in (axes.xaxis, axes.yaxis):
                    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
                    axis.set_minor_formatter(NullFormatter())
                low, high = axes.get_ylim()
                if high < 10 * low:  # a single decade would be the only label
                    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=columns)
    return figure
