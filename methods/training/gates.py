"""Gates: random variables in [0, 1] whose distributions are learnt, one per edge or weight."""

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
"""Temperature and stretch of the hard-concrete distribution, as Edge Pruning has them."""
CHUNK = 2**16
"""Entries of a tensor that a CPU works on at a time, so that they stay in its cache."""
SHIFT = BETA * math.log(-LOW / HIGH)


def hard_concrete(log_alpha: Float[Tensor, "*any"], noise: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Samples of gates: a stretched sigmoid cut off at 0 and 1, so that both ends have probability.

    `noise` is uniform on (0, 1). Differentiable in `log_alpha` where the sample is neither 0 nor 1
    (Louizos et al. 2018, arXiv:1712.01312, section 2.2).
    """
    logistic = torch.logit(noise, eps=1e-6)
    return (torch.sigmoid((logistic + log_alpha) / BETA) * (HIGH - LOW) + LOW).clamp(0, 1)


def log_open(log_alpha: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The logarithm of the probability that a gate is not 0."""
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
    arXiv:1611.01144); taking its derivative for that of a step is biased by design. What depends on a gate
    is measured at 0 and 1 alone, so that a gate whose loss is flat at both and steep between learns nothing.

    Args:
        logits: one per gate.
        noise: logistic, not uniform as in `hard_concrete`.
        temperature: of the soft gate, above 0; the sample does not depend on it.
        price: asked in the backward pass, which adds the gradient of price() * sigmoid(logits).sum(), since
            it has all at hand; 0 by default.
        hard: False returns the soft gates themselves, whose gradient it is.
    """
    return _StraightThrough.apply(logits, noise, temperature, price, hard)  # type: ignore[no-untyped-call, no-any-return]


class _StraightThrough(Function):
    """In chunks that stay in a processor's cache: on a whole model's weights memory is what costs."""

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
    """Tensors of one shape, cut alike into short stretches: views, as far as they are contiguous.

    Elsewhere than on a CPU in one piece, since there every call costs more than memory does.
    """
    length = CHUNK if tensors[0].device.type == "cpu" else max(1, tensors[0].numel())
    return zip(*(tensor.contiguous().view(-1).split(length) for tensor in tensors), strict=True)


class LogisticNoise:
    """Logistic noise as windows of a table drawn once.

    A window's entries are independent; windows may overlap, so two tensors may share noise. To draw all
    anew for every weight in every step would cost more than the model's forward pass.
    """

    def __init__(self, longest: int, generator: torch.Generator) -> None:
        """`longest` is the number of entries of the largest window."""
        self._generator = generator
        uniform = torch.rand(4 * longest + 2**12, generator=generator, device=generator.device)
        self._table = torch.logit(uniform, eps=1e-6)

    def window(self, shape: torch.Size) -> Tensor:
        """Noise of a shape."""
        n = shape.numel()
        places = (len(self._table) - n,)
        device = self._generator.device
        start = int(torch.randint(*places, (), generator=self._generator, device=device))
        return self._table[start : start + n].view(shape)
