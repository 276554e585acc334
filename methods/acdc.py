"""ACDC: every edge in turn, from the logits back, removed where the loss hardly grows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool
from torch import Tensor

from methods.base import Discovery, Method, Objective, Problem
from methods.thresholds.pruning import Pruning, Turns
from methods.thresholds.threshold_search import ThresholdSearch


@dataclass(frozen=True)
class ACDC(Method):
    """Removes an edge where  loss(without) - loss(current) < tau,  one after the other.

    Receivers come in reverse order of computation (the logits, then layer by layer from the last: MLP,
    values, keys, queries, high heads before low ones), the senders of each from the latest. A removed edge
    carries the ablation's activation from then on; what is kept carries its value in the run as it has
    become. A node from which nothing is kept loses its incoming edges untested. The loss is KL to the full
    model by default (Conmy et al. 2023), in nats, the mean over examples.

    The result is that of the sequential algorithm: what a removal cannot reach is not computed, and a chain
    of removals is at once (`Pruning`), but every decision sees the loss that it would see one by one. A
    decision may differ where an effect is within rounding of tau: some 1e-7 in float32; bfloat16 is too
    coarse for taus below about 0.01. For each size wanted a tau is searched for (`ThresholdSearch`); the
    circuit is the largest found of at most that size, filled up by the bench with the edges that stay longest
    as tau rises.
    """

    name = "acdc"
    description = "ACDC: edges tried one by one from the logits back, kept where removal costs tau or more"
    citation = """@inproceedings{conmy2023towards,
  title={Towards Automated Circuit Discovery for Mechanistic Interpretability},
  author={Conmy, Arthur and Mavor-Parker, Augustine and Lynch, Aengus and Heimersheim, Stefan and
    Garriga-Alonso, Adri{\\`a}},
  booktitle={Advances in Neural Information Processing Systems},
  year={2023},
  note={arXiv:2304.14997}
}"""

    threshold: float = 0.001
    """Tau of the unaided circuit."""
    objective: Objective = "kl"
    """The loss: KL to the full model, or minus the task's difference metric."""
    absolute: bool = False
    """Compare the change of the loss by its absolute value, so that edges which hurt are kept too."""
    order: Literal["latest", "earliest"] = "latest"
    """Which senders of a receiver come first."""
    examples: int = 64
    """Discovery examples used, the first ones; 0 for all. The time is proportional to them."""
    attempts: int = 6
    """Runs for one size, at most; what runs for other sizes have shown costs none of these."""
    tolerance: float = 0.2
    """A size is met by a circuit smaller by at most this share; the bench fills it up from the scores."""
    chain: int = 8
    """Removals evaluated at once, at most. It changes the time alone."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold < math.inf:
            raise ValueError(f"threshold must be above 0 and finite, not {self.threshold:g}")
        if self.attempts < 1 or self.chain < 1 or self.examples < 0:
            raise ValueError("attempts and chain must be at least 1, examples at least 0")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance is a share from 0 to below 1, not {self.tolerance:g}")

    def turns(self, problem: Problem) -> Turns:
        """The order in which edges are tried."""
        return Turns.backwards(problem.graph, self.order == "latest")

    def discover(self, problem: Problem) -> Discovery:
        """The search among all edges."""
        return self.search(problem, problem.graph.exists.clone())

    def search(self, problem: Problem, candidates: Bool[Tensor, "receivers senders"]) -> Discovery:
        """A run at the default tau, then as many as the sizes take.

        Args:
            problem: what is asked for.
            candidates: the edges to begin with.
        """
        pruning = Pruning(
            problem, candidates, self.objective, self.absolute, self.turns(problem),
            self.chain, self.examples or problem.n_examples,
        )  # fmt: skip
        search = ThresholdSearch(pruning, self.threshold, self.attempts, self.tolerance)
        sizes = {size: problem.edges_of_share(size) for size in problem.sizes}
        taus = search.find(list(sizes.values()))
        found = {size: search.best(n) for size, n in sizes.items()}
        return Discovery(
            scores=search.scores(),
            edges={size: search.circuit(tau) for size, tau in found.items()},
            unaided=search.circuit(self.threshold),
            objective=self.objective,
            trace={
                "threshold": taus,
                "edges_kept": [search.counts[tau] for tau in taus],
                "size": list(found),
                "size_threshold": list(found.values()),
            },
        )
