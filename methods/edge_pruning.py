"""Edge Pruning: a gate on every edge, trained by gradient to be few and stay faithful."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Batch, Discovery, Method, Objective, Problem, default_method, first_examples
from methods.thresholds.cheapest_cut import CUT_ON, cheapest, mean_loss
from methods.thresholds.none_worse import none_worse
from methods.training.descent import Descent, Evenly
from methods.training.gate_training import GateTraining
from methods.training.named_tensors import flat, under
from methods.training.parts import parts_of
from methods.training.precision import widest
from methods.training.training_curves import TrainingCurves
from methods.training.warm_start import warm_start


@dataclass(frozen=True)
class EdgePruning(Method):
    """Hard-concrete gates trained for  KL(full || circuit) + l1 gap + l2 gap^2,  l1 and l2 by ascent.

    Bhaskar et al. 2024. A removed edge carries the ablation's activation. One training serves all sizes: its
    target falls from all edges to the smallest size (`Descent`) and rests at every size on the way, where the
    circuit is cut: exactly as many edges as wanted, those most likely to be open. Of a large circuit the
    edges that matter are soon settled and others stay by chance, which can do harm: one of a higher loss than
    a smaller one gives way to that one, grown (`none_worse`).

    Where we differ from the paper and its code, and why: the target falls, and the gap is measured, in
    log edges (a share of 0.01 and one of 0.02 are far apart, their difference is small); gates start at 2
    and learn at 0.1 instead of 10 and 0.8, which drives gates of a small model into saturation within a few
    steps. The code lets weight decay act on gates, counts gates of positions that are no edges when it cuts,
    ignores the choice of a training split, and on programs of numerical output takes a softmax over
    positions, blind to a shift: here there is no decay, no such gate, the bench decides on splits, and
    numbers are compared by squared error. Adam's memory is short (see `memory`), and gates of whole senders
    are an option.

    Where the unaided circuit is wanted, it and the scores come of a second training, in which every open edge
    costs `price` as long as the loss stays within `tolerance` (pressure on a circuit that is broken already
    takes the rest of it); of its ranking it is the number n of edges for which  loss + price n  is least.
    """

    name = "edge_pruning"
    description = "Edge Pruning: gates on edges, trained by gradient while the share of open ones falls"
    citation = """@inproceedings{bhaskar2024finding,
  title={Finding Transformer Circuits with Edge Pruning},
  author={Bhaskar, Adithya and Wettig, Alexander and Friedman, Dan and Chen, Danqi},
  booktitle={Advances in Neural Information Processing Systems},
  year={2024},
  note={arXiv:2406.16778}
}"""
    stochastic = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"evenly": "share", "afresh": True, "halving": 1250, "hold": 500, "examples": 32,
                  "rate": 0.8, "multiplier_rate": 0.8, "start": 10.0, "memory": 0.999},
    }  # fmt: skip
    """As the authors' scripts for GPT-2 have it, but for gates of senders (`node_gates`): the share falls in
    2500 steps, and rests for 500."""

    halving: int = 200
    """Steps in which the target falls to a half."""
    hold: int = 100
    """Steps at a size, at least: it goes on until the size is reached."""
    examples: int = 8
    """Examples of a step, at most; they come from one batch of the bench's."""
    rate: float = 0.1
    """Learning rate of gates."""
    multiplier_rate: float = 0.1
    """Learning rate of the multipliers."""
    evenly: Evenly = "log"
    """In what the target falls evenly, and the gap is measured: the logarithm of the number of edges, or
    their share."""
    afresh: bool = False
    """Train from all edges for every size, instead of through one size to the next."""
    start: float = 2.0
    """Log alpha of every gate at the start: how far it is from closing."""
    memory: float = 0.95
    """Adam's decay of squared gradients, of gates and multipliers. The usual 0.999 sets the length of a step
    by gradients of a thousand steps, and three sizes, ago: multipliers overshoot, small circuits suffer."""
    node_gates: bool = False
    """Another gate per sender, which closes all of its edges at once."""
    objective: Objective = "kl"
    """What is minimised: KL to the full model, or minus the task's difference metric."""
    price: float = 0.001
    """Of an edge, in units of the objective, for the unaided circuit."""
    tolerance: float = 0.1
    """Of the way from the full model's loss to the empty circuit's: beyond it there is no pressure."""
    settling: int = 500
    """Steps of its training."""
    warm_start: str = ""
    """A method with scores whose ranking says where gates begin, the better the more open, and which edges
    are trained at all; none by default. Trained ones have scores only where an unaided circuit is wanted."""
    warm_share: float = 0.2
    """Of all edges, those that are trained after a warm start; as many as the largest size, at least."""

    def __post_init__(self) -> None:
        if min(self.halving, self.hold, self.examples, self.settling) < 1:
            raise ValueError("halving, hold, examples and settling must be at least 1")
        if not math.isfinite(self.start):
            raise ValueError(f"start must be finite, not {self.start:g}")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory is from 0 to below 1, not {self.memory:g}")
        if not 0 < self.warm_share <= 1:
            raise ValueError(f"warm_share must be above 0 and at most 1, not {self.warm_share:g}")
        if self.warm_share != EdgePruning.warm_share and not self.warm_start:
            raise ValueError("warm_share is of a warm start: name its method with warm_start")
        if self.warm_start == self.name:
            raise ValueError("warm_start is another method than edge_pruning itself")
        self.uses()  # refuses what is no method
        for name in ("rate", "multiplier_rate", "price", "tolerance"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, not {getattr(self, name):g}")

    def uses(self) -> list[Method]:
        """The method of a warm start."""
        return [default_method(self.warm_start)] if self.warm_start else []

    def skip(self, problem: Problem) -> str | None:
        """Declines what the method of a warm start declines."""
        reasons = ((method.name, method.skip(problem)) for method in self.uses())
        return next((f"{name} declines: {reason}" for name, reason in reasons if reason), None)

    def discover(self, problem: Problem) -> Discovery:
        """The training through the sizes, then the unaided one if wanted, whose ranking the scores are."""
        saved = dict(problem.checkpoint.load())
        sizes = {size: problem.edges_of_share(size) for size in problem.sizes}
        for method in self.uses():
            if not under("warm", saved):
                n = max(problem.edges_of_share(self.warm_share), *sizes.values(), 1)
                saved = flat({"warm": warm_start(problem, method, n, under("ranking", saved))})
        trained = int(saved["warm.candidates"].sum()) if self.warm_start else problem.graph.n_edges
        descent = Descent(trained, sizes.values(), self.halving, self.hold, self.evenly, self.afresh)
        parts = parts_of(problem.batches, self.examples)
        circuits, curves, state = self._through(descent, problem, parts, saved)
        few = first_examples(problem.batches, CUT_ON)
        every = circuits[trained]
        between = {n: circuits[n] for n in sizes.values() if 0 < n < trained}
        circuits |= none_worse(problem, self.objective, between, every, few)
        edges = {size: circuits[n] for size, n in sizes.items()}
        found = Discovery(edges=edges, objective=self.objective, trace=curves.series())
        if not problem.unaided:
            return found
        training = self._settled(problem, parts, few, saved, state)
        loss = partial(mean_loss, problem, self.objective, batches=few)
        unaided = cheapest(problem, loss, training.best, self.price)
        scores = training.scores().detach()
        # what was not trained comes last
        scores = torch.where(training.exists, scores, scores[training.exists].min() - 1)
        return replace(found, scores=scores, unaided=unaided)

    def _through(
        self, descent: Descent, problem: Problem, parts: Sequence[Batch], saved: Mapping[str, Tensor]
    ) -> tuple[dict[int, Tensor], TrainingCurves, dict[str, Tensor]]:
        """A circuit for every number of edges, the course of the training, and where it ended."""
        warm = under("warm", saved)

        def begun() -> tuple[GateTraining, Tensor]:
            multipliers = torch.zeros(
                2, dtype=widest(problem.device), device=problem.device, requires_grad=True
            )
            return self._training(problem, parts, warm, [multipliers]), multipliers

        training, multipliers = begun()
        curves = TrainingCurves()
        circuits = {0: training.exists & False, int(training.exists.sum()): training.exists}
        if "descent" in saved:
            descent.restore(saved["descent"])
            training.restore(under("training", saved))
            curves.restore(under("curve", saved))
            held = under("circuit", saved)
            circuits |= {int(n): kept.to(training.exists.device) for n, kept in held.items()}

        def pressure(loss: Tensor, n_open: Tensor) -> Tensor:
            if self.evenly == "log":
                gap = n_open.log() - math.log(descent.target)
            else:
                gap = (n_open - descent.target) / training.exists.sum()
            return multipliers[0] * gap + multipliers[1] * gap.square()

        def state() -> dict[str, Tensor]:
            named = {str(n): kept for n, kept in circuits.items()}
            parts = {"training": training.state(), "curve": curves.state(), "circuit": named}
            return {"descent": descent.state(), **flat({"warm": warm, **parts})}

        while not descent.ended:
            target = descent.target
            loss, n_open = training.step(pressure)
            l1, l2 = multipliers.tolist()
            curves.add(
                descent.taken + 1, loss=loss, edges_open=n_open, target=target, multiplier=l1, multiplier_2=l2
            )
            reached = descent.advance(n_open)
            if reached is not None:
                circuits[reached] = training.best(reached)
                training, multipliers = begun() if self.afresh else (training, multipliers)
            problem.progress(*descent.steps, f"{n_open:.0f} of {target:.0f} edges open, loss {loss:.3g}")
            problem.checkpoint.save(state)
        return circuits, curves, state()

    def _settled(
        self,
        problem: Problem,
        parts: Sequence[Batch],
        few: Sequence[Batch],
        saved: Mapping[str, Tensor],
        before: Mapping[str, Tensor],
    ) -> GateTraining:
        """A training under the price alone; `before` is what else a checkpoint has to keep."""
        training = self._training(problem, parts, under("warm", saved))
        if settled := under("settled", saved):
            training.restore(settled)
        full, empty = (
            mean_loss(problem, self.objective, edges, few)
            for edges in (training.exists, training.exists & False)
        )
        bearable = full + self.tolerance * (empty - full)

        def pressure(loss: Tensor, n_open: Tensor) -> Tensor:
            return self.price * n_open * (loss <= bearable)

        while training.steps < self.settling:
            loss, n_open = training.step(pressure)
            problem.progress(
                training.steps, self.settling, f"unaided: {n_open:.0f} edges open, loss {loss:.3g}"
            )
            problem.checkpoint.save(lambda: {**before, **flat({"settled": training.state()})})
        return training

    def _training(
        self,
        problem: Problem,
        parts: Sequence[Batch],
        warm: Mapping[str, Tensor],
        learnt: Sequence[Tensor] = (),
    ) -> GateTraining:
        return GateTraining(
            problem, self.objective, parts, self.start, self.rate, self.memory, self.node_gates, learnt,
            self.multiplier_rate, warm.get("candidates"), warm.get("above"),
        )  # fmt: skip
