"""A soft mask of k entries, differentiable in their scores."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

BISECTIONS = 60
"""Number of bisections of the interval that contains the threshold."""


def soft_top_k(scores: Float[Tensor, " n"], k: float, temperature: float) -> Float[Tensor, " n"]:
    """sigmoid((score - t) / temperature), with the threshold t at which the mask sums to k.

    The threshold moves with the scores, so what one entry gains the others lose.

    Args:
        scores: the scores, in float64 if the device has it.
        k: sum of the mask, between 0 and n, not necessarily an integer.
        temperature: softness of the mask; near 0 it selects the k highest scores.
    """
    return _SoftTopK.apply(scores, k, temperature)  # type: ignore[no-untyped-call, no-any-return]


class _SoftTopK(Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, k: float, temperature: float) -> Tensor:
        reach = temperature * (1 + torch.logit(torch.tensor(k / len(scores)).double()).abs().item())
        low, high = scores.min() - reach, scores.max() + reach
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            above = ((scores - middle) / temperature).sigmoid().sum() > k
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        mask = ((scores - (low + high) / 2) / temperature).sigmoid()
        ctx.save_for_backward(mask)
        ctx.temperature = temperature
        return mask

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (mask,), (grad,) = ctx.saved_tensors, grads
        slope = mask * (1 - mask)
        # the sum is constant, so the threshold moves by the slope-weighted mean of the scores' moves
        shared = (grad * slope).sum() / slope.sum().clamp(min=torch.finfo(slope.dtype).tiny)
        return slope * (grad - shared) / ctx.temperature, None, None
