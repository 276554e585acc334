"""MIB's columns are the numbers that MIB's own evaluator gives for the same scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

import mib_oracle
from bench.engine.masked_model import MaskedModel
from bench.runs.scoring import curve_points
from bench.scoring.evaluate import ABSOLUTE, SIGNED, curves, score
from bench.scoring.measures import LOGIT_DIFF
from bench.scoring.metrics import CURVE_SHARES
from bench.study import Study
from methods.base import Discovery, find_methods
from problems import BRIEF

Selection = Literal["top", "greedy"]
EXACT = 1e-9
"""Both sides count in float64: what is left is rounding, on what MIB's processing of weights moves."""
SINGLE = 1e-6
"""Accuracies alone are means in float32."""
SPAN = math.log(CURVE_SHARES[-1] / CURVE_SHARES[0])
COLUMNS = {"cpr", "cmd", "cpr_log", "cmd_log", "acc_auc"}
RANKINGS = ("eap", "random")
SELECTIONS: tuple[Selection, ...] = ("top", "greedy")
READINGS = [(ranking, selection) for ranking in RANKINGS for selection in ("top", "greedy")]


@cache
def study() -> Study:
    model, examples, _ = mib_oracle.stored()
    return mib_oracle.study_of(model, examples)


def signed(ranking: str) -> Tensor:
    return mib_oracle.stored()[2][ranking]


def theirs(ranking: str, sign: str, selection: Selection) -> dict[str, Any]:
    found: dict[str, Any] = mib_oracle.numbers()["curves"][ranking][f"{sign} {selection}"]
    return found


def columns(found: Discovery, study: Study) -> dict[str, float]:
    """From what a method returned to the columns of the leaderboard."""
    points = curve_points(study.graph, found)
    circuits = {f"{curve} {share:g}": c for curve, own in points.items() for share, c in own.items()}
    absolute, signed = (
        {share: f"{curve} {share:g}" for share in points.get(curve, {})} for curve in (ABSOLUTE, SIGNED)
    )
    return curves(study.outputs(circuits), absolute, signed, LOGIT_DIFF)


def wanted(area_under: Mapping[str, Any], area_from_1: Mapping[str, Any]) -> dict[str, Any]:
    """The columns, of MIB's curves that each is read from."""
    return {
        "cpr": pytest.approx(area_under["area_under"], abs=EXACT),
        "cmd": pytest.approx(area_from_1["area_from_1"], abs=EXACT),
        "cpr_log": pytest.approx(area_under["area_under_log"] / SPAN, abs=EXACT),
        "cmd_log": pytest.approx(area_from_1["area_from_1_log"] / SPAN, abs=EXACT),
        "acc_auc": pytest.approx(area_under["acc_auc"], abs=SINGLE),
    }


@pytest.mark.parametrize(("ranking", "selection"), READINGS)
@pytest.mark.parametrize("sign", ["absolute", "signed"])
def test_every_point_is_mibs(ranking: str, selection: Selection, sign: str) -> None:
    """As many edges once dead ones are pruned, the same difference metric, faithfulness and accuracy."""
    raw_scores, told = signed(ranking), theirs(ranking, sign, selection)
    found = Discovery(scores=raw_scores.abs(), signed=raw_scores, selection=selection)
    points = curve_points(study().graph, found)[sign]
    raw = study().outputs({f"{share:g}": circuit for share, circuit in points.items()})
    for i, (share, circuit) in enumerate(points.items()):
        ours = score(raw, f"{share:g}", None, LOGIT_DIFF)
        assert len(circuit) == int(share * study().graph.n_edges)
        assert len(circuit.effective("resample")) == told["edges"][i]
        assert ours["logit_diff"] == pytest.approx(told["metric"][i], abs=EXACT)
        assert ours["faithfulness"] == pytest.approx(told["faithfulness"][i], abs=EXACT)
        assert ours["choice_accuracy"] == pytest.approx(told["accuracy"][i], abs=SINGLE)


@pytest.mark.parametrize(("ranking", "selection"), READINGS)
@pytest.mark.parametrize("used", ["absolute", "signed"])
def test_cpr_is_mibs_of_the_signed_and_cmd_of_the_absolute_ranking(
    ranking: str, selection: Selection, used: str
) -> None:
    """Whichever of the two the method itself cuts its circuits by."""
    both = signed(ranking)
    found = Discovery(
        scores=both.abs() if used == "absolute" else both,
        signed=both,
        selection=selection,
    )
    of_signed, of_absolute = (theirs(ranking, sign, selection) for sign in ("signed", "absolute"))
    assert columns(found, study()) == wanted(of_signed, of_absolute)
    assert abs(of_signed["area_under"] - of_absolute["area_under"]) > 0.01
    assert abs(of_signed["area_from_1"] - of_absolute["area_from_1"]) > 0.01


@pytest.mark.parametrize("sign", ["absolute", "signed"])
@pytest.mark.parametrize("ranking", RANKINGS)
def test_scores_without_a_sign_stand_for_both(ranking: str, sign: str) -> None:
    scores = signed(ranking).abs() if sign == "absolute" else signed(ranking)
    told = theirs(ranking, sign, "top")
    assert columns(Discovery(scores=scores), study()) == wanted(told, told)


def test_what_was_asked_of_a_method_does_not_change_its_curve() -> None:
    """Neither other sizes nor edges that it named for a size, be it one of the curve's shares."""
    scores = signed("eap")
    named = {0.05: study().graph.exists.clone(), 0.3: torch.zeros_like(study().graph.exists)}
    alone, beside = (columns(Discovery(scores=scores, edges=edges), study()) for edges in ({}, named))
    assert alone == beside
    assert columns(Discovery(edges=named), study()) == {}, "without a ranking there is no curve"


def test_the_best_and_the_worst_ranking() -> None:
    """Of a model in which one edge does everything: it comes first, or last."""
    model, drawn, _ = mib_oracle.stored()
    writes = ("W_O", "W_out", "b_out")  # what heads and MLPs would write
    weights = {n: torch.zeros_like(w) if n.endswith(writes) else w for n, w in model.weights.items()}
    idle = MaskedModel(model.architecture, weights)
    prompts = {name: torch.as_tensor(getattr(drawn, name)) for name in ("clean", "corrupted", "lengths")}
    examples = mib_oracle.asked(**prompts, candidates=mib_oracle.farthest_apart(idle, **prompts))
    scores = torch.zeros(idle.graph.exists.shape)
    scores[idle.graph.parse_edge("embed->logits")] = 1
    study = mib_oracle.study_of(idle, examples)
    best, worst = (columns(Discovery(scores=s), study) for s in (scores, -scores))
    assert worst.pop("acc_auc") < best.pop("acc_auc")
    assert best == pytest.approx({"cpr": 0.999, "cmd": 0, "cpr_log": 1, "cmd_log": 0}, abs=EXACT)
    late = math.log(2) / 2 / SPAN  # it rises between half of the edges and all of them
    last = {"cpr": 0.25, "cmd": 0.749, "cpr_log": late, "cmd_log": 1 - late}
    assert worst == pytest.approx(last, abs=EXACT)


@pytest.mark.parametrize("method", find_methods()[0])
def test_every_method_with_a_ranking_has_the_columns(method: str) -> None:
    """Random ones too, whatever sizes were asked; gates rank edges where the unaided circuit is wanted."""
    own = columns(study().discover(BRIEF.get(method, method), (0.03,), unaided=True).discovery, study())
    assert set(own) == COLUMNS
    assert all(map(math.isfinite, own.values()))
