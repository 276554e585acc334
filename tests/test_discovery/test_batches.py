"""What a method is handed: batches, losses from their definitions, and nothing that hangs on the batching."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bench.conformance.prompts import ragged_examples
from bench.discovery.batches import make_batches
from bench.discovery.problem import BenchProblem
from bench.engine.ablation import ABLATIONS, AblationName
from bench.engine.masked_model import MaskedModel
from problems import problem
from tiny_models import TRACR, close, random_model, seeded


def made(
    model: MaskedModel, ablation: AblationName, per_batch: int, measure: str = "logit_diff"
) -> BenchProblem:
    examples = ragged_examples(7, model.architecture.d_vocab, candidates=4)
    return problem(model, ablation, examples=examples, measure=measure, per_batch=per_batch)


def test_batches_hold_every_example_in_order(tiny: MaskedModel) -> None:
    examples = ragged_examples(150, 50, candidates=3)
    batches = make_batches(tiny, examples)
    assert [len(batch) for batch in batches] == [64, 64, 22]
    for name in ("lengths", "positions", "candidates", "correct"):
        joined = torch.cat([getattr(batch, name) for batch in batches])
        assert np.array_equal(joined.numpy(), getattr(examples, name))
    for name in ("clean", "corrupted"):
        rows = [row for batch in batches for row in getattr(batch, name)]
        for row, length, wanted in zip(rows, examples.lengths, getattr(examples, name), strict=True):
            assert row[:length].tolist() == wanted[:length].tolist()


@pytest.mark.parametrize("kind", ["causal", "both ways"])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_nothing_hangs_on_batches_and_padding(tiny: MaskedModel, kind: str, ablation: AblationName) -> None:
    """Three examples at a time, padded to the longest, and one by one, without padding."""
    model = tiny if kind == "causal" else random_model(TRACR)
    soft = torch.rand(model.graph.exists.shape, generator=seeded("mask"), dtype=torch.float64)
    kept = (soft < 0.8) & model.graph.exists

    def told(p: BenchProblem) -> list[torch.Tensor]:
        values = []
        for objective in ("difference", "kl"):
            o: Any = objective
            parts = [[], [], [], [], [], []]  # type: ignore[var-annotated]
            for batch in p.batches:
                inside = torch.arange(batch.clean.shape[1]) < batch.lengths[:, None]
                reference = p.reference(batch).expand(-1, *batch.clean.shape, -1)
                parts[0].append(p.senders(batch)[:, inside].transpose(0, 1))
                parts[1].append(reference[:, inside].transpose(0, 1))
                parts[2].append(p.run(batch, soft))
                parts[3].append(p.loss(o, parts[2][-1], batch)[None])
                parts[4].append(p.losses_without(o, batch, kept, len(kept) - 1, [3, 1])[None])
                half = (p.senders(batch) + reference)[: p.graph.n_embed] / 2
                parts[5].append(p.edge_gradients(batch, o, inputs=half)[None])
            joined = [torch.cat(part) for part in parts]
            values += joined[:3] + [part.sum(0) for part in joined[3:]]
        return values

    for together, alone in zip(told(made(model, ablation, 3)), told(made(model, ablation, 1)), strict=True):
        close(together, alone, 1e-8)


@pytest.mark.parametrize("measure", ["logit_diff", "prob_diff"])
def test_the_difference_is_of_right_and_wrong_candidates(tiny: MaskedModel, measure: str) -> None:
    p = made(tiny, "zero", 64, measure)
    (batch,) = p.batches
    logits = p.clean(batch)
    total = 0.0
    for i in range(len(batch)):
        values = logits[i] if measure == "logit_diff" else logits[i].softmax(0)
        right, wrong = (values[batch.candidates[i][batch.correct[i] == side]] for side in (True, False))
        parts = (right.mean(), wrong.mean()) if measure == "logit_diff" else (right.sum(), wrong.sum())
        total -= float(parts[0] - parts[1])
    assert float(p.loss("difference", logits, batch)) == pytest.approx(total, rel=1e-9)


def test_the_direction_of_output_diff_is_held_fixed(tiny: MaskedModel) -> None:
    p = made(tiny, "zero", 64, "output_diff")
    (batch,) = p.batches
    full = p.clean(batch)
    empty = p.run(batch, torch.zeros(p.graph.exists.shape, dtype=torch.float64))
    leaf = (full + empty).requires_grad_()
    (gradient,) = torch.autograd.grad(p.loss("difference", leaf, batch), leaf)
    close(gradient, empty - full)
