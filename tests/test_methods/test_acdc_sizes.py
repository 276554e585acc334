"""ACDC's search for the thresholds of all sizes, and how it goes on when it was killed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import bench.discovery.checkpoint
from bench.discovery.problem import BenchProblem
from bench.discovery.select import top
from bench.engine.ablation import make_reference
from bench.engine.masked_model import MaskedModel
from bench.scoring.measures import LOGIT_DIFF
from methods.acdc import ACDC
from methods.acdc_screened import ACDCScreened
from methods.base import Discovery
from methods.eap_ig import EAPIG
from methods.thresholds.pruning import Pruning
from methods.thresholds.threshold_search import ThresholdSearch
from problems import problem, pruning
from sequential_acdc import Sequential


def assert_pass(kept: Tensor, alone: Pruning, tau: float) -> None:
    """The edges are those of a pass; the two may part where an effect is the threshold, but for rounding."""
    part = (kept ^ alone.kept(tau)).flatten()[alone._turns].nonzero()
    if len(part):
        assert float(alone.passes[tau].flatten()[alone._turns][part[0]]) == pytest.approx(tau, rel=1e-9)


def test_every_size_is_a_pass_at_its_threshold(gpt2: MaskedModel) -> None:
    """Circuits of a sweep are those that their thresholds give alone, and none is larger than asked."""
    sizes = (0.0, 0.02, 0.1, 0.3, 1.0)
    p = problem(gpt2, sizes=sizes)
    method = ACDC(threshold=0.03)
    found = method.discover(p)
    taus = dict(zip(found.trace["size"], found.trace["size_threshold"], strict=True))
    for size in sizes:
        kept, wanted = int(found.edges[size].sum()), p.edges_of_share(size)
        assert kept <= wanted
        if math.isfinite(taus[size]):
            alone = pruning(problem(gpt2))
            alone.run(taus[size])
            assert_pass(found.edges[size], alone, taus[size])
            assert kept >= 0.6 * wanted or wanted < 5
    assert not found.edges[0.0].any()
    assert found.edges[1.0].equal(p.graph.exists)
    alone = pruning(problem(gpt2))
    alone.run(0.03)
    assert found.unaided is not None
    assert found.unaided.equal(alone.kept(0.03))
    assert len(found.trace["threshold"]) == len(found.trace["edges_kept"])


def test_scores_rank_by_the_highest_threshold_survived(gpt2: MaskedModel) -> None:
    p = problem(gpt2)
    p_passes = pruning(p)
    search = ThresholdSearch(p_passes, 0.03, attempts=6, tolerance=0.05)
    search.find([10, 40])
    taus = sorted(tau for tau, effects in p_passes.passes.items() if not effects.isnan().any())
    assert len(taus) > 2
    scores = search.scores()
    assert scores[p.graph.exists].isfinite().all()
    for tau in taus:
        above = torch.stack([p_passes.kept(t) for t in taus if t >= tau]).any(0)
        assert (scores[above] >= tau).all()
        assert (scores[p.graph.exists & ~above] <= tau).all()
    highest = p_passes.kept(taus[-1])
    assert top(p.graph, scores, int(highest.sum())).equal(highest)


def test_a_default_that_keeps_nothing_is_no_dead_end(gpt2: MaskedModel) -> None:
    found = ACDC(threshold=50.0).discover(problem(gpt2, sizes=(0.1, 0.5)))
    assert found.unaided is not None
    assert not found.unaided.any()
    assert 0 < found.edges[0.1].sum() < found.edges[0.5].sum()


class Step(Pruning):
    """A pass whose count jumps: nothing hits the size in between."""

    def __init__(self, few: int = 20) -> None:
        self.few = few
        self.candidates = torch.ones(10, 10, dtype=torch.bool)
        self.passes: dict[float, Tensor] = {}
        self.tried: list[float] = []

    def run(self, threshold: float, most: float = math.inf) -> int:
        tau = threshold
        self.tried.append(tau)
        n = 80 if tau < 2e-4 else self.few
        self.passes[tau] = torch.where(torch.arange(100).view(10, 10) < n, 1.0, 0.0)
        return n


def test_thresholds_beyond_which_nothing_is_kept_are_not_tried_again() -> None:
    step = Step(few=0)
    search = ThresholdSearch(step, 1e-3, attempts=6, tolerance=0.05)
    search.find([50])
    assert max(step.tried) == 1e-3


def test_all_edges_may_be_fewer_than_wanted() -> None:
    """Every threshold below 2e-4 keeps them all, and so does none at all."""
    step = Step()
    step.candidates = torch.arange(100).view(10, 10) < 80
    search = ThresholdSearch(step, 1e-5, attempts=6, tolerance=0.05)
    search.find([90])
    assert step.tried == [1e-5]
    assert search.counts[search.best(90)] == 80


def test_a_size_may_be_missed() -> None:
    step = Step()
    search = ThresholdSearch(step, 0.01, attempts=6, tolerance=0.05)
    search.find([50])
    assert search.counts[search.best(50)] == 20, "the largest below, not the nearest"
    alike = [tau for tau, count in search.counts.items() if count == 20]
    assert search.best(50) == max(alike) > min(alike)
    assert len(step.tried) <= 7
    assert search.best(0) == math.inf


class Killed(Exception):
    """Stands for a kill."""


def test_a_killed_run_goes_on(gpt2: MaskedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives the same circuits, tests no edge twice, and charges what was spent before.

    Thresholds are bisected, since one that is an effect would be decided by the last bit of a sum.
    """
    monkeypatch.setattr(ThresholdSearch, "_inside", lambda search, low, high, goal: math.sqrt(low * high))
    monkeypatch.setattr(bench.discovery.checkpoint, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(bench.discovery.checkpoint, "SHARE_OF_TIME", float("inf"))
    method, sizes = ACDC(threshold=0.03, tolerance=0.1), (0.05, 0.2)

    def make(progress: Any = None) -> BenchProblem:
        p = problem(gpt2, sizes=sizes)
        return BenchProblem(
            gpt2, p.batches, LOGIT_DIFF, lambda b: make_reference(gpt2, "resample", b, True), sizes, 0,
            progress=progress, checkpoint=tmp_path / "x.safetensors",
        )  # fmt: skip

    whole_problem = problem(gpt2, sizes=sizes)
    whole = method.discover(whole_problem)
    calls = 0

    def kill(done: int, total: int, note: str) -> None:
        nonlocal calls
        calls += 1
        if calls % 25 == 0:
            raise Killed

    spent: list[int] = []
    for _ in range(100):
        p = make(kill)
        try:
            found: Discovery | None = method.discover(p)
            break
        except Killed:
            found = None
            spent.append(p.counter.forwards)
    assert found is not None
    assert len(spent) > 3
    assert spent == sorted(spent)
    for size in sizes:
        assert found.edges[size].equal(whole.edges[size])
    assert found.trace["threshold"] == pytest.approx(whole.trace["threshold"], rel=1e-9)
    extra = p.counter.forwards - whole_problem.counter.forwards
    assert 0 <= extra < 25 * len(spent), "a restart costs a chain and the runs that it begins from"


@pytest.mark.parametrize(
    "option", [{"threshold": 0.0}, {"attempts": 0}, {"chain": 0}, {"examples": -1}, {"tolerance": 1.0}]
)
def test_wrong_options_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        ACDC(**option)


def test_screened_is_acdc_on_the_best_edges(gpt2: MaskedModel) -> None:
    p = problem(gpt2, sizes=(0.05, 0.5))
    found = ACDCScreened(share=0.3, threshold=0.01).discover(p)
    scores = EAPIG().discover(problem(gpt2)).scores
    assert scores is not None
    screened = top(p.graph, scores, p.edges_of_share(0.3))
    slow = Sequential(problem(gpt2)).run(0.01, screened)
    assert found.unaided is not None
    assert found.unaided.equal(slow)
    assert not (found.edges[0.05] & ~screened).any()
    assert found.edges[0.5].equal(screened), "there are no more"


def test_the_screen_leaves_one_edge_at_least(gpt2: MaskedModel) -> None:
    found = ACDCScreened(share=1e-6).discover(problem(gpt2, sizes=(0.05,)))
    assert int(found.edges[0.05].sum()) == 1


def test_of_edges_that_tie_the_screen_takes_the_first(
    gpt2: MaskedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = problem(gpt2)
    flat = Discovery(scores=torch.zeros(p.graph.exists.shape))
    monkeypatch.setattr(EAPIG, "discover", lambda method, problem: flat)
    scores = ACDCScreened(share=0.1).discover(p).scores
    assert scores is not None
    first = p.graph.exists & (p.graph.exists.flatten().cumsum(0).view_as(scores) <= p.edges_of_share(0.1))
    assert scores[first].min() > scores[p.graph.exists & ~first].max()


def test_what_the_screen_drops_comes_behind_in_its_order(gpt2: MaskedModel) -> None:
    p = problem(gpt2, sizes=(0.05, 0.6))
    found, order = ACDCScreened(share=0.1).discover(p).scores, EAPIG().discover(p).scores
    assert found is not None
    assert order is not None
    each = p.graph.exists
    dropped = order[each].argsort(descending=True, stable=True)[p.edges_of_share(0.1) :]
    assert found[each][dropped].diff().max() < 0
    assert found[each][dropped].max() < found[each].sort(descending=True).values[p.edges_of_share(0.1) - 1]
