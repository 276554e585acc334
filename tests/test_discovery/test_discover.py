"""What the bench makes of a method's discovery."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.discovery.discover import discover
from bench.engine.masked_model import MaskedModel
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
