"""Gates on all edges, trained step by step on parts of the discovery prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from methods.base import Batch, Objective, Problem
from methods.thresholds.best import n_best
from methods.training.gates import hard_concrete, log_open
from methods.training.mask_training import MaskTraining
from methods.training.precision import widest

Pressure = Callable[[Float[Tensor, ""], Float[Tensor, ""]], Float[Tensor, ""]]
"""Maps a step's loss (detached) and the expected number of open edges to what is added to the loss."""


class GateTraining:
    """One hard-concrete gate per edge and optionally one per sender; an edge's mask is the product of both.

    A step draws one sample of all gates for a part of the examples, and moves the gates down the gradient of
    the mean loss per example plus a pressure. Gates and moments are kept in float64: they are few, and
    rounding errors grow with every step. On a device without float64 they are kept in float32.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        parts: Sequence[Batch],
        start: float,
        rate: float,
        memory: float,
        node_gates: bool = False,
        learnt: Sequence[Tensor] = (),
        learnt_rate: float = 0.1,
        candidates: Bool[Tensor, "receivers senders"] | None = None,
        above: Float[Tensor, "receivers senders"] | None = None,
    ) -> None:
        """`learnt`, `learnt_rate` and `memory` are as in `MaskTraining`.

        Edges outside `candidates` are always removed; `above` is how far edges' gates begin above `start`.
        """
        self.problem = problem
        kept = problem.graph.exists if candidates is None else candidates.clone()
        self.exists = kept.to(problem.device)
        self._random = torch.Generator(self.exists.device).manual_seed(problem.seed)
        shapes = [self.exists.shape] + [(1, len(problem.graph.senders))] * node_gates
        self._dtype = widest(self.exists.device)
        self.gates = [
            (start + 0.01 * self._draw(torch.randn, shape).to(self._dtype)).requires_grad_()
            for shape in shapes
        ]
        if above is not None:
            with torch.no_grad():
                self.gates[0] += above.to(self.gates[0])
        self._training = MaskTraining(
            problem, objective, parts, self.gates, self._random, rate, memory, learnt, learnt_rate
        )

    @property
    def steps(self) -> int:
        """Steps done."""
        return self._training.steps

    def step(self, pressure: Pressure) -> tuple[float, float]:
        """Takes one step; returns the mean loss before it and the expected number of open edges after it.

        Raises:
            ValueError: the loss is not finite.
        """
        part = self._training.part()
        mask = self.exists.to(self._dtype)
        for gates in self.gates:
            mask = mask * hard_concrete(gates, self._draw(torch.rand, gates.shape))
        loss = self._training.loss(part, mask)
        self._training.descend(loss + pressure(loss.detach(), self._expected_open()))
        return loss.item(), self._expected_open().item()

    def scores(self) -> Float[Tensor, "receivers senders"]:
        """The log probability of each edge being open."""
        scores = torch.zeros_like(self.exists, dtype=self._dtype)
        for gates in self.gates:
            scores = scores + log_open(gates)
        return scores

    @torch.no_grad()
    def best(self, n: int) -> Bool[Tensor, "receivers senders"]:
        """The n edges most likely to be open."""
        return n_best(self.scores().masked_fill(~self.exists, -math.inf), n)

    def state(self) -> dict[str, Tensor]:
        """Everything that later steps depend on."""
        return self._training.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` returned."""
        self._training.restore(state)

    def _expected_open(self) -> Float[Tensor, ""]:
        return self.scores().exp()[self.exists].sum()

    def _draw(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        return draw(shape, generator=self._random, device=self.exists.device)
