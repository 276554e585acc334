"""Every edge removed once, alone: what attribution estimates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from methods.base import Discovery, Method, Objective, Problem, Selection, first_examples
from methods.thresholds.nodes import by_sender


@dataclass(frozen=True)
class Exact(Method):
    """score(s -> r) = loss without that edge - loss of the full model, the mean over examples.

    Activation patching of edges (path patching of length one, Goldowsky-Dill et al. 2023), by as many
    interventions as there are edges; what a removal cannot reach is not computed. It is no upper bound of
    what a circuit can be: it is blind to what happens when many edges go together, as all scores of single
    edges are.
    """

    name = "exact"
    description = "Every edge removed alone: the effect that EAP and its kin estimate"
    citation = """@article{goldowskydill2023localizing,
  title={Localizing Model Behavior with Path Patching},
  author={Goldowsky-Dill, Nicholas and MacLeod, Chris and Sato, Lucas and Arora, Aryaman},
  journal={arXiv:2304.05969},
  year={2023}
}"""

    objective: Objective = "kl"
    """The loss: KL to the full model, or minus the task's difference metric."""
    absolute: bool = True
    """Rank by absolute value; otherwise by the signed score, edges that hurt the task last."""
    selection: Selection = "greedy"
    """How circuits are cut from the scores: grown from the logits (greedy), the best edges (top), or all
    edges among the best nodes, of which each has the sum of the signed scores of its outgoing edges."""
    examples: int = 64
    """Discovery examples used, the first ones; 0 for all. The time is proportional to them."""
    threshold: float = 0.01
    """Unaided, edges are kept whose score is above this share of the largest."""

    def __post_init__(self) -> None:
        if self.examples < 0:
            raise ValueError(f"examples must be at least 0, not {self.examples}")

    def discover(self, problem: Problem) -> Discovery:
        """Receiver by receiver, since all of its edges reach the same part of the model."""
        exists = problem.graph.exists
        batches = first_examples(problem.batches, self.examples or problem.n_examples)
        scores = torch.zeros(exists.shape, dtype=torch.float64)
        first, rows = 0, exists.any(1).nonzero()[:, 0].tolist()
        if held := problem.checkpoint.load():
            scores, first = held["scores"], int(held["rows"])
        for done, row in enumerate(rows[first:], first + 1):
            columns = exists[row].nonzero()[:, 0].tolist()
            for batch in batches:
                full = problem.loss(self.objective, problem.clean(batch), batch)
                without = problem.losses_without_each(self.objective, batch, exists, row, columns)
                scores[row, columns] += (without - full).cpu()
            problem.checkpoint.save(partial(dict, scores=scores, rows=torch.tensor(done)))
            problem.progress(done, len(rows))
        scores /= sum(map(len, batches))
        signed = by_sender(scores, exists) if self.selection == "nodes" else scores
        scores = signed.abs() if self.absolute else signed
        return Discovery(
            scores=scores,
            signed=signed,
            selection=self.selection,
            unaided=exists & (scores > self.threshold * scores.max()),
            objective=self.objective,
        )
