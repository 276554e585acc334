"""Runs of a circuit with edges knocked out, from which its tests are computed.

Knocked out are each edge alone; one edge of a random path that was added, to see what an idle edge costs; and
random sets of its edges, from both the circuit and the model (Wang et al. 2023, arXiv:2211.00593, section
4.3, whose sets are of nodes). It takes hundreds of runs, so each is on one prompt per template that no method
saw, within the bounds of `PROMPTS`; if no template is held out, on all templates alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bench.engine.ablation import Reference
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.engine.incremental import IncrementalRun
from bench.engine.masked_model import MaskedModel
from bench.scoring.evaluate import EMPTY, FULL, RawOutputs, joined
from bench.scoring.measures import Measure
from bench.scoring.metrics import Answers, Outputs, outputs_of
from methods.base import Batch

PROMPTS = (12, 50)
"""Number of prompts on which edges are knocked out: at least, even with fewer templates, and at most."""
PATHS = 40
"""Number of random paths that are added to a circuit."""
TRIES = 5
"""Most draws per path wanted, as some paths are already in the circuit."""
SETS = 50
"""Random sets of edges that are knocked out together."""
FEWEST_EDGES, MOST_EDGES = 2, 100
"""Edges of a circuit that is tested: with fewer there is no set to choose, more take too long."""


@dataclass(frozen=True)
class KnockOuts:
    """Knock-outs of one circuit, by answer: the distance to the model (`Measure.apart`), and the metric m."""

    answers: Int[Tensor, " answer"]
    """Indices among the answers of the evaluation."""
    removed: Float[Tensor, "edge answer"]
    """How far the circuit is from the model without each of its edges, in order of computation."""
    inflated: Float[Tensor, "draw answer"]
    """How far with a random path added."""
    deflated: Float[Tensor, "draw answer"]
    """How far after one added edge is removed again."""
    circuit_m: Float[Tensor, "set answer"]
    """m of the circuit without a random set of its edges."""
    model_m: Float[Tensor, "set answer"]
    """m of the model without the same set."""

    def tensors(self, circuit: str) -> dict[str, Tensor]:
        """Flat, to be stored; in single precision, as there are many; none is shared with another circuit."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            f"knockouts.{circuit}.{n}": t.float() if t.is_floating_point() else t.clone()
            for n, t in named.items()
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], circuit: str) -> KnockOuts | None:
        """Reads what `tensors` returned for a circuit; None if nothing was knocked out of it.

        Raises:
            KeyError: a part is missing.
        """
        if f"knockouts.{circuit}.answers" not in tensors:
            return None
        parts = {f.name: tensors[f"knockouts.{circuit}.{f.name}"] for f in fields(cls)}
        return cls(**{n: part.double() if part.is_floating_point() else part for n, part in parts.items()})


def is_testable(edges: int) -> bool:
    """Whether a circuit has neither too few nor too many edges."""
    return FEWEST_EDGES <= edges <= MOST_EDGES


def knock_out(
    model: MaskedModel,
    batches: Sequence[Batch],
    raw: RawOutputs,
    circuits: Mapping[str, Circuit],
    reference: Reference,
    measure: Measure,
    seed: int = 0,
) -> dict[str, KnockOuts]:
    """Knocks edges out of each circuit that `is_testable`.

    Args:
        model: the circuits' model.
        batches: the evaluation prompts.
        raw: outputs of full, empty and the circuits at their answers.
        circuits: by their names there.
        reference: what removed edges carry.
        measure: the task's difference metric.
        seed: of paths and sets.
    """
    tested = {name: circuit for name, circuit in circuits.items() if is_testable(len(circuit))}
    if not tested:
        return {}
    lab = _Lab(model, *first_unseen(batches, raw.answers), raw, reference, measure)
    return {name: lab.knock_out(circuit, seed) for name, circuit in tested.items()}


def first_unseen(
    batches: Sequence[Batch], answers: Answers, prompts: tuple[int, int] = PROMPTS
) -> tuple[list[Batch], Int[Tensor, " answer"]]:
    """One prompt of each template that no method saw, and the indices of their answers.

    Args:
        batches: of all prompts.
        answers: to all of them; if no template is held out, every one counts.
        prompts: how many at least, even with fewer templates, and at most.
    """
    wanted = answers.held_out if answers.held_out.any() else torch.ones_like(answers.held_out)
    starts = torch.tensor([0, *(len(batch) for batch in batches)]).cumsum(0)
    of = torch.cat([start + b.examples.cpu() for start, b in zip(starts, batches, strict=False)])
    turns: Counter[int] = Counter()
    turn = {}
    for example, template in dict(
        zip(of[wanted].tolist(), answers.template[wanted].tolist(), strict=True)
    ).items():
        turn[example] = turns[template]
        turns[template] += 1
    n = min(max(prompts[0], len(turns)), prompts[1])
    chosen = torch.zeros(int(starts[-1]), dtype=torch.bool)
    chosen[sorted(turn, key=lambda example: (turn[example], example))[:n]] = True
    parts = zip(batches, chosen.split([len(batch) for batch in batches]), strict=True)
    found = [_some(batch, part.to(batch.clean.device)) for batch, part in parts if part.any()]
    return found, chosen[of].nonzero()[:, 0]


def _some(batch: Batch, chosen: Bool[Tensor, " batch"]) -> Batch:
    answers, place = chosen[batch.examples], chosen.cumsum(0) - 1
    return Batch(
        batch.clean[chosen], batch.corrupted[chosen], batch.lengths[chosen], place[batch.examples[answers]],
        batch.positions[answers], batch.candidates[answers], batch.correct[answers],
    )  # fmt: skip


def random_path(
    graph: EdgeGraph, kept: Bool[Tensor, "receivers senders"], rng: np.random.Generator
) -> Bool[Tensor, "receivers senders"] | None:
    """The edges of a random path from an embedding to the logits that a circuit lacks; None if it lacks none.

    It is drawn backwards from the logits: each edge that is read there is equally likely, among those that
    the circuit lacks if there are any.

    Args:
        graph: the circuit's.
        kept: its edges.
        rng: draws the path.
    """
    added = torch.zeros_like(kept)
    rows = [len(graph.receivers) - 1]
    while rows:
        options = graph.exists[rows]
        fresh = options & ~kept[rows]
        at, column = _pick(fresh if fresh.any() else options, rng)
        added[rows[at], column] = True
        rows = graph.owners[:, column].nonzero()[:, 0].tolist()
    added &= ~kept
    return added if added.any() else None


def _pick(options: Bool[Tensor, "row column"], rng: np.random.Generator) -> list[int]:
    """The place of a random True entry."""
    found = options.nonzero()
    return list(found[rng.integers(len(found))].tolist())


class _Lab:
    """Some prompts, with the full model's outputs on them and what removed edges carry."""

    def __init__(
        self,
        model: MaskedModel,
        batches: Sequence[Batch],
        answers: Int[Tensor, " answer"],
        raw: RawOutputs,
        reference: Reference,
        measure: Measure,
    ) -> None:
        self.model, self.batches, self.answers = model, batches, answers
        self.ablation, self.measure = reference.ablation.name, measure
        self.asked = Answers(*(getattr(raw.answers, f.name)[answers] for f in fields(Answers)))
        self.full, self.empty = (_at(raw.runs[name], answers) for name in (FULL, EMPTY))
        self.references = [reference.of(model, batch.corrupted, batch.lengths) for batch in batches]
        self.logits = [model.run(b.clean, answers=_where(b), lengths=b.lengths) for b in batches]
        self._said: dict[bytes, Outputs] = {}

    @torch.no_grad()
    def knock_out(self, circuit: Circuit, seed: int) -> KnockOuts:
        self._said.clear()
        rng = np.random.default_rng(seed)
        inflated: list[Tensor] = []
        deflated: list[Tensor] = []
        for _ in range(TRIES * PATHS):
            if len(inflated) == PATHS:
                break
            if (path := random_path(circuit.graph, circuit.kept, rng)) is None:
                continue  # the circuit holds most of its graph's edges
            larger = circuit.kept | path
            row, column = _pick(path, rng)
            inflated.append(self._apart(self._run(larger, circuit.weights)))
            deflated.append(self._apart(self._run(_without(larger, row, column), circuit.weights)))
        sets = torch.from_numpy(rng.random((SETS, len(circuit))) < 0.5)
        circuit_m, model_m = [], []
        for chosen in sets:
            knocked = torch.zeros_like(circuit.kept)
            knocked[circuit.kept] = chosen
            circuit_m.append(self._m(self._run(circuit.kept & ~knocked, circuit.weights)))
            model_m.append(self._m(self._run(circuit.graph.exists & ~knocked, {})))
        return KnockOuts(
            self.answers,
            self._removed(circuit),
            *map(self._stacked, (inflated, deflated, circuit_m, model_m)),
        )

    def _stacked(self, rows: Sequence[Tensor]) -> Float[Tensor, "row answer"]:
        return torch.stack([*rows]) if rows else torch.zeros(0, len(self.answers), dtype=torch.float64)

    def _removed(self, circuit: Circuit) -> Float[Tensor, "edge answer"]:
        """By incremental runs, which do not support pruned weights; an edge without effect needs none."""
        effective = circuit.effective(self.ablation).kept
        whole = self._apart(self._run(circuit.kept, circuit.weights))
        runs = [] if circuit.weights else [
            IncrementalRun(self.model, batch.clean, effective, reference, _where(batch), batch.lengths)
            for batch, reference in zip(self.batches, self.references, strict=True)
        ]  # fmt: skip
        rows = []
        for row, column in circuit.kept.nonzero().tolist():
            if not effective[row, column]:
                rows.append(whole)
            elif runs:
                rows.append(self._apart(self._of([run.without(row, [column])[0] for run in runs])))
            else:
                rows.append(self._apart(self._run(_without(circuit.kept, row, column), circuit.weights)))
        return torch.stack(rows)

    def _run(self, kept: Bool[Tensor, "receivers senders"], weights: Mapping[str, Tensor]) -> Outputs:
        """The model's outputs with some edges kept; they are cached."""
        effective = Circuit(self.model.graph, kept, weights).effective(self.ablation).kept
        key = np.packbits(effective.numpy()).tobytes() + bytes([bool(weights)])
        if key not in self._said:
            mask = effective.to(self.model.device, self.model.dtype)
            self._said[key] = self._of([
                self.model.run(batch.clean, mask, reference, weights, _where(batch), batch.lengths)
                for batch, reference in zip(self.batches, self.references, strict=True)
            ])  # fmt: skip
        return self._said[key]

    def _of(self, logits: Sequence[Tensor]) -> Outputs:
        each = zip(logits, self.logits, self.batches, strict=True)
        return joined([outputs_of(own, full, batch.candidates) for own, full, batch in each])

    def _apart(self, run: Outputs) -> Float[Tensor, " answer"]:
        return self.measure.apart(run, self.full).double()

    def _m(self, run: Outputs) -> Float[Tensor, " answer"]:
        return self.measure.each(run, self.full, self.empty, self.asked).double()


def _at(outputs: Outputs, answers: Int[Tensor, " answer"]) -> Outputs:
    return Outputs(*(getattr(outputs, f.name)[answers] for f in fields(Outputs)))


def _where(batch: Batch) -> tuple[Tensor, Tensor]:
    return batch.examples, batch.positions


def _without(kept: Tensor, row: int, column: int) -> Tensor:
    fewer = kept.clone()
    fewer[row, column] = False
    return fewer
