"""Edges knocked out: every stored number against the whole masked forward."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.conformance.prompts import batches_of, ragged_examples
from bench.engine.ablation import ABLATIONS, AblationName, make_reference
from bench.engine.circuit import Circuit
from bench.engine.masked_model import MaskedModel
from bench.scoring.evaluate import RawOutputs, run_circuits
from bench.scoring.knockouts import (
    PATHS,
    SETS,
    KnockOuts,
    first_unseen,
    is_testable,
    knock_out,
    random_path,
)
from bench.scoring.measures import LOGIT_DIFF
from bench.scoring.metrics import outputs_of
from methods.base import Batch
from methods.random_edges import connected
from tiny_models import TRACR, close, random_model, seeded

PROMPTS = 7
HELD_OUT = torch.arange(PROMPTS) % 3 > 0


def circuit_of(model: MaskedModel, edges: int) -> Circuit:
    """A random one, some of whose edges lead nowhere."""
    kept = connected(model.graph, edges - 3, seeded("circuit")) > 0
    free = (model.graph.exists & ~kept).nonzero()
    for row, column in free[torch.randperm(len(free), generator=seeded("more"))[:3]].tolist():
        kept[row, column] = True
    return Circuit(model.graph, kept)


class Bench:
    """A model, some prompts, and what full, empty and one circuit say to them."""

    def __init__(self, model: MaskedModel, ablation: AblationName, weights: bool = False) -> None:
        self.model = model
        examples = ragged_examples(PROMPTS, model.architecture.d_vocab, candidates=3)
        self.batches = batches_of(model, examples, 3)
        self.reference = make_reference(model, ablation, self.batches, one_length=False)
        self.circuit = circuit_of(model, 12)
        if weights:
            masks = {n: torch.rand(s, generator=seeded(n)) < 0.8 for n, s in model.matrices.items()}
            self.circuit = Circuit(model.graph, self.circuit.kept, masks)
        template = torch.arange(PROMPTS)
        self.raw: RawOutputs = run_circuits(
            model, self.batches, template, {"it": self.circuit}, self.reference, held_out=HELD_OUT
        )

    def knocked(self, **circuits: Circuit) -> dict[str, KnockOuts]:
        named = circuits or {"it": self.circuit}
        return knock_out(self.model, self.batches, self.raw, named, self.reference, LOGIT_DIFF)

    def slow(self, kept: Tensor, weights: bool = True) -> tuple[Tensor, Tensor]:
        """KL and m at the answers of unseen templates."""
        parts = []
        for batch in self.batches:
            at = (batch.examples, batch.positions)
            reference = self.reference.of(self.model, batch.corrupted, batch.lengths)
            masks = self.circuit.weights if weights else {}
            full = self.model.run(batch.clean, answers=at, lengths=batch.lengths)
            logits = self.model.run(batch.clean, kept.double(), reference, masks, at, batch.lengths)
            outputs = outputs_of(logits, full, batch.candidates)
            m = LOGIT_DIFF.of(outputs.candidate_logits, outputs.log_z, batch.correct)
            parts.append(torch.stack([outputs.kl, m]))
        kl, m = torch.cat(parts, 1)[:, HELD_OUT]
        return kl, m


@pytest.mark.parametrize("weights", [False, True], ids=["edges", "weights"])
@pytest.mark.parametrize("kind", ["causal", "both ways"])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_each_edge_alone(tiny: MaskedModel, kind: str, ablation: AblationName, weights: bool) -> None:
    bench = Bench(tiny if kind == "causal" else random_model(TRACR), ablation, weights)
    found = bench.knocked()["it"]
    assert found.answers.tolist() == HELD_OUT.nonzero()[:, 0].tolist()
    assert len(found.removed) == len(bench.circuit)
    for (row, column), kl in zip(bench.circuit.kept.nonzero().tolist(), found.removed, strict=True):
        fewer = bench.circuit.kept.clone()
        fewer[row, column] = False
        close(kl, bench.slow(fewer)[0])


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_random_paths_and_sets(tiny: MaskedModel, ablation: AblationName) -> None:
    """The same draws, drawn here as they are there."""
    bench = Bench(tiny, ablation)
    kept, graph = bench.circuit.kept, bench.model.graph
    found = bench.knocked()["it"]
    assert (len(found.inflated), len(found.circuit_m)) == (PATHS, SETS)
    rng = np.random.default_rng(0)
    for inflated, deflated in zip(found.inflated, found.deflated, strict=True):
        path = random_path(graph, kept, rng)
        assert path is not None
        close(inflated, bench.slow(kept | path)[0])
        row, column = path.nonzero()[rng.integers(int(path.sum()))].tolist()
        fewer = kept | path
        fewer[row, column] = False
        close(deflated, bench.slow(fewer)[0])
    for chosen, circuit_m, model_m in zip(
        rng.random((SETS, len(bench.circuit))) < 0.5, found.circuit_m, found.model_m, strict=True
    ):
        knocked = torch.zeros_like(kept)
        knocked[kept] = torch.from_numpy(chosen)
        close(circuit_m, bench.slow(kept & ~knocked)[1])
        close(model_m, bench.slow(graph.exists & ~knocked)[1])


def test_the_model_is_knocked_out_with_whole_weights(tiny: MaskedModel) -> None:
    bench = Bench(tiny, "zero", weights=True)
    found = bench.knocked()["it"]
    rng = np.random.default_rng(0)
    for _ in range(PATHS):
        path = random_path(bench.model.graph, bench.circuit.kept, rng)
        assert path is not None
        rng.integers(int(path.sum()))
    knocked = torch.zeros_like(bench.circuit.kept)
    knocked[bench.circuit.kept] = torch.from_numpy(rng.random((SETS, len(bench.circuit)))[0] < 0.5)
    close(found.circuit_m[0], bench.slow(bench.circuit.kept & ~knocked)[1])
    close(found.model_m[0], bench.slow(bench.model.graph.exists & ~knocked, weights=False)[1])


def test_a_random_path_leads_from_the_input_to_the_logits(tiny: MaskedModel) -> None:
    """With the circuit's own edges, where it lacks none of a receiver's; every edge added is on the way."""
    rng = np.random.default_rng(0)
    graph = tiny.graph
    empty = Circuit.empty(graph)
    lengths = set()
    for _ in range(50):
        path = random_path(graph, empty.kept, rng)
        assert path is not None
        assert Circuit(graph, path).effective("resample") == Circuit(graph, path)
        lengths.add(int(path.sum()))
    assert len(lengths) > 2
    most = graph.exists.clone()
    most[2, 0] = False
    for _ in range(50):
        path = random_path(graph, most, rng)
        assert path is None or path.nonzero().tolist() == [[2, 0]]
    assert random_path(graph, graph.exists, rng) is None


def test_too_small_and_too_large_circuits_are_left_alone(tiny: MaskedModel) -> None:
    bench = Bench(tiny, "resample")
    one = Circuit.of(tiny.graph, ["embed->logits"])
    assert [is_testable(n) for n in (0, 1, 2, 100, 101)] == [False, False, True, True, False]
    assert bench.knocked(one=one, none=Circuit.empty(tiny.graph)) == {}
    assert set(bench.knocked(one=one, it=bench.circuit)) == {"it"}


def test_what_is_stored_is_read_again(tiny: MaskedModel) -> None:
    found = Bench(tiny, "resample").knocked()["it"]
    tensors = found.tensors("size 0.01")
    again = KnockOuts.from_tensors(tensors, "size 0.01")
    assert again is not None
    for name in ("removed", "inflated", "deflated", "circuit_m", "model_m"):
        assert tensors[f"knockouts.size 0.01.{name}"].dtype == torch.float32
        assert torch.allclose(getattr(again, name), getattr(found, name), rtol=1e-6)
    assert again.answers.equal(found.answers)
    assert KnockOuts.from_tensors(tensors, "size 0.1") is None


def test_the_first_prompts_of_unseen_templates(tiny: MaskedModel) -> None:
    """Across batches, template by template; all where none is held out; of several answers a prompt, all."""
    bench = Bench(tiny, "zero")
    template = torch.tensor([0, 1, 1, 0, 2, 2, 0])
    answers = replace(bench.raw.answers, template=template, held_out=template > 0)
    chosen, places = first_unseen(bench.batches, answers, (1, 9))
    assert places.tolist() == [1, 4]
    assert [len(batch) for batch in chosen] == [1, 1]
    assert chosen[1].clean.tolist() == bench.batches[1].clean[1:2].tolist()
    assert first_unseen(bench.batches, answers, (3, 9))[1].tolist() == [1, 2, 4]
    assert first_unseen(bench.batches, answers, (1, 1))[1].tolist() == [1]
    none = replace(answers, held_out=torch.zeros(PROMPTS, dtype=torch.bool))
    assert first_unseen(bench.batches, none, (4, 9))[1].tolist() == [0, 1, 2, 4]
    several = _with_two_answers(bench.batches[0])
    answers = replace(
        bench.raw.answers,
        template=torch.tensor([0, 0, 1, 1, 2, 2]),
        held_out=torch.tensor([False, False, True, True, True, True]),
    )
    (only,), places = first_unseen([several], answers, (1, 1))
    assert places.tolist() == [2, 3]
    assert (only.examples.tolist(), len(only)) == ([0, 0], 1)
    assert only.positions.tolist() == several.positions[2:4].tolist()


def _with_two_answers(batch: Batch) -> Batch:
    return Batch(
        batch.clean, batch.corrupted, batch.lengths, torch.arange(6) // 2,
        torch.tensor([0, 1, 1, 2, 0, 2]), batch.candidates.repeat_interleave(2, 0),
        batch.correct.repeat_interleave(2, 0),
    )  # fmt: skip
