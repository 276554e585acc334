"""Edge attribution patching: every edge's effect, to first order, from one backward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from methods.base import Discovery, Method, Problem, Selection
from methods.rules.gradient_rules import GradientRules
from methods.thresholds.nodes import by_sender


@dataclass(frozen=True)
class EAP(Method):
    """score(s -> r) = (ref_s - z_s) . dL/dx_r at the clean run, the mean over examples.

    A positive score says that removing the edge raises the loss. It is a linear estimate: exact where
    the model is linear between the clean and the ablated value, and blind to what happens when many
    edges go together. L is minus the task's difference metric; KL to the full model has no gradient
    at the clean run. Syed et al. rank by absolute value, which is the default here.
    """

    name = "eap"
    description = "Edge attribution patching: first-order effect of removing each edge"
    citation = """@article{syed2023attribution,
  title={Attribution Patching Outperforms Automated Circuit Discovery},
  author={Syed, Aaquib and Rager, Can and Conmy, Arthur},
  journal={arXiv:2310.10348},
  year={2023}
}"""

    absolute: bool = True
    """Rank by absolute value; otherwise by the signed score, edges that hurt the task last."""
    selection: Selection = "top"
    """How circuits are cut from the scores: the best edges, grown from the logits, or all edges among the
    best nodes, of which each has the sum of the signed scores of its outgoing edges."""
    threshold: float = 0.01
    """Unaided, edges are kept whose score is above this share of the largest."""

    def skip(self, problem: Problem) -> str | None:
        """Declines what has nothing to rank by."""
        if problem.has_difference:
            return None
        return (
            "the task names no wrong answers, and KL has no gradient at the clean run: eap_ig looks elsewhere"
        )

    def rules(self) -> GradientRules | None:
        """What the backward pass does in the place of gradients; None for gradients."""
        return None

    def discover(self, problem: Problem) -> Discovery:
        """One forward on the corrupted prompts, one forward and backward on the clean ones."""
        scores, rules = torch.zeros(problem.graph.exists.shape, dtype=torch.float64), self.rules()
        for done, batch in enumerate(problem.batches):
            scores += problem.edge_gradients(batch, "difference", rules=rules).cpu()
            problem.progress(done + 1, len(problem.batches))
        scores /= problem.n_examples
        signed = by_sender(scores, problem.graph.exists) if self.selection == "nodes" else scores
        scores = signed.abs() if self.absolute else signed
        return Discovery(
            scores=scores,
            signed=signed,
            selection=self.selection,
            unaided=problem.graph.exists & (scores > self.threshold * scores.max()),
            objective="difference",
        )
