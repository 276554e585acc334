"""Relevance patching: edge attribution patching with the coefficients of layer-wise relevance propagation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from methods.base import Selection
from methods.eap import EAP
from methods.rules.gradient_rules import RELP, GradientRules


@dataclass(frozen=True)
class RelP(EAP):
    """EAP where norms' scales are constants, activations pass the slope of the line through the origin, and
    the two sides of a gated MLP share what they do.

    The authors' paper takes attention's pattern for a constant as well, their code by default does not: then
    no edge into a query or a key would have a score. Both are here.
    """

    name = "relp"
    description = "RelP: EAP with relevance propagation's rules in the place of gradients"
    citation = """@article{jafari2025relp,
  title={RelP: Faithful and Efficient Circuit Discovery via Relevance Patching},
  author={Jafari, Farnoush Rezaei and Eberle, Oliver and Khakzar, Ashkan and Nanda, Neel},
  journal={arXiv:2508.21258},
  year={2025}
}"""

    selection: Selection = "greedy"
    """How circuits are cut from the scores: grown from the logits (greedy), the best edges (top), or all
    edges among the best nodes, of which each has the sum of the signed scores of its outgoing edges."""
    softmax: Literal["gradient", "frozen"] = "gradient"
    """How attention's softmax passes gradients: as it is, or not at all."""

    def rules(self) -> GradientRules:
        """As its authors set them, but for the option."""
        return replace(RELP, softmax=self.softmax)
