"""Every edge removed once, on its own: the effect that attribution estimates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from methods.base import Batch, Objective, Problem, Selection, first_examples
from methods.selection.effects import OfEffects


@dataclass(frozen=True)
class Exact(OfEffects):
    """score(s -> r) = loss without that edge - loss of the full model, averaged over examples.

    Activation patching of edges (path patching of length one, Goldowsky-Dill et al. 2023), with as many
    interventions as there are edges; whatever a removal cannot reach is not recomputed. This is not an upper
    bound on how good a circuit can be: like all scores of single edges, it is blind to what happens when many
    edges are removed together.
    """

    name = "exact"
    description = "Every edge removed alone: the effect that EAP and its variants estimate"
    citation = """@article{goldowskydill2023localizing,
  title={Localizing Model Behavior with Path Patching},
  author={Goldowsky-Dill, Nicholas and MacLeod, Chris and Sato, Lucas and Arora, Aryaman},
  journal={arXiv:2304.05969},
  year={2023}
}"""

    objective: Objective = "kl"
    """The loss: KL to the full model, or minus the task's difference metric."""
    selection: Selection = "greedy"
    """How circuits are cut from the scores: grown from the logits (greedy), the best edges (top), or all
    edges among the best nodes (nodes), each scored by the sum of its outgoing edges' signed scores."""
    examples: int = 64
    """Number of discovery prompts to use, from the first; 0 for all. Run time is proportional to it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.examples < 0:
            raise ValueError(f"examples must be at least 0, not {self.examples}")

    def loss_used(self) -> str:
        """The `objective` option."""
        return self.objective

    def examples_used(self, problem: Problem) -> Sequence[Batch]:
        """The first `examples` of them."""
        return first_examples(problem.batches, self.examples or problem.n_examples)

    def effects(self, problem: Problem, parts: Sequence[Batch]) -> Iterator[Tensor]:
        """Works receiver by receiver, since all of a receiver's edges reach the same part of the model."""
        exists = problem.graph.exists
        rows = exists.any(1).nonzero()[:, 0].tolist()
        ended, effect, first = torch.zeros(0, *exists.shape).double(), torch.zeros(exists.shape).double(), 0
        lengths = torch.tensor([len(part) for part in parts])
        held = problem.checkpoint.load()
        if held and torch.equal(held["lengths"], lengths):  # otherwise batches were split differently
            ended, effect, first = held["ended"], held["effect"], int(held["rows"])
        yield from ended
        for part in parts[len(ended) :]:
            full = problem.loss(self.objective, problem.clean(part), part)
            for done, row in enumerate(rows[first:], first + 1):
                columns = exists[row].nonzero()[:, 0].tolist()
                without = problem.losses_without_each(self.objective, part, exists, row, columns)
                effect[row, columns] = (without - full).cpu().double()
                state = {"ended": ended, "effect": effect, "rows": torch.tensor(done), "lengths": lengths}
                problem.checkpoint.save(partial(dict, state))
                problem.progress(len(ended) * len(rows) + done, len(parts) * len(rows))
            yield effect
            ended, effect, first = torch.cat([ended, effect[None]]), torch.zeros_like(effect), 0
