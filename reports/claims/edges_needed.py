"""How many edges a method needs to stay within a KL of the model, compared with what Edge Pruning needs.

It is the number of effective edges of the smallest circuit that meets the level, scored only where the
requested sizes are close enough: the next smaller one is at most `STEP` below. How many edges a method
actually keeps does not matter (ACDC may keep fewer). Nothing is interpolated: with few sizes in a table, the
number is unscored.
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from reports.claims.estimate import Estimate, log_ratio
from reports.claims.place import at_home, places
from reports.leaderboard.entries import contenders
from reports.parts.content import Section
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import Methods, label_of
from reports.parts.numbers import interval, mean_spread, number

LEVELS = (0.1, 0.02)
"""KL levels in nats."""
STEP = 0.06
"""Largest gap between two sizes, as a share of the larger; a gap of one edge is always small enough."""
CLAIMANT = "edge_pruning"
"""It claims to need less than half the edges of ACDC's and EAP's circuits."""
MEANING = (
    "Effective edges of the smallest circuit within a KL of the model (on gt, the KL among its candidates). "
    "Ratio: Edge Pruning's number over that of the method, the geometric mean over seeds with Student's 95 % "
    "interval; none is given if any seed is unscored or has no circuit within that KL. A number is given "
    "only where the next smaller size requested is at most 6 % below; \N{INFINITY}: no circuit that was run "
    "is within that KL."
)


@dataclass(frozen=True)
class Need:
    """What one method needs at one level on one task."""

    task: str
    """With the model, its graph and the ablation where there are several."""
    level: float
    method: str
    label: str
    edges: "pd.Series[float]"
    """Edges needed, by data seed."""
    ratio: Estimate | None
    """Log of the claimant's edges over this method's; None for the claimant itself, and where it did not run
    or ran with several settings."""
    shortest: float
    """Edges of the shortest path from input to logits; NaN where the table does not say."""


def edges_needed(circuits: pd.DataFrame, level: float) -> float:
    """Effective edges of the smallest circuit with a KL of at most `level`: infinite if there is none, NaN if
    sizes are too far apart or a KL is unscored.

    GT is judged by the KL among its candidates, as in its literature.
    """
    circuits = circuits.sort_values("size_requested")
    kl = circuits["kl_candidates" if (circuits["measure"] == "prob_diff").all() else "kl"]
    asked = (circuits["size_requested"] * circuits["n_edges"]).to_numpy(float)
    effective = circuits["effective_edges"].to_numpy(float)
    meets = (kl <= level).to_numpy()
    if np.isnan(kl).any():
        return math.nan
    if not meets.any():
        return math.inf
    at = int(np.where(meets, effective, np.inf).argmin())  # the first of equal ones
    below = asked[asked < asked[at]].max(initial=-math.inf)
    return float(effective[at]) if asked[at] - below <= max(1.01, STEP * asked[at]) else math.nan


def needs(table: pd.DataFrame, methods: Methods) -> list[Need]:
    """All methods, task by task and level by level, those that need the fewest edges first."""
    if not {
        "size_requested",
        "n_edges",
        "effective_edges",
        "kl",
        "kl_candidates",
        "measure",
        "data_seed",
    } <= set(table.columns):
        return []
    ok = contenders(table, methods)
    found: list[Need] = []
    for (task, group), level in product(places(ok[at_home(ok)]), LEVELS):
        found += _needs(task, group, level)
    return found if any(math.isfinite(need.edges.mean(skipna=False)) for need in found) else []


def edges_needed_section(table: pd.DataFrame, methods: Methods) -> Section | None:
    """Methods by task and level with Edge Pruning's share of their edges; None where nothing is scored."""
    found = needs(table, methods)
    rows = [
        _row(need, starts=i == 0 or (need.task, need.level) != (found[i - 1].task, found[i - 1].level))
        for i, need in enumerate(found)
    ]
    headings = (
        Heading("task"),
        Heading("method"),
        Heading("KL up to", "nats"),
        Heading("edges needed ↓", "edges", "effective edges of the smallest circuit, mean over all seeds"),
        Heading("ratio", "", f"edges that {CLAIMANT} needs over those that this method needs, seed by seed"),
        Heading("seeds"),
    )
    return Section("Edges needed", "needed", Grid(headings, tuple(rows), 2), (), MEANING) if rows else None


def _needs(task: str, group: pd.DataFrame, level: float) -> list[Need]:
    """The methods of a task at one level."""
    edges = {
        (str(method), str(params)): _by_seed(circuits, level)
        for (method, params), circuits in group.groupby(["method", "params"], sort=False)
    }
    known = "shortest_path" in group.columns and (group["shortest_path"] > 0).all()
    shortest = float(group["shortest_path"].min()) if known else math.nan
    ours = [series for (method, _), series in edges.items() if method == CLAIMANT]
    found = []
    for (method, params), series in sorted(edges.items(), key=_mean_or_last):
        ratio = log_ratio(ours[0], series) if len(ours) == 1 and method != CLAIMANT else None
        found.append(Need(task, level, method, label_of(method, params), series, ratio, shortest))
    return found


def _by_seed(circuits: pd.DataFrame, level: float) -> "pd.Series[float]":
    """Edges needed by data seed, averaged over method seeds: running more of these is no advantage."""
    runs = ["data_seed", *(["method_seed"] if "method_seed" in circuits.columns else [])]
    each = circuits.groupby(runs)[list(circuits.columns)].apply(edges_needed, level)
    return each.groupby(level="data_seed").agg(lambda runs: runs.mean(skipna=False))


def _row(need: Need, starts: bool) -> Row:
    mean = float(need.edges.mean(skipna=False))
    text = mean_spread(mean, float(need.edges.std()) if math.isfinite(mean) else math.nan)
    cells = [Cell(need.task), Cell(need.label), Cell(number(need.level)), Cell(text, order=mean)]
    return Row((*cells, _ratio(need.ratio), Cell(str(len(need.edges)))), starts, about={"method": need.label})


def _ratio(log: Estimate | None) -> Cell:
    if log is None:
        return Cell("")
    return Cell(number(math.exp(log.value)), interval(*map(math.exp, log.interval())))


def _mean_or_last(item: tuple[tuple[str, str], "pd.Series[float]"]) -> tuple[bool, float]:
    mean = float(item[1].mean(skipna=False))
    return math.isnan(mean), mean
