"""ACDC as its authors write it down: one whole forward per edge. The slow reference of `methods/acdc.py`."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.discovery.problem import BenchProblem
from methods.base import Objective
from methods.thresholds.pruning import Turns


@dataclass
class Sequential:
    """Runs the sequential algorithm; `effects` tells what each tested edge did."""

    problem: BenchProblem
    objective: Objective = "kl"
    absolute: bool = False
    turns: Turns | None = None
    effects: dict[tuple[int, int], float] = field(default_factory=dict)

    def loss(self, kept: Tensor) -> float:
        """The mean loss over examples, by `MaskedModel.run`."""
        p = self.problem
        with torch.no_grad():
            losses = [
                p.loss(self.objective, p.run(batch, kept.to(p.model.dtype)), batch) for batch in p.batches
            ]
        return float(sum(loss.double() for loss in losses)) / p.n_examples

    def run(self, tau: float, candidates: Tensor | None = None) -> Tensor:
        """The edges kept."""
        graph = self.problem.graph
        kept = (graph.exists if candidates is None else candidates).clone()
        current = self.loss(kept)
        turns = self.turns or Turns.backwards(graph)
        for row in turns.rows:
            owners = graph.owners[row].bool()
            if owners.any() and not kept[:, owners].any():
                kept[row] = False
                continue
            for column in [column for column in turns.columns if kept[row, column]]:
                kept[row, column] = False
                without = self.loss(kept)
                effect = abs(without - current) if self.absolute else without - current
                self.effects[row, column] = effect
                if effect < tau:
                    current = without
                else:
                    kept[row, column] = True
        return kept
