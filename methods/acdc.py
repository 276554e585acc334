"""ACDC: tests edges one at a time, from the logits back, and removes those that hardly raise the loss."""

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
    """Removes edges one at a time, wherever  loss(without) - loss(current) < tau.

    Receivers are visited in reverse order of computation (the logits, then layer by layer from the last: MLP,
    values, keys, queries, high heads before low ones), and each one's senders from the latest. A removed edge
    carries the ablation's activation from then on; a kept edge carries its sender's value in the current,
    partly ablated run. If none of a node's outgoing edges is kept, its incoming edges are removed untested.
    The loss is KL to the full model by default (Conmy et al. 2023), in nats, averaged over examples.

    The result is that of the sequential algorithm: whatever a removal cannot reach is not recomputed, and a
    chain of removals is evaluated at once (`Pruning`), but every decision uses the loss it would see one by
    one. A decision may differ if an effect is within rounding error of tau, about 1e-7 in float32; bfloat16
    is too coarse for taus below about 0.01. For each requested size a tau is searched (`ThresholdSearch`);
    the circuit is the largest one found of at most that size, filled up by the bench with the edges that
    survive longest as tau rises.
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
    """Compare the absolute change in loss, so that edges that hurt are kept too."""
    order: Literal["latest", "earliest"] = "latest"
    """Which of a receiver's senders are tried first."""
    examples: int = 64
    """Number of discovery prompts to use, from the first; 0 for all. Run time is proportional to it."""
    attempts: int = 6
    """Maximum number of runs per size; runs already made for other sizes do not count."""
    tolerance: float = 0.2
    """A circuit that is smaller by at most this share counts as meeting a size; the bench fills it up."""
    chain: int = 8
    """Maximum number of removals evaluated at once. It affects only the run time."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold < math.inf:
            raise ValueError(f"threshold must be above 0 and finite, not {self.threshold:g}")
        if self.attempts < 1 or self.chain < 1 or self.examples < 0:
            raise ValueError("attempts and chain must be at least 1, examples at least 0")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance must be a share from 0 to below 1, not {self.tolerance:g}")

    def turns(self, problem: Problem) -> Turns:
        """The order in which edges are tried."""
        return Turns.backwards(problem.graph, self.order == "latest")

    def discover(self, problem: Problem) -> Discovery:
        """Searches all edges."""
        return self.search(problem, problem.graph.exists.clone())

    def search(self, problem: Problem, candidates: Bool[Tensor, "receivers senders"]) -> Discovery:
        """Runs once at the unaided circuit's tau, then as often as the requested sizes need.

        Args:
            problem: the problem to solve.
            candidates: the edges to start from.
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
