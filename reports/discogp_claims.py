"""The claims of DiscoGP: weights and edges together, complements at chance, patching circuits near random.

All are made of circuits whose removed edges are zero, and of accuracy among a task's candidates.
"""

from collections.abc import Sequence

import pandas as pd

from reports.claim import Claim
from reports.numbers import number
from reports.ratio import FAILS, HOLDS, overall

SOURCE = "Yu, Niu et al. 2024, abstract"
KEPT, DENSE = 0.93, 0.07
"""Share of the full model's accuracy that circuits keep, with at most so many of weights and edges."""
NEAR = 0.1
"""Of chance: an accuracy nearer than that is random."""
ZERO = ("zero", "zero_with_bias")
PATCHING = ("acdc", "eap", "eap_ig")


def discogp_claims(table: pd.DataFrame) -> list[Claim | None]:
    """C7, C8 and C9, those that the runs can tell of."""
    needed = {"choice_accuracy", "complement_choice_accuracy", "chance", "weight_density", "seed"}
    if not needed <= set(table.columns):
        return []
    zero = table[(table["status"] == "ok") & table["ablation"].isin(ZERO)]
    small = zero[zero["size_requested"] <= DENSE]
    return [_performance(small, zero), _complements(small), _near_random(small)]


def _performance(small: pd.DataFrame, zero: pd.DataFrame) -> Claim | None:
    ours = small[(small["method"] == "discogp") & (small["weight_density"] <= DENSE)]
    full = zero[zero["method"] == "full"].groupby("task")["choice_accuracy"].mean()
    verdicts, parts = [], []
    for (task, size), rows in ours.groupby(["task", "size_requested"]):
        shares = rows["choice_accuracy"] / float(full.loc[str(task)])
        verdicts.append(HOLDS if shares.mean() >= KEPT else FAILS)
        density = rows["weight_density"].mean()
        parts.append(
            f"{task} {shares.mean():.0%} with {float(str(size)):.0%} of edges, {density:.0%} of weights"
        )
    return _claim(
        "C7",
        "DiscoGP's circuits keep 93 to 100 % of the performance with 1 to 7 % of weights and edges",
        verdicts,
        parts,
    )


def _complements(small: pd.DataFrame) -> Claim | None:
    methods = ("discogp", *PATCHING)
    verdicts, parts = [], []
    for (task, method), rows in small[small["method"].isin(methods)].groupby(["task", "method"]):
        rest = rows["complement_choice_accuracy"].mean()
        near = abs(rest - rows["chance"].mean()) <= NEAR
        verdicts.append(HOLDS if near == (method == "discogp") else FAILS)
        parts.append(f"{task} {method} {number(rest)}")
    if not any(" discogp " in part for part in parts):
        return None
    return _claim(
        "C8",
        "The complement of a DiscoGP circuit falls to chance, that of ACDC's and EAP's circuits does not",
        verdicts,
        parts,
    )


def _near_random(small: pd.DataFrame) -> Claim | None:
    """Circuits found by patching corrupted activations in, scored with removed edges at zero."""
    if "discovery_ablation" not in small.columns:
        return None
    patched = small[small["method"].isin(PATCHING) & (small["discovery_ablation"] == "resample")]
    verdicts, parts = [], []
    for (task, method), rows in patched.groupby(["task", "method"]):
        own, chance = rows["choice_accuracy"].mean(), rows["chance"].mean()
        verdicts.append(HOLDS if abs(own - chance) <= NEAR else FAILS)
        parts.append(f"{task} {method} {number(own)}, chance {number(chance)}")
    return _claim(
        "C9", "Circuits of patching methods, removed edges at zero, are near random", verdicts, parts
    )


def _claim(name: str, text: str, verdicts: Sequence[str], parts: Sequence[str]) -> Claim | None:
    return Claim(name, text, SOURCE, overall(verdicts), "; ".join(parts)) if parts else None
