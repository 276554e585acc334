"""An ensemble: the rankings of several methods made one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from methods.base import Discovery, Method, Problem, Selection, default_method
from methods.training.named_tensors import under
from methods.training.within import within


@dataclass(frozen=True)
class Ensemble(Method):
    """Ranks edges by the mean, the best or the worst of the ranks that several methods give them.

    Mondorf et al. 2025, who combine scores of EAP's variants as they are; ranks are of one scale whatever the
    methods. It is charged with all that its parts take, which have their default options, and their scores
    alone are used.
    """

    name = "ensemble"
    description = "The rankings of several methods made one: mean, best or worst rank"
    citation = """@inproceedings{mondorf2025circuit,
  title={BlackboxNLP-2025 MIB Shared Task: Exploring Ensemble Strategies for Circuit Localization Methods},
  author={Mondorf, Philipp and Wang, Mingyang and Gerstner, Sebastian and Hakimi, Ahmad Dawar and Liu, Yihong
    and Veloso, Leonor and Zhou, Shijia and Sch{\\"u}tze, Hinrich and Plank, Barbara},
  booktitle={BlackboxNLP Workshop},
  year={2025},
  note={arXiv:2510.06811}
}"""

    methods: str = "eap_ig+gim"
    """Names of methods that have scores, joined by a plus; each takes its default options."""
    combine: Literal["mean", "best", "worst"] = "mean"
    """What becomes of the ranks of an edge; where best or worst tie, the mean decides."""
    selection: Selection = "greedy"
    """How circuits are cut from the scores: the best edges, grown from the logits, or all edges among the
    best nodes, of which each is as good as the best edge that leaves it."""

    def __post_init__(self) -> None:
        named = self.methods.split("+")
        if len(named) < 2 or len(set(named)) < len(named):
            raise ValueError(f"methods are at least two different ones, joined by +, not '{self.methods}'")
        if self.name in named:
            raise ValueError("an ensemble is no part of an ensemble")
        self.uses()  # refuses what is no method

    def skip(self, problem: Problem) -> str | None:
        """Declines what one of its parts declines."""
        for part in self.uses():
            if reason := part.skip(problem):
                return f"{part.name} declines: {reason}"
        return None

    def discover(self, problem: Problem) -> Discovery:
        """One part after the other; a killed run goes on with the one that it was at."""
        exists = problem.graph.exists
        ranks: dict[str, Tensor] = {}
        saved = dict(problem.checkpoint.load())
        for part in self.uses():
            if (found := saved.get(f"ranks.{part.name}")) is None:
                state = under(part.name, saved)
                scores = part.discover(within(problem, part.name, state, {"ranks": ranks})).scores
                if scores is None:
                    raise ValueError(f"{part.name} has no scores here and is no part of an ensemble")
                found = ranks_of(scores.cpu().double(), exists)
            ranks[part.name] = found
        all_ranks = torch.stack(list(ranks.values()))
        mean = all_ranks.mean(0)
        chosen = {"mean": mean, "best": all_ranks.amin(0), "worst": all_ranks.amax(0)}[self.combine]
        # a mean of ranks is below their number, so that it decides between ties alone
        scores = -(chosen + mean / (4 * (1 + problem.graph.n_edges)))
        return Discovery(scores=scores, selection=self.selection, objective="that of each part")

    def uses(self) -> list[Method]:
        """At their default options."""
        return [default_method(name) for name in self.methods.split("+")]


def ranks_of(
    scores: Float[Tensor, "receivers senders"], exists: Tensor
) -> Float[Tensor, "receivers senders"]:
    """1 for the edge of the highest score; edges that tie share the mean of their ranks.

    Args:
        scores: of a method.
        exists: where edges are; elsewhere the rank is 0.
    """
    _, place, ties = torch.unique(-scores[exists], return_inverse=True, return_counts=True)
    last = ties.cumsum(0)
    ranks = torch.zeros(exists.shape, dtype=torch.float64)
    ranks[exists] = (last - (ties - 1) / 2)[place].double()
    return ranks
