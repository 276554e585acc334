"""ACDC on the edges that EAP-IG ranks highest: not the paper's algorithm, but far cheaper."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from methods.acdc import ACDC
from methods.base import Discovery, Problem
from methods.eap_ig import EAPIG
from methods.thresholds.best import n_best


@dataclass(frozen=True)
class ACDCScreened(ACDC):
    """Keeps only the share of edges that EAP-IG (at its default options) scores highest, then runs ACDC.

    Screened-out edges are never tried. A circuit larger than the share is filled up with them, in EAP-IG's
    order.
    """

    name = "acdc_screened"
    description = "ACDC on the share of edges that EAP-IG ranks highest"

    share: float = 0.2
    """Share of all edges that ACDC tries."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, not {self.share:g}")

    def discover(self, problem: Problem) -> Discovery:
        """Searches the highest-scoring edges; all others rank below them."""
        scores = EAPIG().discover(problem).scores
        assert scores is not None
        ranked = torch.where(problem.graph.exists, scores, -torch.inf)
        screen = n_best(ranked, max(1, problem.edges_of_share(self.share)))
        found = self.search(problem, screen)
        assert found.scores is not None
        place = ranked.flatten().argsort(stable=True).argsort().view_as(ranked) / ranked.numel()
        behind = found.scores[screen].min() - 2 + place
        return replace(found, scores=torch.where(screen, found.scores, behind.to(found.scores)))
