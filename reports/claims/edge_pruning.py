"""Claims of Edge Pruning on language models: fewer edges, ahead when sparse, flat cost, stable over seeds."""

import math
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from reports.claims.claim import Claim, span
from reports.claims.data_sizes import growth, over_data
from reports.claims.edges_needed import CLAIMANT, LEVELS, Need, needs
from reports.claims.estimate import deviation, log_ratio, logs
from reports.claims.place import PLACE, at_home, places
from reports.claims.seeds import spread_over_seeds
from reports.claims.verdict import Comparison, compare, compare_deviation
from reports.parts.methods import Methods
from reports.parts.numbers import interval, number, plural, share

RIVALS = ("acdc", "eap")
"""The methods that the claims compare it with."""
HALF = 0.5
"""C1: the bound, as a share of the rivals' edges."""
SPARSE = 0.05
"""C2: the largest share of edges at which a circuit counts as sparse."""
FLOOR = math.log(0.01)
"""C2: floor of log_gap; where a rival has reached it, no method can be ahead."""
FLAT, GROWS = 0.1, 0.5
"""C4: slopes of log seconds over log examples: cost hardly grows below the first, grows above the second."""
NUMBERS = 5
"""C4: with fewer numbers of examples than this, a slope is not tested."""
RATIO = "a ratio of {} or less"
"""Wording of the detectable effect in C1 and C2."""
LITTLE = 0.1
"""C5: a standard deviation of the log of the number of edges: about 10 % of that number."""


def edge_pruning_claims(table: pd.DataFrame, methods: Methods) -> list[Claim | None]:
    """Those of C1, C2, C4 and C5 that the runs address.

    Args:
        table: the long leaderboard, tidy, without oversize circuits.
        methods: which methods compete.
    """
    by_edges = [_fewer_edges(table, methods), _ahead_when_sparse(table)]
    return [*by_edges, _data(table, methods), _seeds(table, methods)]


def _fewer_edges(table: pd.DataFrame, methods: Methods) -> Claim | None:
    found = needs(table, methods)
    ours = sorted({need.label for need in found if need.method == CLAIMANT})
    rivals = [need for need in found if need.method in RIVALS]
    if not ours or not rivals:
        return None
    levels = " and ".join(f"{level:g}" for level in LEVELS)
    tasks = plural(len({need.task for need in found}), "task")
    parts = [f"ratio of the effective edges of {', '.join(ours)} at a KL of {levels} nats on {tasks}"]
    for label in sorted({need.label for need in rivals}):
        logs = [need.ratio.value for need in rivals if need.label == label and need.ratio]
        ratios = [math.exp(log) for log in logs if math.isfinite(log)]
        parts += [f"over those of {label} {span(ratios)}"] if ratios else []
    missing, told = _missing({need.method for need in rivals})
    return Claim(
        "C1",
        "Edge Pruning needs less than half the edges of ACDC's and EAP's circuits at equal KL",
        "Bhaskar et al. 2024, abstract",
        "; ".join([*parts, *told]),
        [*map(_fewer, rivals), *missing],
    )


def _fewer(need: Need) -> Comparison:
    """Below half of a rival's edges; impossible where the shortest path already has half as many."""
    with np.errstate(divide="ignore", invalid="ignore"):
        least = float(np.mean(np.log(need.shortest / need.edges.to_numpy(float))))
    if least >= math.log(HALF):
        path = plural(int(need.shortest), "edge")
        return Comparison(
            impossible=f"{need.task} within {number(need.level)} nats: {need.label} needs "
            f"{number(float(need.edges.mean()))} edges, and the shortest path has {path}"
        )
    return compare(need.ratio, math.log(HALF), "below", RATIO, math.exp) if need.ratio else Comparison()


def _ahead_when_sparse(table: pd.DataFrame) -> Claim | None:
    """C2, by log_gap: its mean over the sparse sizes that both ran with, seed by seed."""
    if not {"log_gap", "data_seed"} <= set(table.columns):
        return None
    ok = table[(table["status"] == "ok") & (table["size_requested"] <= SPARSE) & table["log_gap"].notna()]
    ok = ok[at_home(ok) & ok["method"].isin((CLAIMANT, *RIVALS))]
    comparisons, parts, seen, several = [], [], set(), set()
    for place, here in places(ok):
        settings = {m: list(rows.groupby("params", sort=False)) for m, rows in here.groupby("method")}
        several |= {name for name, each in settings.items() if len(each) > 1}
        for rival in RIVALS:
            if len(settings.get(CLAIMANT, ())) != 1 or len(settings.get(rival, ())) != 1:
                continue
            ours, theirs = (_by_seed(settings[name][0][1]) for name in (CLAIMANT, rival))
            sizes = ours.columns.intersection(theirs.columns)
            if sizes.empty:
                continue
            seen.add(rival)
            ours, theirs = ours[sizes], theirs[sizes]
            left = log_ratio(*(np.exp(gaps.mean(axis=1, skipna=False)) for gaps in (ours, theirs)))
            at = " to ".join(dict.fromkeys(share(float(size)) for size in (sizes.min(), sizes.max())))
            beside = interval(*map(math.exp, left.interval()))
            parts.append(f"{place} at {at}, over {rival} {number(math.exp(left.value))} {beside}".strip())
            full = bool((theirs <= FLOOR + 1e-9).all(axis=None))
            nothing = f"{place}: {rival} leaves 1 % or less, so nothing is left to be ahead by"
            ahead = compare(left, 0.0, "below", RATIO, math.exp)
            comparisons.append(Comparison(impossible=nothing) if full else ahead)
    if not comparisons:
        return None
    missing, told = _missing(seen, several)
    return Claim(
        "C2",
        "Edge Pruning stays ahead at high sparsity",
        "Bhaskar et al. 2024, figures 2 to 4",
        "; ".join(["ratio of the KL left", *parts, *told]),
        [*comparisons, *missing],
    )


def _by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """log_gap by seed and size."""
    return rows.pivot_table(index="data_seed", columns="size_requested", values="log_gap")


def _data(table: pd.DataFrame, methods: Methods) -> Claim | None:
    rows = over_data(table, methods)
    rows = rows[rows["method"].isin((CLAIMANT, *RIVALS))]
    seen = set(rows["method"])
    if CLAIMANT not in seen or len(seen) < 2:
        return None
    comparisons, parts = [], []
    for (*_, task, label, method), runs in rows.groupby([*PLACE, "label", "method"]):
        line, examples = growth(runs), runs["n_discovery"]
        flat = compare(line, FLAT, "below", "a slope of {} or less")
        grows = compare(line, GROWS, "above", "one of {} or more")
        enough = examples.nunique() >= NUMBERS
        comparisons.append((flat if method == CLAIMANT else grows) if enough else Comparison())
        words = f"{task} {label} {number(line.value)} {interval(*line.interval())}".strip()
        tried = plural(examples.nunique(), "number")
        parts.append(f"{words} ({tried} of examples from {examples.min():,.0f} to {examples.max():,.0f})")
    missing, told = _missing(seen)
    return Claim(
        "C4",
        "Edge Pruning's cost hardly grows from 200 to 100,000 examples, while ACDC's and EAP's do",
        "Bhaskar et al. 2024, table 1",
        "; ".join(["slope of log seconds, including prompt generation, over log examples", *parts, *told]),
        [*comparisons, *missing],
    )


def _seeds(table: pd.DataFrame, methods: Methods) -> Claim | None:
    rows = spread_over_seeds(table, methods)
    rows = rows[at_home(rows) & (rows["method"] == CLAIMANT)].sort_values("task", kind="stable")
    comparisons, parts = [], []
    settings = [
        (f"{place} {params}".strip(), group)
        for place, here in places(rows)
        for params, group in here.groupby("params", sort=False)
    ]
    for place, group in settings:
        edges = group.groupby("data_seed")["unaided_edges"].first().astype(float)
        found, low, high = deviation(logs(edges))
        comparisons.append(compare_deviation(logs(edges), LITTLE))
        parts.append(
            f"{place} {number(found)} {interval(low, high)} ({number(edges.min(), whole=True)} to "
            f"{number(edges.max(), whole=True)} edges, {len(edges)} seeds; overlap of circuits of one size "
            f"{number(group['seed_overlap'].mean())})"
        )
    if not parts:
        return None
    return Claim(
        "C5",
        "Over 12 seeds the sparsities of Edge Pruning's circuits spread little",
        "Bhaskar et al. 2024, appendix",
        "; ".join(["standard deviation of the log of the unaided circuit's edges", *parts]),
        comparisons,
    )


def _missing(
    seen: Collection[object], several: Collection[object] = ()
) -> tuple[Sequence[Comparison], Sequence[str]]:
    """A claim about several rivals is not shown if one of them has not run, or ran with several settings."""
    absent = [rival for rival in RIVALS if rival not in seen]
    why = {rival: "ran with several settings" if rival in several else "has not run" for rival in absent}
    return [Comparison()] * len(absent), [f"{rival} {reason}" for rival, reason in why.items()]
