"""The learned ranking: its mask and its steps against slow definitions, and runs by what they promise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor

from bench.discovery.problem import BenchProblem
from bench.engine.ablation import ABLATIONS, AblationName
from bench.engine.masked_model import MaskedModel
from methods.learned_ranking import LearnedRanking
from methods.training.parts import Rounds, parts_of
from methods.training.soft_top_k import soft_top_k
from problems import assert_alike, killed_at, problem

QUICK = LearnedRanking(steps=8, examples=3, rate=0.3)
"""Far too short to find anything."""


# ---- the mask


@pytest.mark.parametrize("k", [0.3, 1.0, 2.5, 7.0, 8.9])
@pytest.mark.parametrize("temperature", [0.01, 0.5, 4.0])
def test_a_mask_adds_up_and_keeps_the_order(k: float, temperature: float) -> None:
    scores = torch.tensor([3.0, -40.0, 0.5, 0.0, 50.0, 0.1, -1.0, 2.0, 2.5]).double()
    mask = soft_top_k(scores, k, temperature)
    assert float(mask.sum()) == pytest.approx(k, abs=1e-9)
    assert (mask[scores.argsort()].diff() >= 0).all()
    tied = soft_top_k(torch.zeros(9).double(), k, temperature)
    torch.testing.assert_close(tied, torch.full((9,), k / 9).double())


def test_a_hard_mask_is_the_best_ones() -> None:
    scores = torch.randn(50, generator=torch.Generator().manual_seed(0)).double()
    best = torch.zeros(50).double()
    best[scores.topk(7).indices] = 1
    torch.testing.assert_close(soft_top_k(scores, 7.0, 1e-4), best)


def test_its_gradient_is_finite_differences() -> None:
    scores = torch.randn(6, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    for k in (0.5, 2.0, 5.5):
        assert torch.autograd.gradcheck(lambda s, k=k: soft_top_k(s, k, 0.7), (scores,))


# ---- the training


def slow_scores(p: BenchProblem, method: LearnedRanking, steps: int) -> Tensor:
    """Step after step from the definition: the threshold by a root finder, its slope by autograd."""
    exists = p.graph.exists
    scores = torch.zeros(p.graph.n_edges, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=method.rate)
    random = torch.Generator().manual_seed(p.seed)
    rounds = Rounds(parts_of(p.batches, method.examples), random)
    for _ in range(steps):
        share = float(torch.rand((), generator=random))
        k = math.exp(share * math.log(len(scores)))
        batch = rounds.next()
        mask = torch.zeros(exists.shape, dtype=torch.float64)
        mask[exists] = slow_mask(scores, k, method.temperature)
        full, circuit = p.run(batch).log_softmax(-1).detach(), p.run(batch, mask).log_softmax(-1)
        optimizer.zero_grad()
        ((full.exp() * (full - circuit)).sum() / len(batch)).backward()
        optimizer.step()
    found = torch.zeros(exists.shape, dtype=torch.float64)
    found[exists] = scores.detach()
    return found


def slow_mask(scores: Tensor, k: float, temperature: float) -> Tensor:
    fixed = scores.detach()

    def excess(t: float) -> float:
        return float(((fixed - t) / temperature).sigmoid().sum()) - k

    at = brentq(excess, float(fixed.min()) - 50, float(fixed.max()) + 50, xtol=1e-14, rtol=1e-14)
    open_ = ((fixed - at) / temperature).sigmoid()
    slope = open_ * (1 - open_)
    threshold = at + (slope * (scores - fixed)).sum() / slope.sum()
    return ((scores - threshold) / temperature).sigmoid()


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_scores_are_the_slow_ones(tiny: MaskedModel, ablation: AblationName) -> None:
    p = problem(tiny, ablation)
    found = QUICK.discover(p).scores
    assert found is not None
    expected = slow_scores(problem(tiny, ablation), QUICK, QUICK.steps)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    assert float(found[p.graph.exists].abs().min()) > 0


def test_a_killed_training_goes_on(tiny: MaskedModel, saves_at_every_call: None, tmp_path: Path) -> None:
    """As if nothing had been."""
    whole = QUICK.discover(problem(tiny))
    for call in (1, 5, QUICK.steps):
        path = tmp_path / f"{call}.safetensors"
        with pytest.raises(KeyboardInterrupt):
            killed_at(call, QUICK, problem(tiny), path)
        assert_alike(killed_at(0, QUICK, problem(tiny), path), whole)


def test_a_step_is_a_forward_and_a_backward(tiny: MaskedModel) -> None:
    """Beside the full model and the corrupted run of each part."""
    p = problem(tiny, unaided=False)
    LearnedRanking(steps=12, examples=3).discover(p)
    assert p.counter.forwards == 12 + 2 * 2
    assert p.counter.backwards == 12


@pytest.mark.parametrize(("sampling", "share"), [("log", 0.5), ("uniform", 0.01)])
def test_numbers_of_edges_are_drawn(sampling: Literal["log", "uniform"], share: float) -> None:
    random, method = torch.Generator().manual_seed(0), LearnedRanking(sampling=sampling)
    drawn = [method._edges_of_step(10_000, random) for _ in range(2000)]
    assert 1 <= min(drawn) <= max(drawn) <= 10_000
    assert sum(k < 100 for k in drawn) / 2000 == pytest.approx(share, abs=0.04)
    assert sum(k < 100 for k in drawn) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps and examples must be at least 1"),
        ({"rate": 0.0}, "rate must be above 0 and finite, not 0"),
        ({"temperature": math.inf}, "temperature must be above 0 and finite, not inf"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LearnedRanking(**options)  # type: ignore[arg-type]
