"""GIM: edge attribution patching whose backward pass does not underrate interacting terms."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from methods.base import Problem
from methods.eap import EAP
from methods.rules.gradient_rules import GIM as RULES
from methods.rules.gradient_rules import GradientRules


@dataclass(frozen=True)
class GIM(EAP):
    """EAP with the gradient interaction modifications of Edin et al.: norm scales are held constant,
    attention's softmax has the slope it has at a temperature, and factors of a product share its gradient.

    Differences from the authors' package (gim-explain): releases up to 0.1.4 have no rule for gated MLPs; it
    does not handle Hugging Face's norms of queries and keys, or the temperature under fused attention.
    """

    name = "gim"
    description = "GIM: EAP with frozen norms, a softer softmax and products that share their gradient"
    citation = """@article{edin2025gim,
  title={GIM: Improved Interpretability for Large Language Models},
  author={Edin, Joakim and Csord{\\'a}s, R{\\'o}bert and Ruotsalo, Tuukka and Wu, Zhengxuan and Maistro, Maria
    and Huang, Jing and Maal{\\o}e, Lars},
  journal={arXiv:2505.17630},
  year={2025}
}"""

    temperature: float = 2.0
    """Temperature of the softmax whose slope is used."""
    attended: float = RULES.attended
    """Factor on the gradients of values and of the pattern; queries and keys get its square."""
    gated: float = RULES.gated
    """Factor on the gradients of a gated MLP's two sides."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be above 0 and finite, not {self.temperature:g}")
        for name in ("attended", "gated"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, not {getattr(self, name):g}")

    def skip(self, problem: Problem) -> str | None:
        """Declines what EAP declines, and `gated` on a model without gated MLPs."""
        if self.gated != RULES.gated and not any(name.endswith(".W_gate") for name in problem.weights):
            return "the MLPs of this model have no gate: leave gated out"
        return super().skip(problem)

    def rules(self) -> GradientRules:
        """The authors' settings, except for the options."""
        return replace(RULES, softmax=self.temperature, attended=self.attended, gated=self.gated)
