"""Straight-through gates of one group of tensors, or of several at once, trained down to the sizes wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from methods.base import Batch
from methods.gumbel_gates import GumbelGates
from methods.named_tensors import flat, under
from methods.parts import Rounds
from methods.price import Price

Masks = Mapping[str, Mapping[str, Tensor]]
"""By group and tensor."""


class GumbelTraining:
    """Groups of gates that learn from one loss, each under a price of its own; cut where a size is met."""

    def __init__(
        self,
        groups: Mapping[str, GumbelGates],
        prices: Mapping[str, Price],
        loss: Callable[[Batch, Masks], Float[Tensor, ""]],
        parts: Sequence[Batch],
        random: torch.Generator,
    ) -> None:
        self.groups, self.prices = groups, prices
        self._loss, self._rounds, self._random = loss, Rounds(parts, random), random
        self._found: dict[str, dict[str, Tensor]] = {}
        self.steps = 0

    @property
    def ended(self) -> bool:
        """Whether every group has met all of its sizes."""
        return all(price.ended for price in self.prices.values())

    def step(self) -> float:
        """One sample of all gates, one step down; gives the loss of the sample.

        Raises:
            ValueError: the loss is not finite, or a size is not met.
        """
        loss = self._loss(self._rounds.next(), {name: gates.sample() for name, gates in self.groups.items()})
        if not loss.isfinite():
            raise ValueError(
                f"training diverged: the loss of step {self.steps} is {loss.item():g}: try a lower rate or "
                "--dtype float32"
            )
        loss.backward()
        for name, gates in self.groups.items():
            gates.descend(self.prices[name].now)
            reached = self.prices[name].advance(gates.n_open())
            if reached is not None:
                self._found[f"{name}.{reached}"] = gates.best(reached)
        self.steps += 1
        return loss.item()

    def kept(self, group: str, n: int) -> dict[str, Tensor]:
        """What the group kept at a size that was met, or all or nothing of it."""
        gates = self.groups[group]
        return gates.best(n) if n in (0, gates.n_gates) else self._found[f"{group}.{n}"]

    def found(self) -> dict[str, Tensor]:
        """What was kept at the sizes met so far, as a checkpoint takes it."""
        return flat(self._found)

    def take(self, found: Mapping[str, Tensor]) -> None:
        """Knows what `found` gave, without the training that led there."""
        for name, kept in found.items():
            group, n, tensor = name.split(".", 2)
            self._found.setdefault(f"{group}.{n}", {})[tensor] = kept

    def state(self) -> dict[str, Tensor]:
        """All on which the steps to come depend, and what has been found."""
        prices = {name: price.state() for name, price in self.prices.items()}
        gates = flat({name: gates.state() for name, gates in self.groups.items()})
        counts = {"steps": torch.tensor(self.steps), "random": self._random.get_state()}
        parts = {"rounds": self._rounds.state(), "price": prices, "found": self.found(), "gates": gates}
        return {**counts, **flat(parts)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Stands where `state` was taken."""
        for name, gates in self.groups.items():
            gates.restore(under(f"gates.{name}", state))
            self.prices[name].restore(state[f"price.{name}"])
        self.take(under("found", state))
        self._rounds.restore(under("rounds", state))
        self._random.set_state(state["random"].cpu())
        self.steps = int(state["steps"])
