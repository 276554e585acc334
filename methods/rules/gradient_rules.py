"""Backward passes that take another rule than the gradient's where terms interact, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GradientRules:
    """What a backward pass does in the place of a gradient. Forwards stay as they are.

    A gradient tells what a small change does. Removing an edge is no small change, and where two things
    multiply, or one saturates, each of them seems to matter less, or more, than both together do.
    """

    frozen_norms: bool = False
    """Norms pass gradients as if their scale were constant: those before blocks, after them, and of queries
    and keys."""
    secant: bool = False
    """An activation and a soft cap f pass f(x) / x instead of f'(x); 0 where x is 0."""
    gated: float = 1.0
    """Factor of the gradients of a gated MLP's two sides; a half shares what they do together."""
    attended: float = 1.0
    """Factor of the gradients of attention's values and pattern, and of queries and keys as well: with a half
    these are left with a quarter each."""
    softmax: Literal["gradient", "frozen"] | float = "gradient"
    """How attention's softmax passes gradients: as it is, not at all, or as that of x / T would, times T."""


PLAIN = GradientRules()
"""Gradients."""
GIM = GradientRules(frozen_norms=True, gated=0.5, attended=0.5, softmax=2.0)
"""Edin et al. 2025 (arXiv:2505.17630). Where an activation is applied to the gate it keeps its gradient."""
RELP = GradientRules(frozen_norms=True, secant=True, gated=0.5)
"""Jafari et al. 2025 (arXiv:2508.21258), as their code is set up; their table freezes the softmax as well."""
ATTN_LRP = GradientRules(frozen_norms=True, secant=True, gated=0.5, attended=0.5)
"""Achtibat et al. 2024 (arXiv:2402.05602): softmax times its input is its deep Taylor decomposition."""
