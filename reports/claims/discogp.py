"""The claims of DiscoGP: weights and edges together, complements at chance, patching circuits near random.

All are about circuits whose removed edges are set to zero, judged by accuracy among a task's candidates.
"""

import math
from collections.abc import Sequence

import pandas as pd

from reports.claims.claim import Claim
from reports.claims.estimate import difference, mean_of
from reports.claims.place import PLACE, at_home, places
from reports.claims.verdict import Comparison, compare
from reports.parts.methods import Methods, label_of
from reports.parts.numbers import interval, number

SOURCE = "Yu, Niu et al. 2024, abstract"
KEPT, DENSE = 0.93, 0.07
"""C7: circuits keep at least the first share of the full model's accuracy, with at most the second share
of weights and of edges."""
NEAR = 0.1
"""C8 and C9: an accuracy within this distance of chance counts as random."""
OFTEN = 0.5
"""C9: the share of methods and tasks for which the claim must hold."""
ZERO = ("zero", "zero_with_bias")
RIVALS = ("acdc", "eap")
PATCHING = (*RIVALS, "eap_ig")
PROBABILITY = "complement_choice_probability"
"""Shown beside the accuracy that the paper uses: if a complement prefers no candidate, its accuracy is
accidental."""


def discogp_claims(table: pd.DataFrame, methods: Methods) -> list[Claim | None]:
    """Those of C7, C8 and C9 that the runs address.

    Args:
        table: the long leaderboard, tidy, without oversize circuits.
        methods: names the random baseline.
    """
    needed = {"choice_accuracy", "complement_choice_accuracy", "chance", "weight_density", "data_seed"}
    if not needed <= set(table.columns):
        return []
    zero = table[(table["status"] == "ok") & table["ablation"].isin(ZERO)]
    small = zero[zero["size_requested"] <= DENSE]
    home = small[at_home(small)]
    return [_performance(home, zero), _complements(home, methods.baseline), _near_random(small)]


def _performance(small: pd.DataFrame, zero: pd.DataFrame) -> Claim | None:
    """C7, circuit by circuit, over seeds."""
    ours = small[(small["method"] == "discogp") & (small["weight_density"] <= DENSE)]
    full = zero[zero["method"] == "full"].groupby(PLACE)["choice_accuracy"].mean()
    comparisons, parts = [], []
    for place, here in places(ours):
        whole = float(full.get(tuple(here[PLACE].iloc[0]), math.nan))
        for (_, size), rows in here.groupby(["params", "size_requested"]):
            kept = mean_of(_by_run(rows["choice_accuracy"] / whole, rows["data_seed"]))
            comparisons.append(compare(kept, KEPT, "above", "a share of {} or more", end=1))
            density = rows["weight_density"].mean()
            parts.append(
                f"{place} {kept.value:.0%} with {float(str(size)):.0%} of edges, {density:.0%} of weights"
            )
    return _claim(
        "C7",
        "DiscoGP's circuits keep 93 to 100 % of the performance with 1 to 7 % of weights and edges",
        comparisons,
        ["share of the full model's choice accuracy", *parts],
    )


def _complements(small: pd.DataFrame, baseline: str) -> Claim | None:
    """C8: DiscoGP's are within `NEAR` of chance and nearer to it than random ones; its rivals' are not."""
    comparisons, parts, seen = [], [], set()
    for place, here in places(small[small["method"].isin(("discogp", *RIVALS, baseline))]):
        drawn = here[here["method"] == baseline]
        random = _away(drawn, "method_seed" if "method_seed" in drawn else "data_seed")
        for (method, params), rows in here.drop(drawn.index).groupby(["method", "params"]):
            away = _away(rows)
            seen.add(method)
            if method == "discogp":
                less = difference(away, random)
                comparisons.append(compare(mean_of(away), NEAR, "below", "a distance of {} or less", end=0))
                comparisons.append(
                    compare(less, 0.0, "below", "a difference from random circuits' of {} or less")
                )
            else:
                comparisons.append(
                    compare(mean_of(away), NEAR, "above", "for ACDC and EAP, a distance of {} or more")
                )
            words = f"{place} {label_of(str(method), str(params))} {number(mean_of(away).value)}"
            if PROBABILITY in rows:
                words += f" ({number(mean_of(_away(rows, name=PROBABILITY)).value)})"
            parts.append(f"{words}, random {number(mean_of(random).value)}")
    if "discogp" not in seen:
        return None
    missing = [rival for rival in RIVALS if rival not in seen]
    in_brackets = " (in brackets, that of the correct answer's probability)" if PROBABILITY in small else ""
    lead = f"accuracy of the complement, mean distance from chance{in_brackets}"
    return _claim(
        "C8",
        "The complements of DiscoGP's circuits fall to chance, those of ACDC's and EAP's circuits do not",
        [*comparisons, *[Comparison()] * len(missing)],
        [lead, *parts, *(f"{rival} has not run" for rival in missing)],
    )


def _near_random(small: pd.DataFrame) -> Claim | None:
    """C9: circuits found by patching in corrupted activations, scored with removed edges at zero.

    An accuracy below chance is no better than random either, so the test is one-sided.
    """
    if "discovery_ablation" not in small.columns:
        return None
    patched = small[small["method"].isin(PATCHING) & (small["discovery_ablation"] == "resample")]
    comparisons, parts = [], []
    for place, here in places(patched):
        for (method, params), rows in here.groupby(["method", "params"]):
            above = mean_of(_by_run(rows["choice_accuracy"] - rows["chance"], rows["data_seed"]))
            comparisons.append(compare(above, NEAR, "below", "an accuracy above chance of {} or less"))
            words = f"{place} {label_of(str(method), str(params))} {number(above.value)}"
            parts.append(f"{words} {interval(*above.interval())}".strip())
    return _claim(
        "C9",
        "Circuits of patching methods, run with removed edges at zero, are often near random",
        comparisons,
        ["accuracy above chance", *parts],
        math.ceil(OFTEN * len(comparisons)),
    )


def _away(
    rows: pd.DataFrame, run: str = "data_seed", name: str = "complement_choice_accuracy"
) -> "pd.Series[float]":
    """By run, the mean absolute distance from chance: values above and below do not cancel."""
    return _by_run((rows[name] - rows["chance"]).abs(), rows[run])


def _by_run(values: "pd.Series[float]", run: "pd.Series[int]") -> "pd.Series[float]":
    """The mean within each run, over sizes and the method's own seeds; NaN if one is unscored."""
    return values.groupby(run).agg(lambda found: found.mean(skipna=False))


def _claim(
    name: str, text: str, comparisons: Sequence[Comparison], parts: Sequence[str], needed: int | None = None
) -> Claim | None:
    return Claim(name, text, SOURCE, "; ".join(parts), comparisons, needed) if comparisons else None
