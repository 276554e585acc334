"""What becomes of the papers' claims on the models that were run, one row per claim that runs can tell of.

A small model cannot refute a claim made of larger ones; it shows whether the claim carries over.
"""

import math
from collections.abc import Sequence

import pandas as pd

from reports.claim import Claim
from reports.content import Section
from reports.data_sizes import growth, over_data
from reports.discogp_claims import discogp_claims
from reports.edges_needed import BOUND, CLAIMANT, needs
from reports.grid import Cell, Grid, Heading, Row
from reports.numbers import interval, number
from reports.ratio import FAILS, HOLDS, OPEN, overall, paired_ratio
from reports.seeds import spread_over_seeds, variation

RIVALS = ("acdc", "eap")
"""The methods that Edge Pruning's claims compare it with."""
SPARSE = 0.05
"""Shares of edges up to which a circuit counts as sparse in C2."""
GROWS, FLAT = 0.5, 0.1
"""Growth of seconds with data, in log over log: above the one is growth, below the other hardly any."""
LITTLE = 0.1
"""Variation over seeds that is little."""
PROGRAMS = ("x_proportion", "reverse")
MEANING = (
    "Claims of the papers and what becomes of them on what was run here: other and smaller models than "
    "theirs, which can fail to show a claim and cannot refute it. A comparison holds or fails where its "
    "whole 95 % interval over seeds does, and is open else; a claim holds in part where some of its "
    "comparisons hold."
)


def claims_section(table: pd.DataFrame, recovery: pd.DataFrame | None) -> Section | None:
    """The claims that the runs can tell of; None where there are none."""
    found = [
        _fewer_edges(table),
        _ahead_when_sparse(table),
        _true_circuits(recovery),
        _data(table),
        _seeds(table),
        *discogp_claims(table),
    ]
    rows = [
        Row((Cell(c.name), Cell(c.text), Cell(c.source), Cell(c.verdict), Cell(c.figures)))
        for c in found
        if c is not None
    ]
    headings = tuple(map(Heading, ("claim", "what it says", "source", "here", "figures")))
    return Section("Claims", "claims", Grid(headings, tuple(rows), 5), (), MEANING) if rows else None


def _fewer_edges(table: pd.DataFrame) -> Claim | None:
    rivals = [need for need in needs(table) if need.method in RIVALS and need.share is not None]
    if not rivals:
        return None
    verdicts = [need.share.verdict(BOUND) for need in rivals if need.share is not None]
    parts = []
    for method in RIVALS:
        shares = [
            n.share.mean for n in rivals if n.method == method and n.share and not math.isnan(n.share.mean)
        ]
        if shares:
            parts.append(f"ratio to {method} {number(min(shares))} to {number(max(shares))}")
    return Claim(
        "C1",
        "Edge Pruning needs less than half the edges of ACDC's and EAP's circuits at equal KL",
        "Bhaskar et al. 2024, abstract",
        overall(verdicts),
        "; ".join([_count(verdicts, "comparisons"), *parts]),
    )


def _ahead_when_sparse(table: pd.DataFrame) -> Claim | None:
    """KL at the sparse sizes that both ran with: the mean over sizes of its log, seed by seed."""
    if not {"kl", "seed"} <= set(table.columns):
        return None
    ok = table[(table["status"] == "ok") & (table["size_requested"] <= SPARSE) & (table["kl"] > 0)]
    if "n_discovery" in ok.columns:
        ok = ok[ok["n_discovery"] == ok["n_discovery"].min()]
    verdicts, parts = [], []
    for task, here in ok.groupby("task"):
        ours = _logs(here[here["method"] == CLAIMANT])
        for rival in RIVALS:
            theirs = _logs(here[here["method"] == rival])
            sizes = ours.columns.intersection(theirs.columns)
            if not len(sizes):
                continue
            ratio = paired_ratio(
                ours[sizes].mean(axis=1).map(math.exp), theirs[sizes].mean(axis=1).map(math.exp)
            )
            verdicts.append(ratio.verdict(1.0))
            beside = interval(ratio.low, ratio.high)
            parts.append(f"{task}, KL over that of {rival}: {number(ratio.mean)} {beside}".strip())
    if not verdicts:
        return None
    return Claim(
        "C2",
        "Edge Pruning stays ahead at high sparsity, most on IOI and GT",
        "Bhaskar et al. 2024, figures 2 to 4",
        overall(verdicts),
        "; ".join([f"up to {SPARSE:.0%} of edges", *parts]),
    )


def _logs(rows: pd.DataFrame) -> pd.DataFrame:
    """Log KL by seed and size, the mean over a method's settings; of sizes with which every seed ran."""
    logs = rows.assign(kl=rows["kl"].map(math.log))
    return logs.groupby(["seed", "size_requested"])["kl"].mean().unstack().dropna(axis=1)


def _true_circuits(recovery: pd.DataFrame | None) -> Claim | None:
    if recovery is None or "published_exact" not in recovery.columns:
        return None
    rows = recovery[
        (recovery["method"] == CLAIMANT)
        & recovery["program"].isin(PROGRAMS)
        & (recovery["ablation"] == "zero")
    ]
    if rows.empty or set(rows["program"]) != set(PROGRAMS):
        return None
    published = [HOLDS if exact else FAILS for exact in rows["published_exact"]]
    proved = int(rows["unaided_exact"].astype(bool).sum())
    return Claim(
        "C3",
        "Edge Pruning recovers the true circuits of x-proportion and reverse perfectly",
        "Bhaskar et al. 2024, figure 5",
        overall(published),
        f"unaided, zero ablation: the published lists {published.count(HOLDS)} of {len(published)} times; "
        f"the edges proved necessary {proved} of {len(rows)} times",
    )


def _data(table: pd.DataFrame) -> Claim | None:
    rows = over_data(table)
    slopes = {
        method: growth(runs) for method, runs in rows.groupby("method") if method in (CLAIMANT, *RIVALS)
    }
    if CLAIMANT not in slopes or len(slopes) < 2:
        return None
    verdicts = [
        (HOLDS if slope < FLAT else FAILS if slope > GROWS else OPEN)
        if method == CLAIMANT
        else (HOLDS if slope > GROWS else FAILS if slope < FLAT else OPEN)
        for method, slope in slopes.items()
    ]
    most = rows.groupby("method")["n_discovery"].max()
    figures = [f"{method!s} {number(slope)} (to {most[method]:,.0f})" for method, slope in slopes.items()]
    return Claim(
        "C4",
        "Edge Pruning's cost hardly grows from 200 to 100,000 examples, while ACDC's and EAP's do",
        "Bhaskar et al. 2024, table 1",
        overall(verdicts),
        "growth of seconds with examples, log over log: " + "; ".join(figures),
    )


def _seeds(table: pd.DataFrame) -> Claim | None:
    rows = spread_over_seeds(table)
    rows = rows[rows["method"] == CLAIMANT]
    parts, verdicts = [], []
    for task, group in rows.groupby("task"):
        unaided = group.drop_duplicates(["params", "seed"])["unaided_edges"].astype(float)
        share = variation(unaided)
        verdicts.append(HOLDS if share < LITTLE else FAILS)
        parts.append(
            f"{task} {number(unaided.min(), whole=True)} to {number(unaided.max(), whole=True)} edges "
            f"(variation {number(share)}), overlap {number(group['seed_overlap'].mean())}"
        )
    if not parts:
        return None
    return Claim(
        "C5",
        "Over 12 seeds the sparsities of Edge Pruning's circuits spread little",
        "Bhaskar et al. 2024, appendix",
        overall(verdicts),
        f"unaided, {rows['seed'].nunique()} seeds: " + "; ".join(parts),
    )


def _count(verdicts: Sequence[str], noun: str) -> str:
    counts = [
        f"{verdicts.count(v)} {word}" for v, word in ((HOLDS, "hold"), (FAILS, "fail"), (OPEN, "are open"))
    ]
    return f"of {len(verdicts)} {noun} {', '.join(counts)}"
