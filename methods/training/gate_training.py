"""Gates of all edges, trained step by step on part after part of the discovery split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from methods.base import Batch, Objective, Problem
from methods.thresholds.best import n_best
from methods.training.gates import hard_concrete, log_open
from methods.training.named_tensors import flat, under
from methods.training.parts import Rounds
from methods.training.precision import widest

Pressure = Callable[[Float[Tensor, ""], Float[Tensor, ""]], Float[Tensor, ""]]
"""From a step's loss, without gradient, and the edges expected to be open to what is added to the loss."""


class GateTraining:
    """One hard-concrete gate per edge, and one per sender if wanted, whose product is the edge's.

    A step draws one sample of all gates for a part of the examples, and moves the gates down the gradient of
    the mean loss per example plus a pressure. What the full model and the reference are there is computed
    once per part, as long as `Problem` has room to keep it, otherwise in every step. Gates and moments are
    kept in float64: they are few, and what rounding does to them grows with every step. On a device that has
    no float64 they are kept in float32.
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
    ) -> None:
        """`learnt` are parameters of the pressure; they move up their gradient, at the same rate.

        `memory` is Adam's, of squared gradients: of how many steps it knows is 1 / (1 - memory).
        """
        self.problem, self.objective = problem, objective
        self.exists = problem.graph.exists.to(problem.device)
        self._random = torch.Generator(self.exists.device).manual_seed(problem.seed)
        shapes = [self.exists.shape] + [(1, len(problem.graph.senders))] * node_gates
        self._dtype = widest(self.exists.device)
        self.gates = [
            (start + 0.01 * self._draw(torch.randn, shape).to(self._dtype)).requires_grad_()
            for shape in shapes
        ]
        self._learnt = list(learnt)
        upwards: list[dict[str, Any]] = [{"params": self._learnt, "maximize": True}] if learnt else []
        self._optimizer = torch.optim.Adam([{"params": self.gates}, *upwards], lr=rate, betas=(0.9, memory))
        self._rounds = Rounds(parts, self._random)
        self.steps = 0

    def step(self, pressure: Pressure) -> tuple[float, float]:
        """One step; returns the part's mean loss before it, and the edges expected to be open after it.

        Raises:
            ValueError: the loss is not finite.
        """
        part = self._rounds.next()
        mask = torch.ones_like(self.exists, dtype=self._dtype)
        for gates in self.gates:
            mask = mask * hard_concrete(gates, self._draw(torch.rand, gates.shape))
        loss = self.problem.loss(self.objective, self.problem.run(part, mask), part) / len(part)
        if not loss.isfinite():
            raise ValueError(
                f"training diverged: the loss of step {self.steps} is {loss.item():g}: try a lower rate or "
                "--dtype float32"
            )
        self._optimizer.zero_grad()
        (loss + pressure(loss.detach(), self._expected_open())).backward()
        self._optimizer.step()
        self.steps += 1
        return loss.item(), self._expected_open().item()

    def scores(self) -> Float[Tensor, "receivers senders"]:
        """The logarithm of each edge's probability to be open."""
        scores = torch.zeros_like(self.exists, dtype=self._dtype)
        for gates in self.gates:
            scores = scores + log_open(gates)
        return scores

    @torch.no_grad()
    def best(self, n: int) -> Bool[Tensor, "receivers senders"]:
        """The n edges most likely to be open."""
        return n_best(self.scores().masked_fill(~self.exists, -math.inf), n)

    def state(self) -> dict[str, Tensor]:
        """All on which the steps to come depend."""
        moments = self._optimizer.state_dict()["state"]
        adam = flat({f"adam.{i}": each for i, each in moments.items()})
        values = {f"value.{i}": v.detach() for i, v in enumerate([*self.gates, *self._learnt])}
        counts = {"steps": torch.tensor(self.steps), "random": self._random.get_state()}
        return {**adam, **values, **counts, **flat({"rounds": self._rounds.state()})}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Stands where `state` was taken."""
        values = [*self.gates, *self._learnt]
        for i, each in enumerate(values):
            each.copy_(state[f"value.{i}"])
        moments = {i: under(f"adam.{i}", state) for i in range(len(values))}
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})
        self._random.set_state(state["random"].cpu())
        self._rounds.restore(under("rounds", state))
        self.steps = int(state["steps"])

    def _expected_open(self) -> Float[Tensor, ""]:
        return self.scores().exp()[self.exists].sum()

    def _draw(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        return draw(shape, generator=self._random, device=self.exists.device)
