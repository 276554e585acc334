"""ACDC against the sequential algorithm, and its search for thresholds against its own passes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

import bench.checkpoint
from bench.ablation import Ablation
from bench.experiment import Experiment
from bench.masked_model import MaskedModel
from bench.models.bridge import masked_model
from bench.models.tracr import load_program
from bench.names import get_program
from bench.problem import BenchProblem, make_reference
from bench.select import top
from bench.task_data import task_data
from decoders import GROUPED, decoder
from methods.acdc import ACDC
from methods.acdc_screened import ACDCScreened
from methods.base import Discovery
from methods.eap_ig import EAPIG
from methods.pruning import Pruning
from methods.threshold_search import ThresholdSearch
from problems import problem
from sequential_acdc import Sequential

SHAPES: Mapping[str, dict[str, Any]] = {
    "GPT2": {},
    "Llama": GROUPED,
    "GPTNeoX": {"use_parallel_residual": True},
    "Gemma2": {**GROUPED, "head_dim": 8},
}
TAUS = (0.1, 0.03, 0.003)


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest) -> MaskedModel:
    return masked_model(decoder(request.param, **SHAPES[request.param]))


@pytest.fixture(scope="module")
def gpt2() -> MaskedModel:
    return masked_model(decoder("GPT2"))


def pruning(p: BenchProblem, **options: Any) -> Pruning:
    return Pruning(p, p.graph.exists.clone(), options.pop("objective", "kl"), **options)


@pytest.mark.parametrize("ablation", get_args(Ablation))
@pytest.mark.parametrize("tau", [TAUS[1], *(pytest.param(tau, marks=pytest.mark.slow) for tau in TAUS[::2])])
def test_identical_to_sequential(model: MaskedModel, ablation: Ablation, tau: float) -> None:
    p = problem(model, ablation)
    fast = pruning(p)
    n = fast.run(tau)
    slow = Sequential(problem(model, ablation))
    assert fast.kept(tau).equal(slow.run(tau))
    assert 0 < n == int(fast.kept(tau).sum()) < p.graph.n_edges
    for (row, column), effect in slow.effects.items():
        assert float(fast.passes[tau][row, column]) == pytest.approx(effect, abs=1e-10)
    tested = fast.passes[tau].isfinite() & p.graph.exists
    assert int(tested.sum()) == len(slow.effects), "edges into dead nodes go untested, and only they"


@pytest.mark.parametrize(
    "options",
    [{"absolute": True}, {"latest_first": False}, {"objective": "difference"},
     {"objective": "difference", "absolute": True}],
    ids=str,
)  # fmt: skip
def test_options_are_those_of_sequential(gpt2: MaskedModel, options: dict[str, Any]) -> None:
    p, plain = problem(gpt2), pruning(problem(gpt2))
    fast, slow = pruning(p, **options), Sequential(problem(gpt2), **options)
    fast.run(0.003)
    plain.run(0.003)
    assert fast.kept(0.003).equal(slow.run(0.003))
    assert not fast.kept(0.003).equal(plain.kept(0.003)), "the option changes something here"


@pytest.mark.parametrize(
    "name",
    [
        "x_proportion",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("reverse", "sort_freq", "hist", "shuffle_dyck")),
    ],
)
@pytest.mark.parametrize("ablation", ["zero", "resample"])
def test_identical_on_programs(name: str, ablation: Ablation) -> None:
    compiled = load_program(get_program(name))
    one_length = len(compiled.compiled.lengths.unique()) == 1
    make = partial(
        BenchProblem, compiled.masked, compiled.batches(32, 1), "output_diff",
        partial(make_reference, compiled.masked, ablation, one_length=one_length), (0.1,), 1,
    )  # fmt: skip
    fast = pruning(make())
    fast.run(1e-3)
    assert fast.kept(1e-3).equal(Sequential(make()).run(1e-3))


def embedded(task: str, n: int, dtype: str, ablation: Ablation = "resample") -> BenchProblem:
    (job,) = Experiment(
        tasks=(task,), methods=("random_edges",), ablation=ablation, n_discovery=(n,), n_evaluation=2,
        dtype=dtype, random_draws=1,
    ).jobs()  # fmt: skip
    data = task_data(job)
    reference = partial(make_reference, data.model, ablation, one_length=data.one_length)
    return BenchProblem(data.model, data.discovery, "logit_diff", reference, (0.02, 0.1), 0)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["ioi_t1", "ioi", "gt", "gp"])
@pytest.mark.parametrize("tau", [1e-1, 1e-2, 1e-3])
def test_identical_on_the_embedded_model(task: str, tau: float) -> None:
    """In float64; in float32 a decision may differ only where the effect is within 1e-6 of tau."""
    slow, fast = Sequential(embedded(task, 6, "float64")), pruning(embedded(task, 6, "float64"))
    single = pruning(embedded(task, 6, "float32"))
    n = fast.run(tau)
    single.run(tau)
    assert n
    assert fast.kept(tau).equal(slow.run(tau))
    first = parting(fast, single, tau)
    assert first is None or abs(first - tau) < 1e-6


def parting(one: Pruning, other: Pruning, tau: float) -> float | None:
    """The effect, in the first pass, of the edge at whose turn two passes part."""
    effects = [p.passes[tau].flatten()[p._turns] for p in (one, other)]
    differ = ((effects[0] < tau) != (effects[1] < tau)).nonzero()
    return float(effects[0][differ[0]]) if len(differ) else None


def test_single_precision_parts_only_at_the_threshold(gpt2: MaskedModel) -> None:
    for tau in (0.1, 0.01, 0.001):
        fine, coarse = pruning(problem(gpt2)), pruning(problem(gpt2.to(dtype=torch.float32)))
        fine.run(tau)
        coarse.run(tau)
        first = parting(fine, coarse, tau)
        assert first is None or abs(first - tau) < 1e-6


@pytest.mark.parametrize("chain", [1, 2, 5, 64])
def test_chains_and_memory_change_nothing(gpt2: MaskedModel, chain: int) -> None:
    """Chains of any length; in pieces where memory is short; and runs built anew where it is none."""
    wanted = pruning(problem(gpt2))
    wanted.run(0.03)
    for budget in (2**32, 2**21, 0):
        p = problem(gpt2)
        p.memory_budget = budget
        fast = pruning(p, chain=chain)
        fast.run(0.03)
        assert fast.kept(0.03).equal(wanted.kept(0.03))


def test_passes_share_what_they_agree_on(gpt2: MaskedModel) -> None:
    """A pass after others gives what it gives alone, and takes fewer forwards."""
    shared = pruning(problem(gpt2))
    for tau in (0.03, 0.031, 0.3, 0.0299, 0.031):
        before = shared.problem.counter.forwards  # type: ignore[attr-defined]
        n = shared.run(tau)
        alone = pruning(problem(gpt2))
        assert alone.run(tau) == n
        assert shared.kept(tau).equal(alone.kept(tau))
        cost = shared.problem.counter.forwards - before  # type: ignore[attr-defined]
        if tau in (0.031, 0.0299):
            assert cost < 0.8 * alone.problem.counter.forwards  # type: ignore[attr-defined]
    assert cost == 0, "the last threshold was known"


def test_a_pass_is_broken_off(gpt2: MaskedModel) -> None:
    p = pruning(problem(gpt2))
    assert p.run(0.003, most=5.0) == 6
    assert p.passes[0.003].isnan().any()
    assert p.run(0.003) == pruning(problem(gpt2)).run(0.003), "and taken up again"


def test_only_the_first_examples_are_used(gpt2: MaskedModel) -> None:
    p = problem(gpt2)
    (batch,) = p.batches
    few = batch.part(0, 4)
    assert few.clean.equal(batch.clean[:4])
    assert few.examples.equal(torch.arange(4))
    assert few.correct.equal(batch.correct[:4])
    alone = BenchProblem(gpt2, [few], "logit_diff", lambda b: make_reference(
        gpt2, "resample", b, True), (0.1,), 0)  # fmt: skip
    wanted, fast = pruning(alone), pruning(p, examples=4)
    assert wanted.run(0.03) == fast.run(0.03)
    assert fast.kept(0.03).equal(wanted.kept(0.03))
    assert fast.n_examples == 4


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
            assert found.edges[size].equal(alone.kept(taus[size]))
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


def test_thresholds_beyond_which_nothing_is_kept_are_not_tried_again() -> None:
    step = Step(few=0)
    search = ThresholdSearch(step, 1e-3, attempts=6, tolerance=0.05)
    search.find([50])
    assert max(step.tried) == 1e-3


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
    assert len(step.tried) <= 7
    assert search.best(0) == math.inf


class Killed(Exception):
    """Stands for a kill."""


def test_a_killed_run_goes_on(gpt2: MaskedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives the same circuits, tests no edge twice, and charges what was spent before."""
    monkeypatch.setattr(bench.checkpoint, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(bench.checkpoint, "SHARE_OF_TIME", float("inf"))
    method, sizes = ACDC(threshold=0.03), (0.05, 0.2)

    def make(progress: Any = None) -> BenchProblem:
        p = problem(gpt2, sizes=sizes)
        return BenchProblem(
            gpt2, p.batches, "logit_diff", lambda b: make_reference(gpt2, "resample", b, True), sizes, 0,
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
    assert found.trace["threshold"] == whole.trace["threshold"]
    extra = p.counter.forwards - whole_problem.counter.forwards
    assert 0 <= extra < 25 * len(spent), "a restart costs a chain and the runs that it begins from"


def test_a_loss_that_is_not_finite_is_told(gpt2: MaskedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem(gpt2)
    monkeypatch.setattr(p, "loss", lambda *_: torch.tensor(torch.nan))
    with pytest.raises(ValueError, match="not finite"):
        pruning(p).run(0.1)


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
    assert (ours[0] == p.loss("kl", near[0], batch)).all()


def test_kl_is_finite_where_the_full_model_is_certain(gpt2: MaskedModel) -> None:
    """A token that the full model excludes and a circuit expects: its share of the KL is all of q."""
    p = problem(gpt2.to(dtype=torch.float32))
    (batch,) = p.batches
    certain = torch.zeros_like(p.clean(batch))
    certain[:, 0] = 200.0
    p._clean[id(batch)] = certain
    flat = torch.zeros_like(certain).requires_grad_()
    kl = p.loss("kl", flat, batch)
    assert float(kl) == pytest.approx(len(batch) * math.log(certain.shape[1]), rel=1e-5)
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
