"""Edge attribution patching with integrated gradients: the gradient averaged along a path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from methods.base import Discovery, Method, Objective, Problem, Selection
from methods.thresholds.nodes import by_sender


@dataclass(frozen=True)
class EAPIG(Method):
    """score(s -> r) = (ref_s - z_s) . mean over points of dL/dx_r, the mean over examples.

    The points are embeddings between the ablation's (corrupted, zero or mean) and the clean one.
    ``inputs`` takes k/steps of the way for k = 1..steps (EAP-IG inputs); ``clean_corrupted`` takes
    the two ends. Unlike EAP it sees past a flat gradient at the clean run, so KL is an objective
    here as well.
    """

    name = "eap_ig"
    description = "EAP with gradients averaged between the ablated and the clean embedding"
    citation = """@inproceedings{hanna2024have,
  title={Have Faith in Faithfulness: Going Beyond Circuit Overlap When Finding Model Mechanisms},
  author={Hanna, Michael and Pezzelle, Sandro and Belinkov, Yonatan},
  booktitle={Conference on Language Modeling},
  year={2024},
  note={arXiv:2403.17806}
}"""

    steps: int = 5
    """Points on the path; `clean_corrupted` does not use it."""
    points: Literal["inputs", "clean_corrupted"] = "inputs"
    """Where gradients are taken: on the path, its ablated end left out, or at its two ends."""
    absolute: bool = True
    """Rank by absolute value; otherwise by the signed score, edges that hurt the task last."""
    selection: Selection = "greedy"
    """How circuits are cut from the scores: grown from the logits (greedy), the best edges (top), or all
    edges among the best nodes, of which each has the sum of the signed scores of its outgoing edges."""
    objective: Objective = "kl"
    """KL did better than the difference metric in trials on validation data, and on compiled programs."""
    threshold: float = 0.01
    """Unaided, edges are kept whose score is above this share of the largest."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")

    def skip(self, problem: Problem) -> str | None:
        """Declines the one setting that has nothing to rank by."""
        of_kl = self.objective == "kl" or not problem.has_difference
        if of_kl and self.points == "inputs" and self.steps == 1:
            return "KL has no gradient at the clean run, which is the only point of steps=1"
        return None

    def discover(self, problem: Problem) -> Discovery:
        """One forward on each prompt of a pair, and a forward and backward per point."""
        shares = [0.0, 1.0]
        if self.points == "inputs":
            shares = [k / self.steps for k in range(1, self.steps + 1)]
        scores = torch.zeros(problem.graph.exists.shape, dtype=torch.float64)
        n_embed = problem.graph.n_embed
        for done, batch in enumerate(problem.batches):
            clean, reference = problem.senders(batch), problem.reference(batch)
            away = reference - clean
            for share in shares:
                inputs = clean[:n_embed] + (1 - share) * away[:n_embed]
                scores += problem.edge_gradients(batch, self.objective, away, inputs).cpu()
            problem.progress(done + 1, len(problem.batches))
        scores /= len(shares) * problem.n_examples
        signed = by_sender(scores, problem.graph.exists) if self.selection == "nodes" else scores
        scores = signed.abs() if self.absolute else signed
        return Discovery(
            scores=scores,
            signed=signed,
            selection=self.selection,
            unaided=problem.graph.exists & (scores > self.threshold * scores.max()),
            objective=self.objective,
        )
