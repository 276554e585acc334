"""ACDC in a random order: another circuit each time, of those that do as well."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from methods.acdc import ACDC
from methods.base import Problem
from methods.thresholds.pruning import Turns


@dataclass(frozen=True)
class ACDCShuffled(ACDC):
    """Tries receivers, and the senders of each, in an order that the seed draws.

    What ACDC removes first is not missed later, so the order decides which of several sufficient circuits it
    ends with: seeds of this method are a sample of them, of no known distribution. As a method it is worse
    than ACDC where the order from the logits back helps.
    """

    name = "acdc_shuffled"
    description = "ACDC in a random order: a sampler of circuits that do as well, for stability"
    stochastic = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order != ACDC.order:
            raise ValueError("acdc_shuffled draws its order: leave order out")

    def turns(self, problem: Problem) -> Turns:
        """Drawn by the seed."""
        return Turns.shuffled(problem.graph, torch.Generator().manual_seed(problem.seed))
