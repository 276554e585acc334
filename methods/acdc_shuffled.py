"""ACDC in a random order: each run finds another of the circuits that do equally well."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from methods.acdc import ACDC
from methods.base import Problem
from methods.thresholds.pruning import Turns


@dataclass(frozen=True)
class ACDCShuffled(ACDC):
    """Tries receivers, and the senders of each, in a random order given by the seed.

    Later decisions adapt to the edges already removed, so the order decides which of several sufficient
    circuits is left: the circuits of different seeds are a sample of them, from no known distribution. As a
    discovery method it is worse than ACDC wherever going back from the logits helps.
    """

    name = "acdc_shuffled"
    description = "ACDC in a random order: samples circuits that do equally well, to measure stability"
    stochastic = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order != ACDC.order:
            raise ValueError("acdc_shuffled draws its order at random: leave order out")

    def turns(self, problem: Problem) -> Turns:
        """A random order drawn from the seed."""
        return Turns.shuffled(problem.graph, torch.Generator().manual_seed(problem.seed))
