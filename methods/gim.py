"""GIM: edge attribution patching whose backward pass lets terms that interact keep their weight."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from methods.base import Problem
from methods.eap import EAP
from methods.rules.gradient_rules import GIM as RULES
from methods.rules.gradient_rules import GradientRules


@dataclass(frozen=True)
class GIM(EAP):
    """EAP with the gradient interaction modifications of Edin et al.: norms' scales are constants, the
    softmax of attention has the slope that it has at a temperature, and what multiplies shares its effect.

    Beside its authors' package (gim-explain): releases of it up to 0.1.4 leave gated MLPs alone; it does not
    know norms of queries and keys of Hugging Face's, nor, under fused attention, the temperature.
    """

    name = "gim"
    description = "GIM: EAP with norms frozen, a softer softmax, products that share their effect"
    citation = """@article{edin2025gim,
  title={GIM: Improved Interpretability for Large Language Models},
  author={Edin, Joakim and Csord{\\'a}s, R{\\'o}bert and Ruotsalo, Tuukka and Wu, Zhengxuan and Maistro, Maria
    and Huang, Jing and Maal{\\o}e, Lars},
  journal={arXiv:2505.17630},
  year={2025}
}"""

    temperature: float = 2.0
    """Of the softmax whose slope is taken."""
    attended: float = RULES.attended
    """Factor of the gradients of values and of the pattern; queries and keys have its square."""
    gated: float = RULES.gated
    """Factor of the gradients of a gated MLP's two sides."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be above 0 and finite, not {self.temperature:g}")
        for name in ("attended", "gated"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, not {getattr(self, name):g}")

    def skip(self, problem: Problem) -> str | None:
        """Declines what EAP declines, and a rule for what the model does not have."""
        if self.gated != RULES.gated and not any(name.endswith(".W_gate") for name in problem.weights):
            return "the MLPs of this model have no gate: leave gated out"
        return super().skip(problem)

    def rules(self) -> GradientRules:
        """As its authors set them, but for the options."""
        return replace(RULES, softmax=self.temperature, attended=self.attended, gated=self.gated)
