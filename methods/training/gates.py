"""Gates: random variables in [0, 1] with learnt distributions, one per edge or weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

BETA, LOW, HIGH = 2 / 3, -0.1, 1.1
"""Temperature and stretch of the hard-concrete distribution, as in Edge Pruning."""
CHUNK = 2**16
"""Number of tensor entries that a CPU processes at a time, so that they stay in its cache."""
SHIFT = BETA * math.log(-LOW / HIGH)


def hard_concrete(log_alpha: Float[Tensor, "*any"], noise: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Samples of gates: a stretched sigmoid clipped to [0, 1], so that both ends have positive probability.

    `noise` is uniform on (0, 1). Differentiable in `log_alpha` where the sample is neither 0 nor 1
    (Louizos et al. 2018, arXiv:1712.01312, section 2.2).
    """
    logistic = torch.logit(noise, eps=1e-6)
    return (torch.sigmoid((logistic + log_alpha) / BETA) * (HIGH - LOW) + LOW).clamp(0, 1)


def log_open(log_alpha: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The log probability that a gate is not 0."""
    return torch.nn.functional.logsigmoid(log_alpha - SHIFT)


def straight_through(
    logits: Float[Tensor, "*any"],
    noise: Float[Tensor, "*any"],
    temperature: float,
    price: Callable[[], float] = float,
    hard: bool = True,
) -> Float[Tensor, "*any"]:
    """Samples of gates, 0 or 1, open with probability sigmoid(logits), with the gradient of a soft gate.

    The soft gate is sigmoid((logits + noise) / temperature), the binary Gumbel-softmax (Jang et al. 2017,
    arXiv:1611.01144); using its derivative for that of a step function is biased by design. The loss is seen
    only at 0 and 1, so a gate whose loss is flat at both but steep between learns nothing.

    Args:
        logits: one per gate.
        noise: logistic noise, not uniform as in `hard_concrete`.
        temperature: temperature of the soft gate, above 0; a hard sample does not depend on it.
        price: called in the backward pass, which adds the gradient of price() * sigmoid(logits).sum(), since
            it has everything at hand; 0 by default.
        hard: if False, returns the soft gates themselves, with their own gradient.
    """
    return _StraightThrough.apply(logits, noise, temperature, price, hard)  # type: ignore[no-untyped-call, no-any-return]


class _StraightThrough(Function):
    """Works in chunks that stay in the CPU's cache: on a whole model's weights, memory traffic dominates."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, noise: Tensor, temperature: float, price: Callable[[], float], hard: bool
    ) -> Tensor:
        ctx.save_for_backward(logits, noise)
        ctx.temperature, ctx.price = temperature, price
        sample = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
        for part, logit, drawn in chunks(sample, logits, noise):
            torch.add(logit, drawn, out=part)
            if hard:
                part.sign_().clamp_(min=0)
            else:
                part.div_(temperature).sigmoid_()
        return sample

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        logits, noise = ctx.saved_tensors
        price, temperature = ctx.price(), ctx.temperature
        slope = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
        for part, logit, drawn, grad in chunks(slope, logits, noise, grads[0]):
            torch.add(logit, drawn, out=part)
            soft = (part if temperature == 1 else part.div_(temperature)).sigmoid_()
            torch.ops.aten.sigmoid_backward(grad, soft, grad_input=part)
            if temperature != 1:
                part.div_(temperature)
            if price:
                part.addcmul_(torch.sigmoid(logit), torch.sigmoid(-logit), value=price)
        return slope, None, None, None, None


def chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of one shape, cut alike into short stretches, which are views if the tensors are contiguous.

    On other devices than a CPU they stay in one piece, since there every call costs more than memory does.
    """
    length = CHUNK if tensors[0].device.type == "cpu" else max(1, tensors[0].numel())
    return zip(*(tensor.contiguous().view(-1).split(length) for tensor in tensors), strict=True)


class LogisticNoise:
    """Logistic noise, as windows of a table drawn once.

    A window's entries are independent, but windows may overlap, so two tensors may share noise. Drawing new
    noise for every weight in every step would cost more than the model's forward pass.
    """

    def __init__(self, longest: int, generator: torch.Generator) -> None:
        """`longest` is the number of entries of the largest window."""
        self._generator = generator
        uniform = torch.rand(4 * longest + 2**12, generator=generator, device=generator.device)
        self._table = torch.logit(uniform, eps=1e-6)

    def window(self, shape: torch.Size) -> Tensor:
        """Noise of the given shape, from a random place in the table."""
        n = shape.numel()
        places = (len(self._table) - n,)
        device = self._generator.device
        start = int(torch.randint(*places, (), generator=self._generator, device=device))
        return self._table[start : start + n].view(shape)
