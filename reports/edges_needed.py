"""How many edges a method needs to stay within a KL of the model, and what others need beside it.

The number is that of effective edges of the smallest circuit that met the level. It is scored where the sizes
that were run are near enough to each other: the next smaller circuit, which did not meet it, has at most
`STEP` fewer edges. It is no interpolation: a table of few sizes leaves it unscored.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import pandas as pd
from scipy import stats

from reports.entries import REFERENCES
from reports.grid import Cell, Grid, Heading, Row
from reports.numbers import interval, mean_spread, number
from reports.style import is_baseline

LEVELS = (0.1, 0.02)
"""Nats."""
STEP = 0.06
"""Largest gap between two sizes, as a share of the larger; one edge is always near enough."""
CLAIMANT, BOUND = "edge_pruning", 0.5
"""Claim C1: it needs less than this share of the edges of ACDC's and EAP's circuits."""
NEEDED = "Edges needed"
NEEDED_MEANING = (
    "Effective edges of the smallest circuit within a KL of the model (gt: KL among its candidates), beside "
    "Edge Pruning's share of them: it claims less than half the edges of ACDC's and EAP's circuits (Bhaskar "
    "et al. 2024). The claim holds on this model where the whole 95 % interval over seeds lies below 0.5, "
    "fails where it lies above, and is open else, as it is where a seed is unscored or several settings of "
    "Edge Pruning ran. A number is given only where the next smaller circuit has at most 6 % fewer edges; "
    "\N{INFINITY}: no circuit that was run is within that KL."
)
PLACE = ["model", "graph", "ablation", "task"]


@dataclass(frozen=True)
class Ratio:
    """The geometric mean over seeds of a ratio of edges, with Student's 95 % interval of its logarithm."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> str:
        """What becomes of the claim that the ratio is below `BOUND`."""
        return "holds" if self.high < BOUND else "fails" if self.low >= BOUND else "open"


def edges_needed(circuits: pd.DataFrame, level: float) -> float:
    """Effective edges of the smallest circuit of KL up to `level`: infinite where none is, and NaN where
    sizes are too far apart.

    GT is judged by the KL among its candidates, as its literature does (design: metrics).
    """
    kl = circuits["kl_candidates" if (circuits["measure"] == "prob_diff").all() else "kl"]
    effective = circuits["effective_edges"].astype(float)
    if not (kl <= level).any():
        return math.inf
    needed = effective[kl <= level].min()
    below = effective[effective < needed].max()
    return needed if needed - below <= max(1.0, STEP * needed) else math.nan


def ratio(ours: "pd.Series[float]", theirs: "pd.Series[float]") -> Ratio:
    """Of two methods' edges by seed, paired over the seeds of both; unscored where one of those is."""
    both = [(ours[seed], theirs[seed]) for seed in ours.index.intersection(theirs.index)]
    logs = [math.log(a / b) for a, b in both if math.isfinite(a) and math.isfinite(b)]
    if not logs or len(logs) < len(both):
        return Ratio(math.nan, math.nan, math.nan, len(logs))
    mean = math.fsum(logs) / len(logs)
    if len(logs) < 2:
        return Ratio(math.exp(mean), math.nan, math.nan, 1)
    reach = float(stats.t.ppf(0.975, len(logs) - 1)) * float(stats.sem(logs))
    return Ratio(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach), len(logs))


def edges_needed_grid(table: pd.DataFrame) -> Grid | None:
    """Methods by task and level with Edge Pruning's share of their edges; None where nothing is scored."""
    if not {"effective_edges", "kl", "kl_candidates", "measure", "seed"} <= set(table.columns):
        return None
    rivals = ~table["method"].isin(REFERENCES) & ~table["method"].map(is_baseline).astype(bool)
    ok = table[(table["status"] == "ok") & rivals]
    several = [name for name in PLACE[:-1] if ok[name].nunique() > 1]
    rows: list[Row] = []
    for (_, group), level in product(ok.groupby(PLACE, sort=False), LEVELS):
        place = " · ".join(str(group[name].iloc[0]) for name in ("task", *several))
        rows += _rows(place, group, level)
    if not any(math.isfinite(row.cells[3].order) for row in rows):
        return None
    headings = (
        Heading("task"),
        Heading("method"),
        Heading("KL up to", "nats"),
        Heading("edges needed ↓", "edges", "effective edges of the smallest circuit, mean over all seeds"),
        Heading("ratio", "", f"edges that {CLAIMANT} needs over those of this method, seeds paired"),
        Heading("seeds"),
        Heading("claim", "", f"whether the ratio is below {BOUND}: its whole interval decides"),
    )
    return Grid(headings, tuple(rows), 2)


def _rows(task: str, group: pd.DataFrame, level: float) -> list[Row]:
    """The methods of a task at one level, those that need least first."""
    needed = {
        (str(method), str(params)): circuits.groupby("seed")[list(circuits.columns)].apply(
            edges_needed, level
        )
        for (method, params), circuits in group.groupby(["method", "params"], sort=False)
    }
    ours: Sequence[pd.Series[float]] = [edges for (name, _), edges in needed.items() if name == CLAIMANT]
    rows: list[Row] = []
    for (method, params), edges in sorted(needed.items(), key=_mean_or_last):
        label = f"{method} ({params})" if params else method
        mean = float(edges.mean(skipna=False))
        text = mean_spread(mean, float(edges.std()) if math.isfinite(mean) else math.nan)
        cells = [Cell(task), Cell(label), Cell(number(level)), Cell(text, order=mean)]
        if method == CLAIMANT or len(ours) != 1:
            cells += [Cell(""), Cell(str(len(edges))), Cell("")]
        else:
            share = ratio(ours[0], edges)
            cells += [
                Cell(number(share.mean), interval(share.low, share.high)),
                Cell(str(share.seeds)),
                Cell(share.verdict),
            ]
        rows.append(Row(tuple(cells), starts=not rows))
    return rows


def _mean_or_last(item: tuple[tuple[str, str], "pd.Series[float]"]) -> tuple[bool, float]:
    mean = float(item[1].mean(skipna=False))
    return math.isnan(mean), mean
