"""The claims of DiscoGP: weights and edges together, complements at chance, patching circuits near random.

All are made of circuits whose removed edges are zero, and of accuracy among a task's candidates.
"""

import math
from collections.abc import Sequence

import pandas as pd

from reports.claims.claim import Claim
from reports.claims.edges_needed import at_home
from reports.claims.ratio import OPEN, judged, overall
from reports.parts.numbers import number

SOURCE = "Yu, Niu et al. 2024, abstract"
KEPT, DENSE = 0.93, 0.07
"""Share of the full model's accuracy that circuits keep, with at most so many of weights and edges."""
NEAR = 0.1
"""Of chance: an accuracy nearer than that is random."""
ZERO = ("zero", "zero_with_bias")
RIVALS = ("acdc", "eap")
PROBABILITY = "complement_choice_probability"
"""Beside the accuracy, by which the paper judges: where a complement prefers nothing that is an accident."""
PATCHING = (*RIVALS, "eap_ig")


def discogp_claims(table: pd.DataFrame) -> list[Claim | None]:
    """C7, C8 and C9, those that the runs can tell of."""
    needed = {"choice_accuracy", "complement_choice_accuracy", "chance", "weight_density", "data_seed"}
    if not needed <= set(table.columns):
        return []
    zero = table[(table["status"] == "ok") & table["ablation"].isin(ZERO)]
    small = zero[zero["size_requested"] <= DENSE]
    home = small[at_home(small)]
    return [_performance(home, zero), _complements(home), _near_random(small)]


def _performance(small: pd.DataFrame, zero: pd.DataFrame) -> Claim | None:
    ours = small[(small["method"] == "discogp") & (small["weight_density"] <= DENSE)]
    full = zero[zero["method"] == "full"].groupby("task")["choice_accuracy"].mean()
    verdicts, parts = [], []
    for (task, size), rows in ours.groupby(["task", "size_requested"]):
        shares = rows["choice_accuracy"] / float(full.get(str(task), math.nan))
        verdicts.append(judged(bool(shares.mean() >= KEPT), float(shares.mean(skipna=False))))
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
    verdicts, parts, seen = [], [], set()
    for (task, method), rows in small[small["method"].isin(("discogp", *RIVALS))].groupby(["task", "method"]):
        away = _from_chance(rows["complement_choice_accuracy"], rows["chance"])
        verdicts.append(judged((away <= NEAR) == (method == "discogp"), away))
        seen.add(method)
        words = f"{task} {method} {number(away)}"
        if PROBABILITY in rows:
            words += f" ({number(_from_chance(rows[PROBABILITY], rows['chance']))})"
        parts.append(words)
    if "discogp" not in seen:
        return None
    in_brackets = " (in brackets that of the correct answer's probability)" if PROBABILITY in small else ""
    return _claim(
        "C8",
        "The complement of a DiscoGP circuit falls to chance, that of ACDC's and EAP's circuits does not",
        [*verdicts, *[OPEN] * (not set(RIVALS) <= seen)],
        [f"accuracy of the complement, mean distance from chance{in_brackets}", *parts],
    )


def _near_random(small: pd.DataFrame) -> Claim | None:
    """Circuits found by patching corrupted activations in, scored with removed edges at zero."""
    if "discovery_ablation" not in small.columns:
        return None
    patched = small[small["method"].isin(PATCHING) & (small["discovery_ablation"] == "resample")]
    verdicts, parts = [], []
    for (task, method), rows in patched.groupby(["task", "method"]):
        away = _from_chance(rows["choice_accuracy"], rows["chance"])
        verdicts.append(judged(away <= NEAR, away))
        parts.append(f"{task} {method} {number(away)}")
    return _claim(
        "C9",
        "Circuits of patching methods, removed edges at zero, are near random",
        verdicts,
        ["accuracy, mean distance from chance", *parts],
    )


def _from_chance(accuracy: "pd.Series[float]", chance: "pd.Series[float]") -> float:
    """Mean distance, circuit by circuit: what lies above chance does not make up for what lies below."""
    return float((accuracy - chance).abs().mean(skipna=False))


def _claim(name: str, text: str, verdicts: Sequence[str], parts: Sequence[str]) -> Claim | None:
    return Claim(name, text, SOURCE, overall(verdicts), "; ".join(parts)) if verdicts else None
