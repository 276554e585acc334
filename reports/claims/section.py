"""What becomes of the papers' claims on the models that were run, one row per claim that runs can tell of.

A small model cannot refute a claim made of larger ones; it shows whether the claim carries over.
"""

import math
from collections.abc import Collection, Sequence

import pandas as pd

from reports.claims.claim import Claim
from reports.claims.data_sizes import growth, over_data
from reports.claims.discogp import discogp_claims
from reports.claims.edges_needed import BOUND, CLAIMANT, PLACE, at_home, needs
from reports.claims.ratio import FAILS, HOLDS, OPEN, PART, judged, overall, paired_ratio
from reports.claims.seeds import spread_over_seeds
from reports.leaderboard.entries import as_asked
from reports.parts.content import Section
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import Methods
from reports.parts.numbers import interval, number, plural
from reports.recovery.fold import fold, runs_in_words

RIVALS = ("acdc", "eap")
"""The methods that Edge Pruning's claims compare it with."""
SPARSE = 0.05
"""Shares of edges up to which a circuit counts as sparse in C2."""
GROWS, FLAT = 0.5, 0.1
"""Growth of seconds with data, in log over log: above the one is growth, below the other hardly any."""
LITTLE = 0.01
"""A standard deviation of sparsity over seeds that is little: one of a hundred edges."""
PROGRAMS = ("x_proportion", "reverse")
MEANING = (
    "Claims of the papers and what becomes of them on what was run here: other and smaller models than "
    "theirs, which can fail to show a claim and cannot refute it. C1 and C2 compare seed by seed: a "
    "comparison holds or fails where its whole 95 % interval over seeds does, and is open otherwise. The "
    "others hold by a bound: growth below 0.1 and above 0.5 (C4), a standard deviation of sparsity below "
    "1 % (C5), 93 % of the accuracy (C7), accuracies within 0.1 of chance (C8, C9); C3 holds where every run "
    "found exactly the edges of both published lists, and fails where none did of one. A claim holds where "
    "all of its comparisons do, in part where some do and some fail."
)


def claims_section(table: pd.DataFrame, methods: Methods, recovery: pd.DataFrame | None) -> Section | None:
    """The claims that the runs can tell of; None where there are none.

    Args:
        table: the long leaderboard, tidy.
        methods: which methods compete.
        recovery: the long table of recoveries, as it came; None where there is none.
    """
    table = as_asked(table)
    found = [
        _fewer_edges(table, methods),
        _ahead_when_sparse(table),
        _true_circuits(recovery),
        _data(table, methods),
        _seeds(table, methods),
        *discogp_claims(table),
    ]
    rows = [
        Row((Cell(c.name), Cell(c.text), Cell(c.source), Cell(c.verdict), Cell(c.figures)))
        for c in found
        if c is not None
    ]
    headings = tuple(map(Heading, ("claim", "what it says", "source", "here", "figures")))
    return Section("Claims", "claims", Grid(headings, tuple(rows), 5), (), MEANING) if rows else None


def _fewer_edges(table: pd.DataFrame, methods: Methods) -> Claim | None:
    found = needs(table, methods)
    ours = sorted({need.label for need in found if need.method == CLAIMANT})
    rivals = [need for need in found if need.method in RIVALS]
    if not ours or not rivals:
        return None
    shares = [need.share for need in rivals]
    verdicts = [OPEN if share is None else share.verdict(BOUND) for share in shares]
    parts = []
    for label in sorted({need.label for need in rivals}):
        means = [
            n.share.mean for n in rivals if n.label == label and n.share and not math.isnan(n.share.mean)
        ]
        parts += [f"ratio to {label} {number(min(means))} to {number(max(means))}"] if means else []
    return Claim(
        "C1",
        "Edge Pruning needs less than half the edges of ACDC's and EAP's circuits at equal KL",
        "Bhaskar et al. 2024, abstract",
        overall([*verdicts, *_missing({need.method for need in rivals})]),
        "; ".join([f"effective edges of {', '.join(ours)}", _count(verdicts), *parts]),
    )


def _ahead_when_sparse(table: pd.DataFrame) -> Claim | None:
    """KL at the sparse sizes that both ran with: the mean over sizes of its log, seed by seed."""
    if not {"kl", "data_seed", "own_params"} <= set(table.columns):
        return None
    ok = table[(table["status"] == "ok") & (table["size_requested"] <= SPARSE) & table["kl"].notna()]
    ok = ok[at_home(ok) & ok["method"].isin((CLAIMANT, *RIVALS))]
    verdicts, parts, seen = [], [], set()
    for place, here in ok.groupby(PLACE, sort=False):
        settings = {m: list(rows.groupby("params", sort=False)) for m, rows in here.groupby("method")}
        for rival in RIVALS:
            if len(settings.get(CLAIMANT, ())) != 1 or len(settings.get(rival, ())) != 1:
                continue
            ours, theirs = (_logs(settings[name][0][1]) for name in (CLAIMANT, rival))
            both = (ours - theirs).dropna(axis=1, how="all")
            if both.empty:
                continue
            ratio = paired_ratio(
                *(logs[both.columns].mean(axis=1, skipna=False).map(math.exp) for logs in (ours, theirs))
            )
            verdicts.append(ratio.verdict(1.0))
            seen.add(rival)
            beside = interval(ratio.low, ratio.high)
            sizes = [f"{both.columns.min():.2%}", f"{both.columns.max():.2%}"]
            at = f"{len(both.columns)} sizes from {' to '.join(sizes)}" if len(both.columns) > 1 else sizes[0]
            words = f"{place[-1]}, KL over that of {rival} at {at}"
            parts.append(f"{words}: {number(ratio.mean)} {beside}".strip())
    if not verdicts:
        return None
    return Claim(
        "C2",
        "Edge Pruning stays ahead at high sparsity",
        "Bhaskar et al. 2024, figures 2 to 4",
        overall([*verdicts, *_missing(seen)]),
        "; ".join([_count(verdicts), *parts]),
    )


def _logs(rows: pd.DataFrame) -> pd.DataFrame:
    """Log KL, from 1e-9 nats up, by seed and size."""
    return (
        rows.pivot_table(index="data_seed", columns="size_requested", values="kl")
        .clip(lower=1e-9)
        .map(math.log)
    )


def _true_circuits(recovery: pd.DataFrame | None) -> Claim | None:
    """By the runs at Edge Pruning's defaults; a run that was not scored keeps the claim from holding."""
    if recovery is None or not {"published_exact", "unaided_exact"} <= set(recovery.columns):
        return None
    rows = fold(recovery).table
    rows = rows[(rows["label"] == CLAIMANT) & (rows["ablation"] == "zero") & rows["program"].isin(PROGRAMS)]
    scored = rows[(rows["status"] == "ok") & rows["published_exact"].notna()]
    if set(scored["program"]) != set(PROGRAMS):
        return None
    unscored = len(rows) - len(scored)
    shares = scored.groupby("program")["published_exact"].mean()
    verdict = FAILS if (shares == 0).any() else PART if (shares < 1).any() else OPEN if unscored else HOLDS
    return Claim(
        "C3",
        "Edge Pruning recovers the true circuits of x-proportion and reverse perfectly",
        "Bhaskar et al. 2024, figure 5",
        verdict,
        f"unaided, zero ablation: the published lists in {_exact_runs(scored, 'published_exact')}; the edges "
        f"proved necessary in {_exact_runs(scored, 'unaided_exact')} ({runs_in_words(scored)})"
        + (f"; {plural(unscored, 'run')} unscored" if unscored else ""),
    )


def _exact_runs(rows: pd.DataFrame, name: str) -> str:
    """`15 of 16 runs on x_proportion, 16 of 16 on reverse`."""
    counts = [(program, rows[rows["program"] == program][name]) for program in PROGRAMS]
    return ", ".join(
        f"{int(exact.sum())} of {len(exact) if i else plural(len(exact), 'run')} on {program}"
        for i, (program, exact) in enumerate(counts)
    )


def _data(table: pd.DataFrame, methods: Methods) -> Claim | None:
    rows = over_data(table, methods)
    if rows.empty:
        return None
    rows = rows[rows["method"].isin((CLAIMANT, *RIVALS))]
    verdicts, parts, seen = [], [], set()
    for (label, method), runs in rows.groupby(["label", "method"]):
        slope, n = growth(runs), runs["n_discovery"]
        flat, grows = judged(slope < FLAT, slope), judged(slope > GROWS, slope)
        verdicts.append(flat if method == CLAIMANT else grows)
        seen.add(method)
        parts.append(f"{label} {number(slope)} ({n.min():,.0f} to {n.max():,.0f})")
    if CLAIMANT not in seen or len(seen) < 2:
        return None
    return Claim(
        "C4",
        "Edge Pruning's cost hardly grows from 200 to 100,000 examples, while ACDC's and EAP's do",
        "Bhaskar et al. 2024, table 1",
        overall([*verdicts, *_missing(seen)]),
        "growth of seconds with examples, log over log: " + "; ".join(parts),
    )


def _seeds(table: pd.DataFrame, methods: Methods) -> Claim | None:
    rows = spread_over_seeds(table, methods)
    rows = rows[rows["method"] == CLAIMANT]
    parts, verdicts = [], []
    for place, group in rows.groupby(PLACE):
        runs = group.drop_duplicates(["params", "data_seed"])
        edges, sparsity = runs["unaided_edges"].astype(float), 1 - runs["unaided_edges"] / runs["n_edges"]
        spread = float(sparsity.std(skipna=False))
        verdicts.append(judged(spread < LITTLE, spread))
        parts.append(
            f"{place[-1]} sparsity {sparsity.mean():.1%} ± {spread:.1%} ({number(edges.min(), whole=True)} "
            f"to {number(edges.max(), whole=True)} edges), {runs['data_seed'].nunique()} seeds, overlap of "
            f"circuits of one size {number(group['seed_overlap'].mean())}"
        )
    if not parts:
        return None
    return Claim(
        "C5",
        "Over 12 seeds the sparsities of Edge Pruning's circuits spread little",
        "Bhaskar et al. 2024, appendix",
        overall(verdicts),
        "unaided: " + "; ".join(parts),
    )


def _missing(seen: Collection[object]) -> list[str]:
    """A claim about several rivals is open as long as one of them has not run."""
    return [OPEN] * (not set(RIVALS) <= set(seen))


def _count(verdicts: Sequence[str]) -> str:
    counts = [
        f"{verdicts.count(v)} {word}" for v, word in ((HOLDS, "hold"), (FAILS, "fail"), (OPEN, "are open"))
    ]
    return f"of {len(verdicts)} comparisons {', '.join(counts)}"
