"""Operations whose backward pass is not their gradient; `methods.rules.gradient_rules` says which and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from methods.rules.gradient_rules import GradientRules


def scaled(x: Tensor, factor: float) -> Tensor:
    """x, with its gradient multiplied by factor."""
    return x if factor == 1 else _Scaled.apply(x, factor)  # type: ignore[no-untyped-call]


def elementwise(rules: GradientRules, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """function(x); under the secant rule its backward multiplies by function(x) / x.

    Args:
        rules: those of the backward pass.
        function: elementwise, 0 at 0.
        x: of any shape.
    """
    if not rules.secant:
        return function(x)
    return _Secant.apply(x, function)  # type: ignore[no-untyped-call, no-any-return]


def pattern(
    rules: GradientRules, scores: Float[Tensor, "*any queries pos"]
) -> Float[Tensor, "*any queries pos"]:
    """The softmax of attention scores; masked scores are minus infinity."""
    if rules.softmax == "gradient":
        return scores.softmax(-1)
    if rules.softmax == "frozen":
        return scores.detach().softmax(-1)
    return _Softmax.apply(scores, rules.softmax)  # type: ignore[no-untyped-call, no-any-return]


class _Scaled(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None


class _Secant(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        value = function(x)
        ctx.save_for_backward(torch.where(x == 0, 0, value / x))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return grads[0] * slope, None


class _Softmax(Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, temperature: float) -> Tensor:
        ctx.save_for_backward(scores)
        ctx.temperature = temperature
        return scores.softmax(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (scores,) = ctx.saved_tensors
        softer, (grad,) = (scores / ctx.temperature).softmax(-1), grads
        return softer * (grad - (grad * softer).sum(-1, keepdim=True)), None
