"""Scores and stores what was found, in a process of its own that never ran a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bench.discovery.checked import notes_of
from bench.discovery.discover import cut
from bench.engine.ablation import AblationName, Reference
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.engine.masked_model import MaskedModel
from bench.progress import Progressed
from bench.runs.children import Child, Died, Limits, Line, OutOfMemory, OverLimit, reason_of
from bench.runs.discovering import HALF, Cost, Errand, Unfound, load_found
from bench.runs.experiment import Job, is_baseline
from bench.scoring.evaluate import ABSOLUTE, REFERENCES, SIGNED, RawOutputs, complement_of, rewired_of
from bench.scoring.knockouts import knock_out
from bench.scoring.metrics import CURVE_SHARES
from bench.scoring.rewired import rewired
from bench.store.record import Record
from bench.store.results import Run, Store, StrayOutputs, now
from bench.study import Study
from methods.base import Discovery

CURVED = 10
"""Number of random draws, the first ones, that have curves, which take most of a draw's time."""


@dataclass(frozen=True)
class Asked:
    """A job, the errand that was run for it, and the record that its run starts from."""

    job: Job
    errand: Errand
    record: Record


def score_apart(
    asked: Sequence[Asked],
    out: Path,
    limits: Limits,
    progress: Progressed | None,
    told: Callable[[str], None],
) -> Unfound | None:
    """Scores and stores what was found; returns None, or why there is nothing.

    Args:
        asked: jobs of one method on one study, each with the errand that was run for it.
        out: the results folder, absolute.
        limits: only that of memory applies.
        progress: called with its progress.
        told: called with messages for the user.

    Raises:
        UserError: a file cannot be read or written.
        Stopped: the user stopped the run.
    """
    limits = replace(limits, seconds=None)
    first = asked[0]

    def attempt(smaller: int) -> Unfound | None:
        with Child(_score, tuple(asked), out, smaller, limits=limits, log=first.errand.log) as child:
            for message in child.messages():
                match message["said"]:
                    case "progress" if progress:
                        progress(message["done"], message["total"], message["note"])
                    case "kept":
                        return None
                    case "unfound":
                        return Unfound("failed", message["reason"])
                    case "failed" if message["out_of_memory"]:
                        raise OutOfMemory(message["reason"])
                    case "failed":
                        return Unfound("failed", message["reason"], message["traceback"])
            raise Died(f"during scoring, {child.last_words()}")

    try:
        try:
            return attempt(1)
        except OutOfMemory as error:
            told(f"{first.job.method.text}, scoring: {error}: trying again with half the batch")
            return attempt(HALF)
    except (OverLimit, Died) as error:
        return Unfound("failed", str(error))


def _score(line: Line, asked: Sequence[Asked], out: Path, smaller: int) -> None:
    """Runs in the child process, where no method ever ran."""
    first = asked[0]
    torch.set_num_threads(first.errand.threads)
    study = first.job.study(smaller)
    line.spent("start-up")
    try:
        found = {each.errand.found: _Found.of(each, study.model) for each in asked}
    except (TypeError, ValueError) as error:
        return line.say("unfound", reason=reason_of(error))
    under: dict[AblationName, list[Asked]] = {}
    for each in asked:
        under.setdefault(each.job.dimensions.ablation, []).append(each)

    scored: list[AblationName] = []
    part = "random draws" if is_baseline(first.job.method) else "evaluation"

    def progress(done: int, total: int, note: str) -> None:
        line.say("progress", done=len(scored) * total + done, total=len(under) * total, note=note)

    for ablation, group in under.items():
        circuits = [found[each.errand.found] for each in group]
        reference = study.reference(ablation)
        runs = {f"{i} {name}": run for i, each in enumerate(circuits) for name, run in each.runs.items()}
        raw = study.outputs(runs, reference=reference, progress=progress)
        for i, (each, discovered) in enumerate(zip(group, circuits, strict=True)):
            own = {name: raw.runs[f"{i} {name}"] for name in discovered.runs}
            shared = {name: raw.runs[name] for name in REFERENCES}
            said = RawOutputs({**shared, **own}, raw.answers)
            line.spent(part)
            tests = _knocked_out(each.job, discovered, said, study, reference)
            line.spent("tests of circuits" if tests else part)
            try:
                _keep(each, discovered, said, tests, study, reference, out)
            except StrayOutputs as error:
                return line.say("unfound", reason=str(error))
        scored.append(ablation)
    line.spent(part)
    return line.say("kept")


@dataclass(frozen=True)
class _Found:
    """What a method found for a job, and the circuits that are run for it."""

    discovery: Discovery
    cost: Cost
    wanted: Mapping[float, Circuit]
    """The circuits of the requested sizes."""
    curves: Mapping[str, Mapping[float, Circuit]]
    """The circuits of a curve's shares, by the ranking that they are cut from."""
    nulls: Mapping[float, Circuit]
    """The requested circuits with some edges rewired."""

    @classmethod
    def of(cls, asked: Asked, model: MaskedModel) -> _Found:
        """Reads the file that the discovery left.

        Raises:
            TypeError, ValueError: it is not a discovery.
        """
        found, cost = load_found(asked.errand, model.graph, model.maskable)
        wanted = cut(model.graph, found, asked.job.sizes)
        generator = torch.Generator().manual_seed(asked.job.dimensions.method_seed)
        random = is_baseline(asked.job.method)  # such circuits are nulls themselves
        nulls = {} if random else {size: rewired(circuit, generator) for size, circuit in wanted.items()}
        curved = asked.job.curves and (not random or asked.job.dimensions.method_seed < CURVED)
        return cls(found, cost, wanted, curve_points(model.graph, found) if curved else {}, nulls)

    @property
    def named(self) -> dict[str, tuple[str, float, Circuit]]:
        """All circuits by name, each with its curve, if it is a point of one, and its size."""
        named = {f"size {size:g}": ("", size, circuit) for size, circuit in self.wanted.items()}
        return named | {
            f"{curve} {size:g}": (curve, size, circuit)
            for curve, points in self.curves.items()
            for size, circuit in points.items()
        }

    @property
    def runs(self) -> dict[str, Circuit]:
        """All circuits to run, by name, with complements and nulls of the requested ones."""
        runs = {name: circuit for name, (_, _, circuit) in self.named.items()}
        runs |= {complement_of(size): circuit.complement() for size, circuit in self.wanted.items()}
        return runs | {rewired_of(size): null for size, null in self.nulls.items()}


def curve_points(graph: EdgeGraph, found: Discovery) -> dict[str, dict[float, Circuit]]:
    """The circuits of every share of a curve, cut from the absolute and from the signed scores.

    Scores without a sign give only the absolute curve; without scores there is none. Neither requested sizes
    nor edges that the method named for them change a curve.

    Args:
        graph: the model's.
        found: what a method returned, checked.
    """
    absolute = found.scores if found.signed is None else found.signed.abs()
    return {
        name: cut(graph, Discovery(scores=scores, selection=found.selection), CURVE_SHARES)
        for name, scores in ((ABSOLUTE, absolute), (SIGNED, found.signed))
        if scores is not None
    }


def _keep(
    asked: Asked,
    found: _Found,
    raw: RawOutputs,
    tests: Mapping[str, Tensor],
    study: Study,
    reference: Reference,
    out: Path,
) -> None:
    """Stores a run.

    Raises:
        StrayOutputs: its full or empty outputs differ from those of its setting.
    """
    model, discovery, stem = study.model, found.discovery, asked.job.stem
    record = replace(
        asked.record,
        created=now(),
        ablation_policy=reference.policy,
        position_policy=study.data.evaluation.positions,
        prompt_start=study.data.evaluation.start,
        measure=study.data.measure.name,
        graph=model.graph.description,
        n_edges=model.graph.n_edges,
        shortest_path=model.graph.shortest_path,
        objective=discovery.objective,
        selection=discovery.selection if discovery.scores is not None else "",
        **asdict(found.cost),
        unaided_edges=None if discovery.unaided is None else int(discovery.unaided.sum()),
        trace=discovery.trace,
        notes=notes_of(discovery, model.graph),
        discovery_prompts=sum(map(len, study.data.discovery)),
        evaluation_prompts=sum(map(len, study.data.evaluation.batches)),
        repeated_prompts=study.data.evaluation.repeated_prompts,
        shared_prompts=asked.job.shared_prompts(),
        circuits={
            name: {
                "size_requested": size,
                "complement": None if curve else complement_of(size),
                "edges_rewired": 0 if curve else len(circuit) - len(circuit & found.nulls.get(size, circuit)),
                "curve": curve,
                "hash": circuit.digest,
                "edges_filled": 0 if curve else len(circuit) - _named_edges(discovery, size, circuit),
                **_sizes(circuit, asked.job.dimensions.ablation, model),
            }
            for name, (curve, size, circuit) in found.named.items()
        },
    )
    saved = {f"{size:g}": circuit for size, circuit in found.wanted.items()}
    if discovery.unaided is not None:
        saved["unaided"] = Circuit(model.graph, discovery.unaided)
    for name, circuit in saved.items():
        circuit.save(out / "circuits" / stem / f"{name}.safetensors")
    scores = {} if discovery.scores is None else {"discovery.scores": discovery.scores}
    Store(out).save(stem, Run(record, {**raw.tensors(), **tests, **scores}))


def _knocked_out(
    job: Job, found: _Found, raw: RawOutputs, study: Study, reference: Reference
) -> dict[str, Tensor]:
    """What the tests of the requested circuits are computed from; empty if they are not wanted."""
    if not job.circuit_tests:
        return {}
    circuits = {name: circuit for name, (curve, _, circuit) in found.named.items() if not curve}
    batches, measure = study.data.evaluation.batches, study.data.measure
    knocked = knock_out(study.model, batches, raw, circuits, reference, measure)
    return {key: part for name, each in knocked.items() for key, part in each.tensors(name).items()}


def _named_edges(discovery: Discovery, size: float, circuit: Circuit) -> int:
    """How many edges the method itself named for a size; all if the circuit is cut from the scores."""
    return int(discovery.edges[size].sum()) if size in discovery.edges else len(circuit)


def _sizes(circuit: Circuit, ablation: AblationName, model: MaskedModel) -> dict[str, int | float]:
    return {
        "edges_kept": len(circuit),
        "effective_edges": len(circuit.effective(ablation)),
        "edge_sparsity": circuit.sparsity,
        "nodes_kept": circuit.nodes_kept,
        "weight_density": circuit.weight_density(model.matrices),
        "effective_weight_density": circuit.effective_weight_density(ablation, model.matrices),
    }
