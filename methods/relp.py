"""Relevance patching: edge attribution patching with the coefficients of layer-wise relevance propagation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from methods.base import Selection
from methods.eap import EAP
from methods.rules.gradient_rules import RELP, GradientRules


@dataclass(frozen=True)
class RelP(EAP):
    """EAP with norm scales held constant, activations passing the slope of the secant through the origin, and
    each side of a gated MLP receiving half of their product's gradient.

    The paper holds attention's pattern constant too, which leaves edges into queries and keys without a
    score; the authors' code by default does not. Both are available here (`softmax`).
    """

    name = "relp"
    description = "RelP: EAP with relevance propagation rules in place of gradients"
    citation = """@article{jafari2025relp,
  title={RelP: Faithful and Efficient Circuit Discovery via Relevance Patching},
  author={Jafari, Farnoush Rezaei and Eberle, Oliver and Khakzar, Ashkan and Nanda, Neel},
  journal={arXiv:2508.21258},
  year={2025}
}"""

    selection: Selection = "greedy"
    """How circuits are cut from the scores: grown from the logits (greedy), the best edges (top), or all
    edges among the best nodes (nodes), each scored by the sum of its outgoing edges' signed scores."""
    softmax: Literal["gradient", "frozen"] = "gradient"
    """How attention's softmax passes gradients: unchanged, or not at all."""

    def rules(self) -> GradientRules:
        """The authors' settings, except for the option."""
        return replace(RELP, softmax=self.softmax)
