"""Straight-through gates on one or several groups of tensors, trained down to the requested sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from methods.base import Batch
from methods.training.gumbel_gates import GumbelGates
from methods.training.named_tensors import flat, under
from methods.training.parts import Rounds
from methods.training.price import Price

Masks = Mapping[str, Mapping[str, Tensor]]
"""Masks by group and tensor name."""


class GumbelTraining:
    """Groups of gates that learn from one loss, each under its own price.

    The last group leads: at each of its sizes all groups are cut together. The others have one size each,
    which they must have met first, and are cut to it.
    """

    def __init__(
        self,
        groups: Mapping[str, GumbelGates],
        prices: Mapping[str, Price],
        loss: Callable[[Batch, Masks], Float[Tensor, ""]],
        parts: Sequence[Batch],
        random: torch.Generator,
    ) -> None:
        self.groups, self.prices = groups, prices
        *self._others, self._lead = groups
        self._loss, self._rounds, self._random = loss, Rounds(parts, random), random
        self.bearable = math.inf
        """No price is charged while the loss is above this: it would take the rest of a broken circuit."""
        self._found: dict[str, Tensor] = {}
        self.n_open = {name: gates.n_open() for name, gates in groups.items()}
        self.steps = 0

    @property
    def ended(self) -> bool:
        """Whether all sizes have been met."""
        return self.prices[self._lead].ended

    def step(self) -> float:
        """Draws one sample of all gates and takes one step; returns the sample's loss.

        Raises:
            ValueError: the loss is not finite, or a size is not met.
        """
        loss = self._loss(self._rounds.next(), {name: gates.sample() for name, gates in self.groups.items()})
        if not loss.isfinite():
            raise ValueError(
                f"training diverged: the loss of step {self.steps} is {loss.item():g}: try a lower rate or "
                "--dtype float32"
            )
        for name, gates in self.groups.items():
            gates.price = self.prices[name].now * (loss.item() <= self.bearable)
        loss.backward()
        for name, gates in self.groups.items():
            gates.descend()
            self.n_open[name] = gates.n_open()
        for name in self._others:
            self.prices[name].advance(self.n_open[name])
        ready = all(self.prices[name].ended for name in self._others)
        reached = self.prices[self._lead].advance(self.n_open[self._lead], ready)
        if reached is not None:
            sizes = {name: self.prices[name].sizes[0] for name in self._others} | {self._lead: reached}
            kept = {f"{reached}.{name}": self.groups[name].best(n) for name, n in sizes.items()}
            self._found |= flat(kept)
        self.steps += 1
        return loss.item()

    def kept(self, n: int, group: str) -> dict[str, Tensor]:
        """What a group kept when the leading group met the size n."""
        return under(f"{n}.{group}", self._found)

    def found(self) -> dict[str, Tensor]:
        """What was kept at the sizes met so far, in checkpoint form."""
        return self._found

    def take(self, found: Mapping[str, Tensor]) -> None:
        """Restores what `found` returned, without the state of the training."""
        self._found = dict(found)

    def state(self) -> dict[str, Tensor]:
        """Everything that later steps depend on, and what has been found."""
        prices = {name: price.state() for name, price in self.prices.items()}
        gates = flat({name: gates.state() for name, gates in self.groups.items()})
        counts = {"steps": torch.tensor(self.steps), "random": self._random.get_state()}
        rounds = self._rounds.state()
        return {**counts, **flat({"rounds": rounds, "price": prices, "found": self._found, "gates": gates})}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` returned."""
        for name, gates in self.groups.items():
            gates.restore(under(f"gates.{name}", state))
            self.prices[name].restore(state[f"price.{name}"])
        self.take(under("found", state))
        self._rounds.restore(under("rounds", state))
        self._random.set_state(state["random"].cpu())
        self.steps = int(state["steps"])
