"""Settings chosen on one fold of programs and judged on the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.scoring.metrics import exact_cuts
from bench.scoring.statistics.binary import wilson
from bench.scoring.statistics.paired import holm
from bench.truth.folds import SHARE, Case, Setting, judge
from tracr_ground_truth import find_programs
from tracr_ground_truth.families import FAMILIES, fold_of

FOLDS: tuple[list[str], list[str]] = ([], [])
for _name in (f"p{i}" for i in range(20)):
    FOLDS[fold_of(_name)].append(_name)


def run(
    program: str, own: bool | None, cut: tuple[float | None, float | None], **more: Any
) -> dict[str, Any]:
    """A recovery whose scores cut the true circuit from the first threshold up to the second."""
    base = {"method": "eap", "params": "", "ablation": "zero", "status": "ok", "top_score": 1.0}
    return {**base, "program": program, "unaided_exact": own, "cut_low": cut[0], "cut_high": cut[1], **more}


def folds_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    (told,) = judge(rows)["folds"]
    return told


@given(
    scores=st.lists(st.integers(-2, 3), min_size=6, max_size=6),
    true=st.lists(st.booleans(), min_size=6, max_size=6),
    threshold=st.sampled_from([-2.5, -2, -0.5, 0, 0.5, 1, 2.5, 3, 3.5]),
)
def test_cuts_are_exact_between_their_ends(scores: list[int], true: list[bool], threshold: float) -> None:
    matrix, truth = torch.tensor(scores).double().view(2, 3), torch.tensor(true).view(2, 3)
    found = exact_cuts(matrix, [truth], torch.ones(2, 3, dtype=torch.bool))
    low, high = found["cut_low"], found["cut_high"]
    inside = (low is None or low <= threshold) and (high is None or threshold < high)
    assert inside == torch.equal(matrix > threshold, truth)
    assert found["top_score"] == max(scores)


def test_the_threshold_of_one_fold_is_judged_on_the_other() -> None:
    """Fold 0 wants 0.1 to 0.2, fold 1 wants 0.4 to 0.5 and, of one program, all: each fails on the other."""
    rows = [run(p, False, (0.1, 0.2)) for p in FOLDS[0]] + [run(p, False, (0.4, 0.5)) for p in FOLDS[1][1:]]
    rows.append(run(FOLDS[1][0], False, (0.05, 0.6)))
    told = folds_of(rows)
    assert (told["own"], told["own_programs"]) == (0, 20)
    assert (told["held_out"], told["held_out_programs"]) == (1, 20)
    low, high = wilson(1, 20)
    assert (told["held_out_low"], told["held_out_high"]) == (low, high)
    on_0, on_1 = (setting.split() for setting in told["settings"])
    assert (on_0[0], on_1[0]) == ("share", "share")
    assert 0.4 <= float(on_0[1]) < 0.5
    assert 0.1 <= float(on_1[1]) < 0.2


def test_its_own_circuit_is_kept_where_no_threshold_does_better() -> None:
    told = folds_of([run(p, i % 2 == 0, (0.1, 0.2) if i % 2 == 0 else (0.2, 0.1)) for p, i in
                     ((p, i) for fold in FOLDS for i, p in enumerate(fold))])  # fmt: skip
    assert told["settings"] == ["own", "own"]
    assert told["held_out"] == told["own"] > 0


def test_scores_that_are_no_shares_are_cut_as_they_are() -> None:
    """Logarithms of probabilities, say: none is above a share of the largest."""
    told = folds_of([run(p, False, (-5.0, -1.0), top_score=-0.1) for fold in FOLDS for p in fold])
    assert told["held_out"] == 20
    assert told["settings"] == ["score -3", "score -3"]


def test_a_program_counts_where_every_run_is_exact() -> None:
    rows = [run(p, True, (0.1, 0.3), method_seed=1) for fold in FOLDS for p in fold]
    rows += [run(p, p != FOLDS[0][0], (0.2, 0.4), method_seed=2) for fold in FOLDS for p in fold]
    assert folds_of(rows)["own"] == 19
    assert folds_of(rows)["settings"][0] == "own"  # as often exact on fold 1 as a threshold of 0.2 to 0.3
    assert folds_of(rows)["settings"][1].startswith("share 0.2")
    assert folds_of(rows)["held_out"] == 19


def test_an_empty_truth_is_cut_where_nothing_scores() -> None:
    """All scores are 0: no edge is above a share of the largest."""
    told = folds_of([run(p, None, (0.0, None), top_score=0.0) for fold in FOLDS for p in fold])
    assert told["own"] is told["own_low"] is None
    assert told["held_out"] == 20


def test_what_ended_badly_or_has_no_other_fold_is_unscored() -> None:
    rows = [run(p, True, (0.1, 0.2)) for p in FOLDS[0]]
    rows.append(run(FOLDS[1][0], None, (None, None), status="failed", top_score=None))
    told = folds_of(rows)
    assert (told["own_programs"], told["held_out"], told["held_out_programs"]) == (len(FOLDS[0]), None, 0)
    assert told["settings"] == [None, "own"]
    assert judge([]) == {"folds": [], "compared": []}


def test_pairs_are_compared_on_the_programs_of_both() -> None:
    """By McNemar's test, adjusted for all pairs; random circuits are left out."""
    every = [p for fold in FOLDS for p in fold]
    rows = [run(p, True, (0.2, 0.1), method="acdc") for p in every]
    rows += [run(p, p not in every[:8], (0.2, 0.1)) for p in every[:-1]]
    rows += [run(p, False, (0.2, 0.1), method="eap", params="steps=5") for p in every]
    rows += [run(p, None, (0.2, 0.1), method="random_edges") for p in every]
    compared = judge(rows)["compared"]
    assert [(row["a"], row["b"], row["b_params"]) for row in compared] == [
        ("acdc", "eap", ""), ("acdc", "eap", "steps=5"), ("eap", "eap", "steps=5"),
    ]  # fmt: skip
    first = compared[0]
    assert (first["programs"], first["a_alone"], first["b_alone"]) == (19, 8, 0)
    assert first["p"] == pytest.approx(2 / 2**8)
    adjusted = holm(np.array([row["p"] for row in compared]))
    assert [row["p_holm"] for row in compared] == list(adjusted)


def test_variants_are_in_one_fold() -> None:
    """Families are of shipped programs, and the folds are of about one size."""
    shipped = find_programs()[0]
    members = [name for family in FAMILIES for name in family]
    assert len(members) == len(set(members))
    assert set(members) <= set(shipped)
    assert all(len({fold_of(name) for name in family}) == 1 for family in FAMILIES)
    assert 0.4 <= sum(map(fold_of, shipped)) / len(shipped) <= 0.6


def test_a_setting_says_what_it_is() -> None:
    assert str(Setting(SHARE, 0.01234)) == "share 0.0123"
    assert not Case(True, {}).is_exact(Setting(SHARE, 0.5))
