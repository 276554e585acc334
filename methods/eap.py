"""Edge attribution patching: the first-order effect of every edge, from one backward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from methods.base import Batch, Problem
from methods.rules.gradient_rules import GradientRules
from methods.selection.effects import OfEffects


@dataclass(frozen=True)
class EAP(OfEffects):
    """score(s -> r) = (ref_s - z_s) . dL/dx_r at the clean run, averaged over examples.

    A positive score means that removing the edge raises the loss. The estimate is linear: exact if
    the model is linear between the clean and the ablated value, and blind to what happens when many
    edges are removed together. L is minus the task's difference metric; KL to the full model has no
    gradient at the clean run. Syed et al. rank by absolute value, which is the default here.
    """

    name = "eap"
    description = "Edge attribution patching: first-order effect of removing each edge"
    citation = """@article{syed2023attribution,
  title={Attribution Patching Outperforms Automated Circuit Discovery},
  author={Syed, Aaquib and Rager, Can and Conmy, Arthur},
  journal={arXiv:2310.10348},
  year={2023}
}"""

    def skip(self, problem: Problem) -> str | None:
        """Declines a task without wrong answers, which leaves nothing to rank by."""
        if problem.has_difference:
            return None
        return "the task names no wrong answers, and KL has no gradient at the clean run: use eap_ig instead"

    def rules(self) -> GradientRules | None:
        """What the backward pass does in place of gradients; None for plain gradients."""
        return None

    def effects(self, problem: Problem, parts: Sequence[Batch]) -> Iterator[Tensor]:
        """One forward on the corrupted prompts, one forward and backward on the clean ones."""
        rules = self.rules()
        for done, part in enumerate(parts, 1):
            yield problem.edge_gradients(part, "difference", rules=rules)
            problem.progress(done, len(parts))
