"""DiscoGP: gates on weights and edges, trained so that the circuit answers and its complement cannot."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from methods.base import Batch, Discovery, Method, Problem, first_examples
from methods.thresholds.cheapest_cut import CUT_ON, cheapest
from methods.training.course import Course
from methods.training.gumbel_gates import GumbelGates
from methods.training.gumbel_training import GumbelTraining, Masks
from methods.training.parts import parts_of
from methods.training.precision import widest
from methods.training.price import Price

EDGES, WEIGHTS = "edges", "weights"
"""The two groups of gates; the edge mask is the only tensor in its group."""


@dataclass(frozen=True)
class DiscoGP(Method):
    """Straight-through gates trained for  CE(answer) + l_c CE(uniform, complement) + price * share open.

    Yu, Niu et al. 2024. Each step draws one sample of 0/1 gates: first on attention and MLP matrices, then,
    with the weight masks found kept in place, on edges. The circuit should choose the right answer among the
    task's candidates; in the complement, where whatever is open is removed, they should be equally likely. A
    size is a share of the edges; every circuit also keeps `density` of the weights.

    Where we differ from the paper and its code, and why: the price of an open gate rises until as few gates
    are open as requested and holds them there (`Price`), so that one training serves all sizes, each cut to
    exactly its number; theirs is a schedule that ends at no known size. Edges train on the masked weights
    throughout (the code drops the weight masks after the first epoch). The ablation is the problem's; theirs
    is zero. If an output is one number, or the task names no wrong answers, there are no candidates to choose
    among: squared error or KL is used, without a complement.

    If the unaided circuit is requested, it and the scores come from a separate training, of edges alone and
    without the complement, in which an edge has a constant price (option `price`) as long as the loss is
    within `tolerance`; the circuit is cut where the sum of loss and price is smallest.
    """

    name = "discogp"
    description = "DiscoGP: gates on weights and edges, trained so that the circuit answers, the rest cannot"
    citation = """@inproceedings{yu2024functional,
  title={Functional Faithfulness in the Wild: Circuit Discovery with Differentiable Computation Graph
    Pruning},
  author={Yu, Lei and Niu, Jingcheng and Zhu, Zining and Penn, Gerald},
  year={2024},
  note={arXiv:2407.03779}
}"""
    stochastic = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "authors": {
            "labels": "model",
            "biases": True,
            "examples": 32,
            "rate": 0.1,
            "weight_temperature": 0.01,
        }
    }
    """The settings of their 2024 code, except for the price, which adapts; theirs is a schedule in epochs."""

    parts: Literal["both", "edges", "weights"] = "both"
    """What to prune."""
    joint: bool = False
    """Prune weights and edges at once instead of one after the other."""
    labels: Literal["gold", "model"] = "gold"
    """Which answer is right: the task's, or the full model's choice."""
    biases: bool = False
    """Prune biases as well."""
    density: float = 0.05
    """Share of the weights kept; it includes biases if they are pruned."""
    complement: float = 1.0
    """Weight l_c of the complement's loss; 0 saves its forward pass."""
    examples: int = 8
    """Maximum number of examples per step; they come from one batch of the bench."""
    rate: float = 0.02
    """Learning rate of gates."""
    edge_temperature: float = 1.0
    """Temperature of an edge's soft gate, whose slope replaces the hard gate's: the lower, the steeper."""
    weight_temperature: float = 1.0
    """Temperature of a weight's soft gate."""
    hold: int = 50
    """Minimum number of steps at each size."""
    start_price: float = 0.1
    """Initial price of all gates in a group together, for trainings to a size; it adapts from there."""
    settling: int = 500
    """Number of steps in the unaided circuit's training."""
    settling_rate: float = 0.1
    """Learning rate of that training."""
    settling_samples: Literal["soft", "hard"] = "soft"
    """Gates in that training: between 0 and 1 (soft), or 0 or 1 as elsewhere (hard). A sharp attention has no
    slope at either end, so hard samples do not tell which of its edges matter."""
    tolerance: float = 0.1
    """Share of the way from the full model's loss to the empty circuit's beyond which edges have no price."""
    price: float = 0.003
    """Constant price of an edge, in units of the loss per answer, for the unaided circuit only."""

    def __post_init__(self) -> None:
        if min(self.examples, self.hold, self.settling) < 1:
            raise ValueError("examples, hold and settling must be at least 1")
        if not 0 < self.density < 1:
            raise ValueError(f"density must be a share above 0 and below 1, not {self.density:g}")
        if not 0 <= self.complement < math.inf:
            raise ValueError(f"complement must be at least 0 and finite, not {self.complement:g}")
        rates, temperatures = ("rate", "settling_rate"), ("edge_temperature", "weight_temperature")
        for name in (*rates, *temperatures, "start_price", "price", "tolerance"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, not {getattr(self, name):g}")
        for name in ("density", "biases", "weight_temperature"):
            unset = (getattr(DiscoGP, name), self.presets["authors"].get(name))  # a preset sets all parts
            if self.parts == "edges" and getattr(self, name) not in unset:
                raise ValueError(f"{name} applies only to weights: leave out either it or parts=edges")
        if self.joint and self.parts != "both":
            raise ValueError(f"joint prunes both weights and edges: leave parts={self.parts} out")

    def discover(self, problem: Problem) -> Discovery:
        """Runs the requested stages one after the other, then finds the unaided circuit if requested."""
        batches, course = parts_of(problem.batches, self.examples), Course(problem)
        sizes = {size: problem.edges_of_share(size) for size in problem.sizes}
        smaller = {n for n in sizes.values() if 0 < n < problem.graph.n_edges}
        wanted = [group for group in (WEIGHTS, EDGES) if self.parts in ("both", group)]
        wanted = [group for group in wanted if smaller or group == WEIGHTS]
        whole = self.parts == WEIGHTS
        edges = {n: problem.graph.exists & (whole or n > 0) for n in sizes.values()}
        weights: dict[int, dict[str, Tensor]] = {n: {} for n in edges}
        for groups in [wanted] if self.joint else [[group] for group in wanted]:
            if not sizes or not groups:
                continue
            before = next(iter(weights.values()))
            training = self._training(problem, batches, groups, smaller, before)
            course.run(training, "-".join(groups), {EDGES: 1.0, WEIGHTS: self.density if before else 1.0})
            if EDGES in groups:
                edges |= {n: training.kept(n, EDGES)[EDGES] for n in smaller}
            if WEIGHTS in groups:
                met = training.prices[groups[-1]].sizes
                weights = {n: training.kept(n if n in met else met[0], WEIGHTS) for n in weights}
        scores = unaided = None
        if problem.unaided:
            few = first_examples(problem.batches, CUT_ON)
            gates = self._settled(problem, batches, few, course)
            loss = partial(self._answer_loss, problem, few=few)
            unaided = cheapest(problem, loss, lambda n: gates.best(n)[EDGES], self.price)
            scores = gates.logits[EDGES].detach()
        return Discovery(
            scores=scores,
            edges={size: edges[n] for size, n in sizes.items()},
            weights={size: weights[n] for size, n in sizes.items() if weights[n]},
            unaided=unaided,
            objective="answer",
            trace=course.curves.series(),
        )

    def _training(
        self,
        problem: Problem,
        batches: Sequence[Batch],
        groups: Sequence[str],
        sizes: Collection[int],
        weights: Mapping[str, Tensor],
        hard: bool = True,
    ) -> GumbelTraining:
        """A training of some groups' gates under the weight masks found before; without sizes, edges have a
        constant price."""
        device = problem.device
        random = torch.Generator(device).manual_seed(problem.seed)
        gates, prices = {}, {}
        for group in groups:
            if group == EDGES:
                exists, wanted = {EDGES: problem.graph.exists.to(device)}, sizes
                temperature, dtype = self.edge_temperature, widest(device)
            else:
                named = {n: s for n, s in problem.weights.items() if self.biases or ".W_" in n}
                exists = {n: torch.ones(*s, dtype=torch.bool, device=device) for n, s in named.items()}
                wanted = [max(1, round(self.density * sum(each.numel() for each in exists.values())))]
                temperature, dtype = self.weight_temperature, torch.float32
            gates[group] = GumbelGates(exists, random, self.rate, temperature, dtype, hard)
            start = self.start_price if wanted else self.price * problem.graph.n_edges
            prices[group] = Price(start, wanted, self.hold)
        return GumbelTraining(gates, prices, partial(self._loss, problem, weights), batches, random)

    def _settled(
        self, problem: Problem, batches: Sequence[Batch], few: Sequence[Batch], course: Course
    ) -> GumbelGates:
        """Edge gates trained at a constant price, charged while the loss is within `tolerance`, without the
        complement."""
        unaided = replace(self, complement=0.0, rate=self.settling_rate)
        hard = self.settling_samples == "hard"
        training = unaided._training(problem, batches, [EDGES], [], {}, hard)
        exists = problem.graph.exists
        full, empty = (self._answer_loss(problem, edges, few) for edges in (exists, exists & False))
        training.bearable = full + self.tolerance * (empty - full)
        course.run(training, "unaided", {WEIGHTS: 1.0}, self.settling)
        return training.groups[EDGES]

    @torch.no_grad()
    def _answer_loss(
        self, problem: Problem, edges: Bool[Tensor, "receivers senders"], few: Sequence[Batch]
    ) -> float:
        """Mean loss per answer of a circuit of edges, without its complement, on some examples."""
        answer, masks = replace(self, complement=0.0), {EDGES: {EDGES: edges.float()}}
        losses = [answer._loss(problem, {}, part, masks).item() * len(part.examples) for part in few]
        return sum(losses) / sum(len(part.examples) for part in few)

    def _loss(
        self, problem: Problem, weights: Mapping[str, Tensor], part: Batch, masks: Masks
    ) -> Float[Tensor, ""]:
        """Loss of the circuit and of its complement, per answer."""
        edges, kept = masks.get(EDGES, {}).get(EDGES), {**weights, **masks.get(WEIGHTS, {})}
        logits = problem.run(part, edges, kept)
        if part.correct.all():  # no candidates to choose among
            return problem.loss("kl", logits, part) / len(part.examples)
        loss = -_among(logits, part).masked_fill(~self._right(problem, part), -math.inf).logsumexp(1).mean()
        if self.complement:
            removed = {n: ~weight if weight.dtype == torch.bool else 1 - weight for n, weight in kept.items()}
            rest = problem.run(part, None if edges is None else 1 - edges, removed)
            loss = loss - self.complement * _among(rest, part).mean()
        return loss

    def _right(self, problem: Problem, part: Batch) -> Bool[Tensor, "answer candidate"]:
        """Which candidates count as the answer."""
        if self.labels == "gold":
            return part.correct
        chosen = _among(problem.clean(part), part)
        return torch.zeros_like(part.correct).scatter_(1, chosen.argmax(1, keepdim=True), True)


def _among(logits: Float[Tensor, "answer vocab"], part: Batch) -> Float[Tensor, "answer candidate"]:
    """Log probabilities among the candidates, in float32 or wider: half precision has too few bits."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    return logits.gather(1, part.candidates).to(wide).log_softmax(1)
