"""Who is ahead of whom, as sections of a report: over behaviours, then pair by pair."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from reports.compared.costs import costs_of, plot_costs
from reports.leaderboard.entries import Entry
from reports.parts.content import Drawing, Section
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import label_of_typed
from reports.parts.numbers import DASH, number, share
from reports.parts.style import Line

Told = Mapping[str, Any]
_WHERE = ("model", "ablation", "pruned", "behaviour")


def pairs_section(pairs: Sequence[Told]) -> Section | None:
    """The primary tests of pairs, by the area over all sizes; tests at one size if only that was run.

    Args:
        pairs: as `circuitmark compare --json` prints them.
    """
    matched = [pair for pair in pairs if pair["found_under"] == pair["ablation"]] or list(pairs)
    primary = [pair for pair in matched if pair["size"] is None]
    shown = primary or matched
    if not shown:
        return None
    over = "all sizes" if primary else " and ".join(sorted({share(pair["size"]) for pair in shown}))
    several = [name for name in _WHERE if len({pair[name] for pair in shown}) > 1 or name == "behaviour"]
    headings = (
        *(Heading(name) for name in several),
        Heading("a"),
        Heading("b"),
        Heading(
            "a / b", meaning="KL left by a over KL left by b, on new templates; below 1 where a is ahead"
        ),
        Heading("95 %", meaning="interval of this ratio"),
        Heading("p (Holm)", meaning="of 'neither is ahead', adjusted over all pairs of the family"),
        Heading("p equal", meaning="of 'one is ahead by a factor of 1.25 or more' (TOST), not adjusted"),
        Heading("verdict"),
    )
    rows = [_pair(pair, several) for pair in shown]
    overs = " or ".join(sorted({pair["over"] for pair in shown if pair["low"] is not None}))
    reach = f" Intervals and p are over {overs}." if overs else ""
    families = "the primary family" if primary else "exploratory, because only one size was run"
    meaning = (
        f"Two methods on a behaviour, over {over}: {families}.{reach} Undecided does not mean "
        "equal: methods are equal where a test says so, within a factor of 1.25, or where they never differ."
    )
    notes = (
        "Pairs at single sizes and of circuits found under another ablation: circuitmark compare --json.",
    )
    grid = Grid(headings, tuple(rows), len(several) + 2, notes if len(pairs) > len(shown) else ())
    return Section("Pairs of methods", "pairs", grid, (), meaning)


def _pair(pair: Told, several: Sequence[str]) -> Row:
    names = [Cell(label_of_typed(pair[side]), best=pair["verdict"] == f"{side} ahead") for side in ("a", "b")]
    ratio = math.nan if pair["difference"] is None else math.exp(pair["difference"])
    ends = [pair["low"], pair["high"]]
    reach = (
        f"not available: {pair['reason']}" if None in ends else " to ".join(number(math.exp(e)) for e in ends)
    )
    values = [Cell(_number(pair[name]), order=_order(pair[name])) for name in ("p_holm", "p_equal")]
    why = f"({pair['reason']})" if pair["reason"] and None not in ends else ""  # otherwise it is shown there
    cells = (Cell(number(ratio), order=ratio), Cell(reach), *values, Cell(pair["verdict"], why))
    about = {"model": pair["model"], "ablation": pair["ablation"], "task": pair["behaviour"]}
    methods = f"{names[0].text}\n{names[1].text}"
    return Row(
        (*(Cell(str(pair[name])) for name in several), *names, *cells), about={**about, "method": methods}
    )


def standings_section(
    wholes: Sequence[Told], entries: Sequence[Entry], looks: Mapping[str, Line]
) -> Section | None:
    """How far each method gets over all behaviours, and what it costs.

    Args:
        wholes: as `circuitmark compare --json` prints `behaviours`.
        entries: entries of all settings, for their cost.
        looks: line styles, by a method's label.
    """
    ranked = [whole for whole in wholes if any(m["interquartile_mean"] is not None for m in whole["methods"])]
    if not ranked:
        return None
    several = [name for name in _WHERE[:3] if len({whole[name] for whole in ranked}) > 1]
    rows, figures = [], []
    for i, whole in enumerate(ranked):
        where = [str(whole[name]) for name in several]
        costs = costs_of(entries, whole)
        for method in sorted(whole["methods"], key=lambda each: -_order(each["interquartile_mean"], -1.0)):
            rows.append(_standing(whole, method, where, costs))
        scored = [method for method in whole["methods"] if method["interquartile_mean"] is not None]
        if sum(label_of_typed(method["method"]) in costs for method in scored) < 2:
            continue  # one method alone shows nothing
        title = " · ".join(where) or "quality and cost"
        stem = f"quality_and_cost_{i + 1}" if len(ranked) > 1 else "quality_and_cost"
        figure = partial(plot_costs, whole["methods"], costs, looks, title)
        figures.append(
            Drawing(stem, figure, f"Share of the way to 99 % recovered against CPU seconds, {title}")
        )
    headings = (
        *(Heading(name) for name in several),
        Heading("method"),
        Heading("gone", meaning="share of the way, interquartile mean over behaviours and seeds"),
        Heading("95 %", meaning="stratified bootstrap over data seeds"),
        Heading("rank", meaning="range of ranks that the method may have; 1 is best"),
        Heading("data seeds"),
        Heading("CPU seconds", meaning="of discovery for all sizes, mean over these behaviours and seeds"),
    )
    behaviours = sorted({name for whole in ranked for name in whole["behaviours"]})
    meaning = (
        f"How far each method gets over {', '.join(behaviours)}: gone is the share of the way from random "
        "circuits (0) to 99 % recovered (1), by the area over the logarithm of the sizes. It does not depend "
        "on the other methods."
        + " In the figure, the dashed line joins the methods that are ahead of every cheaper one."
        * bool(figures)
    )
    return Section(
        "Over behaviours",
        "behaviours",
        Grid(headings, tuple(rows), len(several) + 1),
        tuple(figures),
        meaning,
    )


def _standing(whole: Told, method: Told, where: Sequence[str], costs: Mapping[str, float]) -> Row:
    label = label_of_typed(method["method"])
    ends = [method["low"], method["high"]]
    reach = f"not available: {method['reason']}" if None in ends else " to ".join(map(number, ends))
    ranks = [method["rank_low"], method["rank_high"]]
    rank = DASH if None in ranks else " to ".join(f"{end:g}" for end in dict.fromkeys(ranks))
    gone, cost = method["interquartile_mean"], costs.get(label, math.nan)
    cells = (
        Cell(_number(gone), order=-_order(gone)), Cell(reach), Cell(rank), Cell(str(method["data_seeds"])),
        Cell(number(cost), order=cost),
    )  # fmt: skip
    about = {"model": whole["model"], "ablation": whole["ablation"], "method": label}
    return Row((*map(Cell, where), Cell(label), *cells), about=about)


def _number(value: float | None) -> str:
    return DASH if value is None else number(value)


def _order(value: float | None, missing: float = math.nan) -> float:
    return missing if value is None else value
