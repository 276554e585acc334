"""The bench's Problem: a model, discovery data and an ablation, with caching and counting.

It implements `methods.base.Problem` and knows neither the evaluation data nor a true circuit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from bench.discovery.checkpoint import Checkpoint
from bench.engine.ablation import Reference
from bench.engine.graph import EdgeGraph, edges_of_share
from bench.engine.incremental import IncrementalRun
from bench.engine.masked_model import MaskedModel
from bench.scoring.measures import DIVERGENCE, Measure, kl_terms
from methods.base import Batch, Objective
from methods.rules.gradient_rules import GradientRules

Progress = Callable[[int, int, str], None]


@dataclass
class Counter:
    """Work done for a method."""

    forwards: int = 0
    backwards: int = 0
    tokens: int = 0
    """Tokens that went through a forward pass, padding included."""


class BenchProblem:
    """What a method receives; see `methods.base.Problem` for the meaning of every member."""

    def __init__(
        self,
        model: MaskedModel,
        batches: Sequence[Batch],
        measure: Measure,
        reference: Callable[[Sequence[Batch]], Reference],
        sizes: Sequence[float],
        seed: int,
        *,
        unaided: bool = True,
        memory_budget: int = 2**32,
        progress: Progress | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        self.model = model
        self.graph: EdgeGraph = replace(model.graph)  # with tensors of its own, which a method may overwrite
        self.batches = batches
        self.n_examples = sum(map(len, batches))
        self.sizes = tuple(sizes)
        self.wants_unaided = unaided or not sizes
        self._sized = 0.0  # CPU seconds when `unaided` was first read; 0 if never
        self.seed = seed
        self.memory_budget = memory_budget
        self.counter = Counter()
        self.charged = {"seconds": 0.0, "cpu_seconds": 0.0}
        """What a killed run took that this one resumes."""
        self.begin()
        self.checkpoint = Checkpoint(checkpoint, self.spent, self._charge)
        self._measure = measure
        self._make_reference = reference
        self._reference: Reference | None = None
        self._progress = progress
        self._clean: dict[Batch, Tensor] = {}
        self._emptied: dict[Batch, Tensor] = {}
        self._references: dict[Batch, Tensor] = {}
        self._incremental_runs: dict[Batch, IncrementalRun] = {}
        self._cached_bytes = 0

    @property
    def unaided(self) -> bool:
        if self.wants_unaided and self.sizes and not self._sized:
            self._sized = self.spent()["cpu_seconds"]
        return self.wants_unaided

    @property
    def has_difference(self) -> bool:
        return self._measure is not DIVERGENCE

    @property
    def sized_share(self) -> float:
        """The share of the CPU time so far that passed before `unaided` was first read; 1 if it never was."""
        return self._sized / self.spent()["cpu_seconds"] if self._sized else 1.0

    @property
    def device(self) -> torch.device:
        return self.model.device

    def edges_of_share(self, share: float) -> int:
        return edges_of_share(self.graph.n_edges, share)

    @property
    def weights(self) -> dict[str, torch.Size]:
        return self.model.maskable

    def run(
        self,
        batch: Batch,
        edges: Float[Tensor, "receivers senders"] | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        reference = None if edges is None else self._ablated(batch)
        self._count(batch)
        logits = self.model.run(
            batch.clean, edges, reference, weights, (batch.examples, batch.positions), batch.lengths
        )
        if logits.requires_grad:
            logits.register_hook(self._count_backward)
        return logits

    @torch.no_grad()
    def clean(self, batch: Batch) -> Tensor:
        if batch in self._clean:
            return self._clean[batch]
        return self._keep(self._clean, batch, self.run(batch))

    def senders(self, batch: Batch) -> Tensor:
        self._count(batch)
        return self.model.senders(batch.clean, batch.lengths)

    def reference(self, batch: Batch) -> Tensor:
        reference = self._ablated(batch)
        if reference is None:
            shape = (len(self.graph.senders), 1, 1, self.model.architecture.d_model)
            return torch.zeros(shape, dtype=self.model.dtype, device=self.model.device)
        return reference

    def loss(self, objective: Objective, logits: Tensor, batch: Batch) -> Tensor:
        # half precision has too few bits for sums
        wide = torch.promote_types(logits.dtype, torch.float32)
        logits = logits.to(wide)
        if objective == "kl":
            full = self.clean(batch).to(wide)
            if self._measure.of_numbers:
                return (logits - full).square().sum((-2, -1))
            return kl_terms(full.log_softmax(-1), logits.log_softmax(-1)).sum((-2, -1))
        return -self._measure.summed(logits, batch, lambda: self.clean(batch), lambda: self._empty(batch))

    @torch.no_grad()
    def losses_without(
        self, objective: Objective, batch: Batch, edges: Tensor, row: int, columns: Sequence[int]
    ) -> Tensor:
        return self._losses_without(
            objective, batch, edges, row, columns,
            lambda run, done, stop: run.without(row, columns[:stop], done),
        )  # fmt: skip

    @torch.no_grad()
    def losses_without_each(
        self, objective: Objective, batch: Batch, edges: Tensor, row: int, columns: Sequence[int]
    ) -> Tensor:
        return self._losses_without(
            objective, batch, edges, row, columns,
            lambda run, done, stop: run.without_each(row, columns[done:stop]),
        )  # fmt: skip

    def _losses_without(
        self,
        objective: Objective,
        batch: Batch,
        edges: Tensor,
        row: int,
        columns: Sequence[int],
        logits_of: Callable[[IncrementalRun, int, int], Tensor],
    ) -> Tensor:
        """The losses of all columns, as many at once as memory allows."""
        run = self._incremental(batch, edges)
        longest = run.variants_within(row, self.memory_budget // (8 * len(self.batches)))
        losses = [self.clean(batch).new_zeros(0)]
        for done in range(0, len(columns), longest):
            losses.append(self.loss(objective, logits_of(run, done, done + longest), batch))
        self.counter.forwards += len(columns)
        self.counter.tokens += len(columns) * batch.clean.numel()
        runs = self._incremental_runs
        runs[batch] = runs.pop(batch)
        while runs and self._cached_bytes + sum(r.nbytes for r in runs.values()) > self.memory_budget:
            del runs[next(iter(runs))]  # of the least recently used batch
        return torch.cat(losses)

    def _incremental(self, batch: Batch, edges: Tensor) -> IncrementalRun:
        """A run at these edges: the existing one, shrunk to them, if that is less work."""
        run = self._incremental_runs.get(batch)
        if run is None or not run.shrink(edges):
            run = None
            self._incremental_runs.pop(batch, None)  # free its memory before taking more
            self._count(batch)
            reference, answers = self._ablated(batch), (batch.examples, batch.positions)
            run = IncrementalRun(self.model, batch.clean, edges, reference, answers, batch.lengths)
            self._incremental_runs[batch] = run
        return run

    def edge_gradients(
        self,
        batch: Batch,
        objective: Objective,
        direction: Tensor | None = None,
        inputs: Tensor | None = None,
        rules: GradientRules | None = None,
        replaced: tuple[slice, Tensor] | None = None,
    ) -> Tensor:
        model = self.model
        if rules is not None:
            model = MaskedModel(replace(model.architecture, rules=rules), model.weights)
        if direction is None:
            reference = self.reference(batch)
        self._count(batch)
        self.counter.backwards += 1
        return model.edge_gradients(
            batch.clean,
            lambda logits: self.loss(objective, logits, batch),
            lambda senders: reference - senders if direction is None else direction.expand_as(senders),
            inputs,
            (batch.examples, batch.positions),
            batch.lengths,
            replaced,
        )

    def progress(self, done: int, total: int, note: str = "") -> None:
        if self._progress:
            before = _clocks()
            self._progress(done, total, note)
            after = _clocks()
            for name in after:  # reporting is not charged to the method, now or when resumed
                self._began[name] += after[name] - before[name]

    @torch.no_grad()
    def _empty(self, batch: Batch) -> Tensor:
        """The empty circuit's logits, cached."""
        if batch in self._emptied:
            return self._emptied[batch]
        none = torch.zeros(self.graph.exists.shape, dtype=self.model.dtype, device=self.model.device)
        return self._keep(self._emptied, batch, self.run(batch, none))

    def _ablated(self, batch: Batch) -> Tensor | None:
        """The reference activations, cached while they fit in the memory budget."""
        if batch in self._references:
            return self._references[batch]
        if self._reference is None:
            self._reference = self._make_reference(self.batches)
            if self._reference.ablation.from_discovery:
                for each in self.batches:
                    self._count(each)
        if not self._reference.ablation.from_corrupted:
            return self._reference.constant
        self._count(batch)
        activations = self._reference.of(self.model, batch.corrupted, batch.lengths)
        assert activations is not None
        return self._keep(self._references, batch, activations)

    def _keep(self, cache: dict[Batch, Tensor], batch: Batch, tensor: Tensor) -> Tensor:
        """Caches what was computed for a batch, if all caches still fit in the memory budget."""
        if self._cached_bytes + tensor.nbytes <= self.memory_budget:
            self._cached_bytes += tensor.nbytes
            cache[batch] = tensor
        return tensor

    def begin(self) -> None:
        """Starts the clocks of discovery."""
        self._began = _clocks()

    def spent(self) -> dict[str, float | int]:
        """What discovery has taken so far, including a killed run that this one resumes."""
        now = _clocks()
        clocks = {name: now[name] - self._began[name] + self.charged[name] for name in now}
        return {**clocks, "sized": self._sized, **asdict(self.counter)}

    def _charge(self, spent: Mapping[str, float | int]) -> None:
        """Charges the work of a killed run."""
        self.charged = {name: float(spent[name]) for name in self.charged}
        self._sized = float(spent["sized"])
        for name in asdict(self.counter):
            setattr(self.counter, name, getattr(self.counter, name) + int(spent[name]))

    def _count(self, batch: Batch) -> None:
        self.counter.forwards += 1
        self.counter.tokens += batch.clean.numel()

    def _count_backward(self, grad: Tensor) -> None:
        self.counter.backwards += 1


def _clocks() -> dict[str, float]:
    return {"seconds": time.perf_counter(), "cpu_seconds": time.process_time()}
