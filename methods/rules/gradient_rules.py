"""Backward rules that replace the gradient where terms interact, and the published sets of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GradientRules:
    """What a backward pass does in place of gradients. The forward pass is unchanged.

    A gradient tells what a small change does. Removing an edge is not a small change, and where two factors
    multiply, or one saturates, each alone seems to matter less, or more, than both do together.
    """

    frozen_norms: bool = False
    """Norms (before blocks, after blocks, and of queries and keys) pass gradients as if their scale were
    constant."""
    secant: bool = False
    """Activations and soft caps f pass f(x) / x instead of f'(x); 0 where x is 0."""
    gated: float = 1.0
    """Factor on the gradients of a gated MLP's two sides; 0.5 splits their joint effect between them."""
    attended: float = 1.0
    """Factor on the gradients of attention's values and pattern, and once more on queries and keys: with 0.5
    these get a quarter each."""
    softmax: Literal["gradient", "frozen"] | float = "gradient"
    """How attention's softmax passes gradients: unchanged, not at all, or, for a number T, as the softmax of
    x / T would, times T."""


PLAIN = GradientRules()
"""Plain gradients."""
GIM = GradientRules(frozen_norms=True, gated=0.5, attended=0.5, softmax=2.0)
"""Edin et al. 2025 (arXiv:2505.17630). The activation applied to the gate keeps its gradient."""
RELP = GradientRules(frozen_norms=True, secant=True, gated=0.5)
"""Jafari et al. 2025 (arXiv:2508.21258), as in their code; their table freezes the softmax as well."""
ATTN_LRP = GradientRules(frozen_norms=True, secant=True, gated=0.5, attended=0.5)
"""Achtibat et al. 2024 (arXiv:2402.05602). Their rule for softmax (deep Taylor) is gradient times input."""
