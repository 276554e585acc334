"""DiscoGP: gates on weights and on edges, trained for the answer while the complement is kept from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from methods.base import Batch, Discovery, Method, Problem
from methods.course import Course
from methods.gumbel_gates import GumbelGates
from methods.gumbel_training import GumbelTraining, Masks
from methods.parts import parts_of
from methods.price import Price

EDGES, WEIGHTS = "edges", "weights"
"""The two groups of gates; the edge mask is the one tensor of its group."""


@dataclass(frozen=True)
class DiscoGP(Method):
    """Straight-through gates trained for  CE(answer) + l_c CE(complement, uniform) + price * share open.

    Yu, Niu et al. 2024. One sample of zeros and ones per step masks attention and MLP matrices, then, with
    the weights found still masked, the edges. The answer is judged among the task's candidates; of the
    complement, where what is open is removed, they should be equally likely. A size is a share of the edges;
    every circuit has `density` of the weights as well.

    Where we differ from the paper and its code, and why: the price of an open gate rises until as few are
    open as wanted and holds them there (`Price`), so that one training serves all sizes, each cut to exactly
    its number, instead of a schedule whose end nobody knows; edges train on the masked weights throughout
    (the code forgets them after the first epoch); the ablation is the problem's, theirs is zero. Where an
    output is one number there is nothing to choose among: squared error, and no complement.

    The unaided circuit is of edges alone, trained at a constant price: those more often open than shut.
    """

    name = "discogp"
    description = "DiscoGP: gates on weights and edges, trained for the answer and against the complement's"
    citation = """@inproceedings{yu2024functional,
  title={Functional Faithfulness in the Wild: Circuit Discovery with Differentiable Computation Graph
    Pruning},
  author={Yu, Lei and Niu, Jingcheng and Zhu, Zining and Penn, Gerald},
  year={2024},
  note={arXiv:2407.03779}
}"""

    parts: Literal["both", "edges", "weights"] = "both"
    """What is pruned."""
    joint: bool = False
    """Weights and edges at once instead of one after the other."""
    labels: Literal["gold", "model"] = "gold"
    """What the answer is: the task's, or the full model's choice."""
    biases: bool = False
    """Prune biases as well."""
    density: float = 0.05
    """Share of the weights kept."""
    complement: float = 1.0
    """Weight l_c of the complement's loss; 0 spares its forward pass."""
    examples: int = 8
    """Examples of a step, at most; they come from one batch of the bench's."""
    rate: float = 0.1
    edge_temperature: float = 1.0
    weight_temperature: float = 1.0
    hold: int = 50
    """Steps at a size once it is met."""
    start_price: float = 0.1
    """Of all gates together, at the beginning."""
    settling: int = 500
    """Steps of the unaided circuit's training."""
    price: float = 0.001
    """Of an edge, in nats, for the unaided circuit."""

    def __post_init__(self) -> None:
        if min(self.examples, self.hold, self.settling) < 1:
            raise ValueError("examples, hold and settling must be at least 1")
        if not 0 < self.density < 1:
            raise ValueError(f"density is a share above 0 and below 1, not {self.density:g}")
        if not 0 <= self.complement < math.inf:
            raise ValueError(f"complement must be at least 0 and finite, not {self.complement:g}")
        for name in ("rate", "edge_temperature", "weight_temperature", "start_price", "price"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, not {getattr(self, name):g}")
        if self.joint and self.parts != "both":
            raise ValueError(f"joint prunes both weights and edges: leave parts={self.parts} out")

    def discover(self, problem: Problem) -> Discovery:
        """The stages wanted, one after the other, then the unaided circuit."""
        parts, course = parts_of(problem.batches, self.examples), Course(problem, (EDGES, WEIGHTS))
        wanted = [WEIGHTS, EDGES] if self.parts == "both" else [self.parts]
        stages = [wanted] if self.joint else [[group] for group in wanted]
        sizes = {size: problem.edges_of_share(size) for size in problem.sizes}
        edges, weights = dict.fromkeys(sizes, problem.graph.exists), dict[str, Tensor]()
        for groups in stages if sizes else []:
            training = self._training(problem, parts, groups, sizes.values(), weights)
            course.run(training, "-".join(groups))
            if EDGES in groups:
                edges = {size: training.kept(EDGES, n)[EDGES] for size, n in sizes.items()}
            if WEIGHTS in groups:
                weights = training.kept(WEIGHTS, training.prices[WEIGHTS].sizes[0])
        settled = self._training(problem, parts, [EDGES], [], {})
        course.run(settled, "unaided", self.settling)
        gates = settled.groups[EDGES]
        return Discovery(
            scores=gates.logits[EDGES].detach(),
            edges=edges,
            weights=dict.fromkeys(sizes, weights) if weights else {},
            unaided=gates.best(gates.n_open())[EDGES],
            objective="answer",
            trace=course.curves.series(),
        )

    def _training(
        self,
        problem: Problem,
        parts: Sequence[Batch],
        groups: Sequence[str],
        sizes: Iterable[int],
        weights: Mapping[str, Tensor],
    ) -> GumbelTraining:
        """Of gates on some groups, under the weights found before; at a constant price without sizes."""
        device = problem.batches[0].clean.device
        random = torch.Generator(device).manual_seed(problem.seed)
        gates, prices, n_edges = {}, {}, problem.graph.n_edges
        for group in groups:
            if group == EDGES:
                wanted, temperature = [n for n in sizes if 0 < n < n_edges], self.edge_temperature
                exists = {EDGES: problem.graph.exists.to(device)}
            else:
                named = {n: s for n, s in problem.weights.items() if self.biases or ".W_" in n}
                exists = {n: torch.ones(*s, dtype=torch.bool, device=device) for n, s in named.items()}
                wanted = [round(self.density * sum(each.numel() for each in exists.values()))]
                temperature = self.weight_temperature
            gates[group] = GumbelGates(exists, random, self.rate, temperature)
            prices[group] = Price(self.start_price if sizes else self.price * n_edges, wanted, self.hold)
        return GumbelTraining(gates, prices, partial(self._loss, problem, weights), parts, random)

    def _loss(
        self, problem: Problem, weights: Mapping[str, Tensor], part: Batch, masks: Masks
    ) -> Float[Tensor, ""]:
        """Of the circuit, and of its complement; per answer."""
        edges, kept = masks.get(EDGES, {}).get(EDGES), {**weights, **masks.get(WEIGHTS, {})}
        logits = problem.run(part, edges, kept)
        if part.candidates.shape[1] == 1:
            return problem.loss("kl", logits, part) / len(part.examples)
        loss = -_among(logits, part).masked_fill(~self._right(problem, part), -math.inf).logsumexp(1).mean()
        if self.complement:
            removed = {name: 1 - weight.float() for name, weight in kept.items()}
            rest = problem.run(part, None if edges is None else 1 - edges, removed)
            loss = loss - self.complement * _among(rest, part).mean()
        return loss

    def _right(self, problem: Problem, part: Batch) -> Bool[Tensor, "answer candidate"]:
        """Which candidates are the answer."""
        if self.labels == "gold":
            return part.correct
        chosen = _among(problem.clean(part), part)
        return chosen == chosen.amax(1, keepdim=True)


def _among(logits: Float[Tensor, "answer vocab"], part: Batch) -> Float[Tensor, "answer candidate"]:
    """Log probabilities among the candidates."""
    return logits.gather(1, part.candidates).log_softmax(1)
