"""Edge attribution patching with integrated gradients: the gradient averaged along a path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.base import Batch, Objective, Problem, Selection
from methods.selection.effects import OfEffects


@dataclass(frozen=True)
class EAPIG(OfEffects):
    """score(s -> r) = (ref_s - z_s) . mean over points of dL/dx_r, averaged over examples.

    The points are embeddings between the ablation's (corrupted, zero or mean) and the clean one.
    ``inputs`` takes k/steps of the way for k = 1..steps (EAP-IG inputs); ``clean_corrupted`` takes
    the two ends. Unlike EAP it sees past a flat gradient at the clean run, so KL can be the
    objective too.
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
    """Number of points on the path; not used by `clean_corrupted`."""
    points: Literal["inputs", "authors", "activations", "clean_corrupted"] = "inputs"
    """Where gradients are taken: on the embeddings' path without its ablated end (inputs), or without its
    clean end, as in the authors' code (authors); for edges leaving attention or an MLP, on the path of its
    output, from where the model runs on (activations); or at both ends of the embeddings' path."""
    selection: Selection = "greedy"
    """How circuits are cut from the scores: grown from the logits (greedy), the best edges (top), or all
    edges among the best nodes (nodes), each scored by the sum of its outgoing edges' signed scores."""
    objective: Objective = "kl"
    """KL did better than the difference metric on validation prompts and on compiled programs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")

    def skip(self, problem: Problem) -> str | None:
        """Declines settings that leave nothing to rank by."""
        of_kl = self.objective == "kl" or not problem.has_difference
        if of_kl and self.shares() == [1.0]:
            return "KL has no gradient at the clean run, which is the only point of steps=1"
        return None

    def loss_used(self) -> str:
        """The `objective` option."""
        return self.objective

    def effects(self, problem: Problem, parts: Sequence[Batch]) -> Iterator[Tensor]:
        """One forward on each prompt of a pair, and one forward and backward per point."""
        embeddings, *others = problem.graph.groups
        everything = slice(0, len(problem.graph.senders))
        # each path and the senders whose edges it scores: all of them, or those that move along it
        paths = [(embeddings, everything)]
        if self.points == "activations":
            paths = [(group, group) for group in (embeddings, *others)]
        for done, part in enumerate(parts, 1):
            clean, reference = problem.senders(part), problem.reference(part)
            away = reference - clean
            effect = torch.zeros(problem.graph.exists.shape, dtype=torch.float64)
            for path, leaving in paths:
                for share in self.shares():
                    there = clean[path] + (1 - share) * away[path]
                    at = {"inputs": there} if path is embeddings else {"replaced": (path, there)}
                    found = problem.edge_gradients(part, self.objective, away, **at)
                    effect[:, leaving] += found[:, leaving].cpu()
            yield effect / len(self.shares())
            problem.progress(done, len(parts))

    def shares(self) -> list[float]:
        """The points of a path, each as its share of the way from the ablated to the clean end."""
        if self.points == "clean_corrupted":
            return [0.0, 1.0]
        first = 0 if self.points == "authors" else 1
        return [(first + k) / self.steps for k in range(self.steps)]
