"""Gates on named tensors, open or shut, trained by straight-through gradients of a loss and a price."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from methods.thresholds.best import n_best
from methods.training.gates import LogisticNoise, chunks, straight_through
from methods.training.named_tensors import flat, under

START = 1.0
"""Initial logits, up to noise: a gate is open with a probability of about 0.73."""


class GumbelGates:
    """One gate per entry of named tensors; entries that do not exist stay shut.

    In a training step, call `sample`, compute a loss of the sample, set `price`, call the loss's `backward`,
    then `descend`.
    """

    def __init__(
        self,
        exists: Mapping[str, Bool[Tensor, "..."]],
        random: torch.Generator,
        rate: float,
        temperature: float,
        dtype: torch.dtype = torch.float32,
        hard: bool = True,
    ) -> None:
        """`dtype` is that of gates and moments. Rounding errors grow more slowly in float64, but gates must
        be few and the device must have it (`widest`). `hard` is as in `straight_through`.
        """
        self.exists = exists
        self.n_gates = sum(int(each.sum()) for each in exists.values())
        self._temperature, self._hard = temperature, hard
        self.price = 0.0
        """Price of all gates together; `backward` adds the gradient of it times the expected open share."""
        self._noise = LogisticNoise(max(each.numel() for each in exists.values()), random)
        self.logits = {
            name: (START + 0.01 * self._noise.window(each.shape)).to(dtype).masked_fill(~each, -torch.inf)
            for name, each in exists.items()
        }
        for each in self.logits.values():
            each.requires_grad_()
        # a weight's gradient may be far below Adam's usual epsilon of 1e-8
        self._adam = torch.optim.Adam(
            list(self.logits.values()), lr=rate, betas=(0.9, 0.95), eps=1e-16, fused=True
        )

    def sample(self) -> dict[str, Float[Tensor, "..."]]:
        """A differentiable mask per tensor: zeros and ones, or values between them if gates are soft."""
        how = (self._temperature, self._each, self._hard)
        return {
            name: straight_through(logits, self._noise.window(logits.shape), *how)
            for name, logits in self.logits.items()
        }

    def _each(self) -> float:
        return self.price / self.n_gates

    @torch.no_grad()
    def descend(self) -> None:
        """Moves the gates down their current gradients."""
        for logits in self.logits.values():
            if logits.grad is None:  # the loss does not depend on it
                opened = torch.sigmoid(logits)
                logits.grad = self._each() * opened * (1 - opened)
        self._adam.step()
        self._adam.zero_grad()

    @torch.no_grad()
    def n_open(self) -> int:
        """Number of gates that are more likely open than shut."""
        parts = [(part > 0).count_nonzero() for each in self.logits.values() for (part,) in chunks(each)]
        return int(torch.stack(parts).sum())

    @torch.no_grad()
    def best(self, n: int) -> dict[str, Bool[Tensor, "..."]]:
        """The n entries most likely to be open."""
        kept = n_best(torch.cat([logits.flatten() for logits in self.logits.values()]), n)
        parts = kept.split([logits.numel() for logits in self.logits.values()])
        return {
            name: part.view_as(logits)
            for (name, logits), part in zip(self.logits.items(), parts, strict=True)
        }

    def state(self) -> dict[str, Tensor]:
        """Everything that later steps depend on, except for the generator."""
        moments = self._adam.state_dict()["state"]
        values = {name: logits.detach() for name, logits in self.logits.items()}
        return flat({"value": values, **{f"adam.{i}": each for i, each in moments.items()}})

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` returned."""
        for name, value in under("value", state).items():
            self.logits[name].copy_(value)
        moments = {i: under(f"adam.{i}", state) for i in range(len(self.logits))}
        self._adam.load_state_dict({**self._adam.state_dict(), "state": moments})
