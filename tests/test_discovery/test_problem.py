"""The losses that methods are handed: precise where they are small, finite, and those of masked runs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bench.engine.masked_model import MaskedModel
from problems import problem


def test_kl_is_precise_where_it_is_small(gpt2: MaskedModel) -> None:
    """In float32 a plain sum of p log(p/q) is off by its rounding, a thousand times what counts here."""
    p = problem(gpt2.to(dtype=torch.float32))
    (batch,) = p.batches
    full = p.clean(batch)
    generator = torch.Generator().manual_seed(0)
    near = full + 1e-4 * torch.randn((3, *full.shape), generator=generator)
    log_p = full.double().log_softmax(-1)
    exact = (log_p.exp() * (log_p - near.double().log_softmax(-1))).sum((-2, -1))
    ours = p.loss("kl", near, batch)
    assert ours.shape == (3,)
    torch.testing.assert_close(ours.double(), exact, rtol=0.01, atol=1e-11)
    torch.testing.assert_close(ours[0], p.loss("kl", near[0], batch), rtol=1e-5, atol=0)


def test_kl_is_finite_where_the_full_model_is_certain(gpt2: MaskedModel) -> None:
    """A token that the full model excludes and a circuit expects: its share of the KL is all of q."""
    p = problem(gpt2.to(dtype=torch.float32))
    (batch,) = p.batches
    certain = torch.zeros_like(p.clean(batch))
    certain[:, 0] = 200.0
    p._clean[batch] = certain
    flat = torch.zeros_like(certain).requires_grad_()
    kl = p.loss("kl", flat, batch)
    assert kl.item() == pytest.approx(len(batch) * math.log(certain.shape[1]), rel=1e-5)
    kl.backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


@pytest.mark.parametrize("objective", ["kl", "difference"])
def test_losses_of_a_chain_are_those_of_masked_runs(gpt2: MaskedModel, objective: Any) -> None:
    p = problem(gpt2)
    (batch,) = p.batches
    kept, row = p.graph.exists.clone(), len(p.graph.receivers) - 1
    before = p.counter.forwards
    losses = p.losses_without(objective, batch, kept, row, [4, 1, 2])
    assert p.counter.forwards - before >= 3
    for i, loss in enumerate(losses):
        kept[row, [4, 1, 2][i]] = False
        slow = p.loss(objective, p.run(batch, kept.double()), batch)
        assert float(loss) == pytest.approx(float(slow), abs=1e-10)


@pytest.mark.parametrize("budget", [2**32, 1])
@pytest.mark.parametrize("objective", ["kl", "difference"])
def test_losses_of_edges_alone_are_those_of_masked_runs(
    gpt2: MaskedModel, objective: Any, budget: int
) -> None:
    """Of every receiver in turn, all at once or one by one; a chain asked for in between is right as well."""
    p = problem(gpt2)
    p.memory_budget = budget
    (batch,) = p.batches
    kept = p.graph.exists.clone()
    kept[-1, 1] = False
    for row in range(len(kept)):
        columns = kept[row].nonzero()[:, 0].tolist()
        before = p.counter.forwards
        losses = p.losses_without_each(objective, batch, kept, row, columns)
        assert p.counter.forwards - before >= len(columns)
        for column, loss in zip(columns, losses, strict=True):
            fewer = kept.clone()
            fewer[row, column] = False
            slow = p.loss(objective, p.run(batch, fewer.double()), batch)
            assert float(loss) == pytest.approx(float(slow), abs=1e-10)
        both = kept.clone()
        both[row, columns[:2]] = False
        (*_, chain) = p.losses_without(objective, batch, kept, row, columns[:2])
        slow = p.loss(objective, p.run(batch, both.double()), batch)
        assert float(chain) == pytest.approx(float(slow), abs=1e-10)


def test_what_telling_progress_takes_is_not_the_method_s(
    gpt2: MaskedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it in what a checkpoint says was spent: whoever listens may run the model to measure it."""
    now = 0.0

    def listens(done: int, total: int, note: str) -> None:
        nonlocal now
        now += 4.0

    monkeypatch.setattr("bench.discovery.problem._clocks", lambda: {"seconds": now, "cpu_seconds": now / 2})
    p = problem(gpt2)
    p._progress = listens
    p.begin()
    for step in range(3):
        now += 1.0
        p.progress(step, 3)
    assert now == 15.0
    assert (p.spent()["seconds"], p.spent()["cpu_seconds"]) == (3.0, 1.5)
