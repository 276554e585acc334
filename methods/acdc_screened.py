"""ACDC on the edges that EAP-IG ranks highest: not the algorithm of its paper, but far cheaper."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from methods.acdc import ACDC
from methods.base import Problem
from methods.eap_ig import EAPIG
from methods.thresholds.best import n_best


@dataclass(frozen=True)
class ACDCScreened(ACDC):
    """Removes all edges but the share that EAP-IG (its default options) scores highest, then runs ACDC.

    What the screen drops never comes back, so no size above the share can be met.
    """

    name = "acdc_screened"
    description = "ACDC on the share of edges that EAP-IG ranks highest"

    share: float = 0.2
    """Of all edges, those that ACDC tries."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, not {self.share:g}")

    def candidates(self, problem: Problem) -> Bool[Tensor, "receivers senders"]:
        """The edges of the highest scores."""
        scores = EAPIG().discover(problem).scores
        assert scores is not None
        ranked = torch.where(problem.graph.exists, scores, -torch.inf)
        return n_best(ranked, max(1, problem.edges_of_share(self.share)))
