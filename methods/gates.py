"""Gates: random variables in [0, 1] whose distributions are learnt, one per edge."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

BETA, LOW, HIGH = 2 / 3, -0.1, 1.1
"""Temperature and stretch of the hard-concrete distribution, as Edge Pruning has them."""
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
