"""Learned ranking: edge scores trained under masks of random sizes, so that one training serves all sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from methods.base import Batch, Discovery, Method, Objective, Problem, Selection, first_examples
from methods.thresholds.best import n_best
from methods.thresholds.cheapest_cut import CUT_ON, cheapest, mean_loss
from methods.training.mask_training import MaskTraining
from methods.training.named_tensors import flat, under
from methods.training.parts import parts_of
from methods.training.precision import widest
from methods.training.soft_top_k import soft_top_k
from methods.training.training_curves import TrainingCurves


@dataclass(frozen=True)
class LearnedRanking(Method):
    """Matryoshka attribution: minimises the loss under a soft mask of k edges, with a new random k each step.

    Arora et al. 2026. All scores start at 0. A mask is a sigmoid of score minus threshold, where the
    threshold is chosen so that the mask sums to k; gradients go through both. Edges that help at any size
    rise, and the ranking serves all sizes.

    Where we differ: the paper's headline setting draws k uniformly, so that on a graph of thousands of edges
    only one step in a hundred has a small circuit; here k is log-uniform, as in one of its ablations
    (`sampling`). It trains edges for 5000 steps; our tuning log shows what other steps and rates do.
    """

    name = "learned_ranking"
    description = "Learned ranking (MAttr): one training of scores under soft masks of any size"
    citation = """@article{arora2026matryoshka,
  title={Matryoshka Attribution: Learning to Attribute Language Model Outputs to Representations and Weights},
  author={Arora, Aryaman and Acharya, Kirill and Hu, Nathan and Zhang, Yanzhe and Goodman, Noah
    and Jurafsky, Dan and Potts, Christopher},
  journal={arXiv:2609.25518},
  year={2026}
}"""
    stochastic = True

    steps: int = 1000
    """Number of training steps."""
    examples: int = 8
    """Maximum number of examples per step; they come from one batch of the bench."""
    rate: float = 0.05
    """Learning rate of the scores."""
    temperature: float = 0.5
    """Softness of the masks: an edge this much above the threshold has a mask of 0.73."""
    sampling: Literal["log", "uniform"] = "log"
    """How each step's number of edges is drawn, from 1 to all: log-uniformly or uniformly."""
    objective: Objective = "kl"
    """What is minimised: KL to the full model, or minus the task's difference metric."""
    selection: Selection = "top"
    """How circuits are cut from the scores: the best edges (top), grown from the logits (greedy), or all
    edges among the best nodes (nodes), each scored by its best outgoing edge."""
    price: float = 0.001
    """Price of an edge, in units of the objective, for the unaided circuit."""

    def __post_init__(self) -> None:
        if min(self.steps, self.examples) < 1:
            raise ValueError("steps and examples must be at least 1")
        for name in ("rate", "temperature", "price"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, not {getattr(self, name):g}")

    def discover(self, problem: Problem) -> Discovery:
        """Trains the scores; then, if requested, cuts the unaided circuit where loss plus price is least."""
        exists, device = problem.graph.exists, problem.device
        learnt = torch.zeros(problem.graph.n_edges, dtype=widest(device), device=device, requires_grad=True)
        random = torch.Generator().manual_seed(problem.seed)
        parts = parts_of(problem.batches, self.examples)
        training = MaskTraining(problem, self.objective, parts, [learnt], random, self.rate, 0.999)
        curves = TrainingCurves()
        if saved := problem.checkpoint.load():
            training.restore(under("training", saved))
            curves.restore(under("curve", saved))
        while training.steps < self.steps:
            k = self._edges_of_step(problem.graph.n_edges, random)
            loss = self._step(training, learnt, exists.to(device), k)
            curves.add(training.steps, loss=loss, edges=k)
            problem.progress(training.steps, self.steps, f"{k:.0f} edges, loss {loss:.3g}")
            problem.checkpoint.save(lambda: flat({"training": training.state(), "curve": curves.state()}))
        scores = torch.zeros(exists.shape, dtype=learnt.dtype)
        scores[exists] = learnt.detach().cpu()
        return Discovery(
            scores=scores,
            selection=self.selection,
            unaided=self._unaided(problem, scores) if problem.unaided else None,
            objective=self.objective,
            trace=curves.series(),
        )

    def _step(self, training: MaskTraining, learnt: Tensor, exists: Tensor, k: float) -> float:
        part = training.part()
        mask = torch.zeros(exists.shape, dtype=learnt.dtype, device=learnt.device)
        mask = mask.masked_scatter(exists, soft_top_k(learnt, k, self.temperature))
        loss = training.loss(part, mask)
        training.descend(loss)
        return loss.item()

    def _edges_of_step(self, n_edges: int, random: torch.Generator) -> float:
        share = float(torch.rand((), generator=random))
        return n_edges**share if self.sampling == "log" else 1 + (n_edges - 1) * share

    def _unaided(self, problem: Problem, scores: Float[Tensor, "receivers senders"]) -> Tensor:
        ranked = torch.where(problem.graph.exists, scores, -torch.inf)
        few: Sequence[Batch] = first_examples(problem.batches, CUT_ON)
        loss = partial(mean_loss, problem, self.objective, batches=few)
        return cheapest(problem, loss, partial(n_best, ranked), self.price)
