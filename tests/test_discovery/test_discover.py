"""What the bench makes of a method's discovery."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.discovery.discover import discover
from bench.engine.masked_model import MaskedModel
from bench.scoring.measures import DIVERGENCE, LOGIT_DIFF
from methods.acdc import ACDC
from methods.base import Discovery, Method, Problem
from problems import problem


@dataclass(frozen=True)
class Trained(Method):
    """Hands out its parameters as they are."""

    name = "trained"

    def discover(self, problem: Problem) -> Discovery:
        gates = torch.zeros(problem.graph.exists.shape, requires_grad=True)
        return Discovery(scores=2 * gates)


def test_what_is_found_holds_on_to_no_graph(tiny: MaskedModel) -> None:
    found, _ = discover(Trained(), problem(tiny))
    assert found.scores is not None
    assert not found.scores.requires_grad


def test_without_wrong_answers_the_record_says_what_was_measured(tiny: MaskedModel) -> None:
    method = ACDC(objective="difference", threshold=1e9)
    told = {m.name: discover(method, problem(tiny, measure=m.name))[0] for m in (LOGIT_DIFF, DIVERGENCE)}
    assert [found.objective for found in told.values()] == ["difference", "kl"]
