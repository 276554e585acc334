"""A pass of ACDC at one threshold: sequential decisions, computed in chains, reusing earlier passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from methods.base import Graph, Objective, Problem, first_examples

FREE = -torch.inf
"""The effect recorded for an edge that was removed untested."""


@dataclass(frozen=True)
class Turns:
    """The order in which edges are decided: receiver by receiver, and the order of each one's senders."""

    rows: Sequence[int]
    columns: Sequence[int]

    @classmethod
    def backwards(cls, graph: Graph, latest_first: bool = True) -> Turns:
        """From the logits back.

        Args:
            graph: the model's graph.
            latest_first: whether a receiver's senders come in reverse order of computation as well.
        """
        n_rows, n_columns = graph.exists.shape
        columns = range(n_columns)
        return cls(range(n_rows)[::-1], columns[::-1] if latest_first else columns)

    @classmethod
    def shuffled(cls, graph: Graph, generator: Generator) -> Turns:
        """Receivers and senders both in random order.

        Args:
            graph: the model's graph.
            generator: source of the random orders.
        """
        rows, columns = (torch.randperm(n, generator=generator).tolist() for n in graph.exists.shape)
        return cls(rows, columns)


class Pruning:
    """Passes over the same edges at any number of thresholds.

    The state of a pass is a tensor of *effects*: what removing each edge did to the loss at its turn, NaN
    if it has not been decided. An edge is removed if the effect is below the threshold. Two thresholds
    decide alike up to the first effect between them, so a pass starts where it diverges from the pass it
    agrees with longest; and a killed pass resumes from its own effects.

    Raises:
        ValueError: the loss is not finite.
    """

    def __init__(
        self,
        problem: Problem,
        candidates: Bool[Tensor, "receivers senders"],
        objective: Objective,
        absolute: bool = False,
        turns: Turns | None = None,
        chain: int = 8,
        examples: int = 2**62,
    ) -> None:
        self.problem, self.candidates, self.objective = problem, candidates, objective
        self.absolute, self.chain = absolute, chain
        self.turns = turns or Turns.backwards(problem.graph)
        self.batches = first_examples(problem.batches, examples)
        self.n_examples = sum(map(len, self.batches))
        self.passes: dict[float, Float[Tensor, "receivers senders"]] = {}
        positions = torch.arange(candidates.numel()).view(candidates.shape)
        self._turns = positions[list(self.turns.rows)][:, list(self.turns.columns)].flatten()
        """Flat matrix positions in the order in which edges are decided."""
        saved = problem.checkpoint.load()
        if saved:
            self.candidates = saved["candidates"]
            self.passes = dict(zip(saved["thresholds"].tolist(), saved["effects"], strict=True))

    def kept(self, threshold: float) -> Bool[Tensor, "receivers senders"]:
        """The edges that a pass keeps or has not yet decided."""
        return self.candidates & ~(self.passes[threshold] < threshold)

    def run(self, threshold: float, most: float = torch.inf) -> int:
        """Runs a pass and returns how many edges it keeps; stops early once they exceed `most`."""
        owners = self.problem.graph.owners.bool()
        effects = self.passes[threshold] = self._begun(threshold)
        kept = self.kept(threshold)
        n_kept = int((effects >= threshold).sum())
        current, length = None, 1
        for row in self.turns.rows:
            columns = self._open(effects[row])
            if columns and owners[row].any() and not kept[:, owners[row]].any():
                kept[row], effects[row, columns] = False, FREE
                continue
            while columns and n_kept <= most:
                current = self._loss(kept) if current is None else current
                chain = columns[:length]
                losses = self._losses_without(kept, row, chain)
                change = losses - torch.cat([current[None], losses[:-1]])
                change = change.abs() if self.absolute else change
                refused = (change >= threshold).nonzero().flatten().tolist()
                removed = refused[0] if refused else len(chain)
                decided = chain[: removed + 1]
                effects[row, decided] = change[: len(decided)]
                kept[row, chain[:removed]] = False
                current = losses[removed - 1] if removed else current
                n_kept += len(decided) - removed
                columns = columns[len(decided) :]
                length = max(1, length // 2) if refused else min(self.chain, 2 * length)
                self._tell(threshold, effects, n_kept)
        return n_kept

    def _open(self, effects: Float[Tensor, " senders"]) -> list[int]:
        """The undecided edges of a receiver, in order."""
        undecided = effects.isnan().tolist()
        return [column for column in self.turns.columns if undecided[column]]

    def _begun(self, threshold: float) -> Float[Tensor, "receivers senders"]:
        """The effects that this pass can take over from another one, or from itself before it was killed."""
        blank = torch.where(self.candidates, torch.nan, FREE).double()
        best, longest = blank, 0
        for other, effects in self.passes.items():
            turns = effects.flatten()[self._turns]
            agree = ((turns < other) == (turns < threshold)) & ~turns.isnan()
            n = int(agree.cumprod(0).sum())
            if n > longest:
                best, longest = blank.clone(), n
                best.view(-1)[self._turns[:n]] = turns[:n]
        return best

    @torch.no_grad()
    def _loss(self, kept: Tensor) -> Float[Tensor, ""]:
        """The mean loss of the kept edges."""
        problem = self.problem
        total = torch.zeros((), dtype=torch.float64)
        for batch in self.batches:
            logits = problem.run(batch, kept.to(problem.device, torch.float32))
            total += problem.loss(self.objective, logits, batch).cpu()
        return self._finite(total / self.n_examples)

    def _losses_without(self, kept: Tensor, row: int, chain: list[int]) -> Float[Tensor, " chain"]:
        problem = self.problem
        total = torch.zeros(len(chain), dtype=torch.float64)
        for batch in self.batches:
            total += problem.losses_without(self.objective, batch, kept, row, chain).cpu()
        return self._finite(total / self.n_examples)

    def _finite(self, losses: Tensor) -> Tensor:
        if not losses.isfinite().all():
            raise ValueError("the loss is not finite: try --dtype float32 or another objective")
        return losses

    def _tell(self, threshold: float, effects: Tensor, n_kept: int) -> None:
        decided = self.candidates.sum() - effects.isnan().sum()
        note = f"tau {threshold:.2g}: {n_kept} edges kept"
        self.problem.progress(int(decided), int(self.candidates.sum()), note)
        self.problem.checkpoint.save(self._state)

    def _state(self) -> dict[str, Tensor]:
        return {
            "candidates": self.candidates,
            "thresholds": torch.tensor(list(self.passes), dtype=torch.float64),
            "effects": torch.stack(list(self.passes.values())),
        }
