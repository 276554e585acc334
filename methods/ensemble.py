"""An ensemble: the rankings of several methods combined into one."""

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

    Mondorf et al. 2025, who combine raw scores of EAP's variants; ranks have the same scale for all methods.
    Members run with their default options and their whole cost is charged, but only their scores are used.
    """

    name = "ensemble"
    description = "The rankings of several methods combined: mean, best or worst rank"
    citation = """@inproceedings{mondorf2025circuit,
  title={BlackboxNLP-2025 MIB Shared Task: Exploring Ensemble Strategies for Circuit Localization Methods},
  author={Mondorf, Philipp and Wang, Mingyang and Gerstner, Sebastian and Hakimi, Ahmad Dawar and Liu, Yihong
    and Veloso, Leonor and Zhou, Shijia and Sch{\\"u}tze, Hinrich and Plank, Barbara},
  booktitle={BlackboxNLP Workshop},
  year={2025},
  note={arXiv:2510.06811}
}"""

    methods: str = "eap_ig+gim"
    """Names of methods that have scores, joined by a plus; each runs with its default options."""
    combine: Literal["mean", "best", "worst"] = "mean"
    """How an edge's ranks are combined; ties in best or worst are broken by the mean."""
    selection: Selection = "greedy"
    """How circuits are cut from the scores: the best edges (top), grown from the logits (greedy), or all
    edges among the best nodes (nodes), each scored by its best outgoing edge."""

    def __post_init__(self) -> None:
        named = self.methods.split("+")
        if len(named) < 2 or len(set(named)) < len(named):
            raise ValueError(f"methods takes at least two different ones, joined by +, not '{self.methods}'")
        if self.name in named:
            raise ValueError("an ensemble cannot be a member of one: leave ensemble out of methods")
        self.uses()  # rejects unknown methods

    def skip(self, problem: Problem) -> str | None:
        """Declines what any of its members declines."""
        for part in self.uses():
            if reason := part.skip(problem):
                return f"{part.name} declines: {reason}"
        return None

    def discover(self, problem: Problem) -> Discovery:
        """Runs one member after the other; a killed run resumes at the member it had reached."""
        exists = problem.graph.exists
        ranks: dict[str, Tensor] = {}
        saved = dict(problem.checkpoint.load())
        for part in self.uses():
            if (found := saved.get(f"ranks.{part.name}")) is None:
                state = under(part.name, saved)
                scores = part.discover(within(problem, part.name, state, {"ranks": ranks})).scores
                if scores is None:
                    raise ValueError(f"{part.name} returns no scores here: leave it out of the ensemble")
                found = ranks_of(scores.cpu().double(), exists)
            ranks[part.name] = found
        all_ranks = torch.stack(list(ranks.values()))
        mean = all_ranks.mean(0)
        chosen = {"mean": mean, "best": all_ranks.amin(0), "worst": all_ranks.amax(0)}[self.combine]
        # the mean of ranks is at most the number of edges, so this term only breaks ties
        scores = -(chosen + mean / (4 * (1 + problem.graph.n_edges)))
        return Discovery(scores=scores, selection=self.selection, objective="that of each part")

    def uses(self) -> list[Method]:
        """The members, at their default options."""
        return [default_method(name) for name in self.methods.split("+")]


def ranks_of(
    scores: Float[Tensor, "receivers senders"], exists: Tensor
) -> Float[Tensor, "receivers senders"]:
    """The rank of every edge, 1 for the highest score; tied edges share the mean of their ranks.

    Args:
        scores: a method's scores.
        exists: where edges exist; elsewhere the rank is 0.
    """
    _, place, ties = torch.unique(-scores[exists], return_inverse=True, return_counts=True)
    last = ties.cumsum(0)
    ranks = torch.zeros(exists.shape, dtype=torch.float64)
    ranks[exists] = (last - (ties - 1) / 2)[place].double()
    return ranks
