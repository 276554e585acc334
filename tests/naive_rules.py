"""The slow reference for backward rules: what is to have no gradient is detached, autograd does the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from methods.rules.gradient_rules import GradientRules
from naive_decoder import NaiveDecoder

ACTIVATIONS = ("act", "act_fn", "activation_fn")


class RuledDecoder(NaiveDecoder):
    """The slow decoder with terms of the same values and other gradients, by formulas of its own."""

    rules: GradientRules

    @contextmanager
    def ruled(self, rules: GradientRules) -> Iterator[RuledDecoder]:
        """While it lasts, Hugging Face's norms, activations and gates follow the rules as well."""
        self.rules = rules
        hooks = []
        for name, module in self.model.named_modules():
            kind = type(module).__name__
            if rules.frozen_norms and kind.endswith(("LayerNorm", "RMSNorm")):
                hooks.append(module.register_forward_hook(frozen))
            if rules.secant and name.endswith(ACTIVATIONS):
                hooks.append(module.register_forward_hook(lambda m, args, out: along(args[0], out)))
            if name.endswith("down_proj"):
                hooks.append(module.register_forward_pre_hook(lambda m, args: partly(args[0], rules.gated)))
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()

    def _mix(self, scores: Tensor, v: Tensor) -> Tensor:
        scores = partly(scores, self.rules.attended)
        pattern = scores.softmax(-1)
        if self.rules.softmax == "frozen":
            pattern = pattern.detach()
        elif self.rules.softmax != "gradient":
            softer = self.rules.softmax * (scores / self.rules.softmax).softmax(-1)
            pattern = pattern.detach() + softer - softer.detach()
        return partly(pattern @ v, self.rules.attended)

    def _tanh(self, x: Tensor) -> Tensor:
        return along(x, x.tanh()) if self.rules.secant else x.tanh()

    def _constant(self, root: Tensor) -> Tensor:
        return root.detach() if self.rules.frozen_norms else root


def partly(x: Tensor, share: float) -> Tensor:
    """x, of which a share has a gradient."""
    return x if share == 1 else share * x + (1 - share) * x.detach()


def along(x: Tensor, value: Tensor) -> Tensor:
    """The value, as a multiple of x."""
    return x * (value / x).detach()


def frozen(norm: Any, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
    """The output of a norm whose scale is a constant."""
    (x,) = args
    if isinstance(norm, nn.LayerNorm):
        centred = x - x.mean(-1, keepdim=True)
        root = (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt().detach()
        return centred / root * norm.weight + norm.bias
    return x * (out.detach() / torch.where(x == 0, 1, x)).detach()
