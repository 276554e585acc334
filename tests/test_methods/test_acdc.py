"""A pass of ACDC against the sequential algorithm, one whole forward per edge."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch

from bench.conformance.prompts import ragged_examples
from bench.discovery.data import program_data
from bench.discovery.problem import BenchProblem
from bench.engine.ablation import ABLATIONS, AblationName, make_reference
from bench.engine.masked_model import MaskedModel
from bench.models.bridge import masked_model
from bench.models.tiny import decoder
from bench.models.tracr import load_program
from bench.names import get_program
from bench.scoring.measures import LOGIT_DIFF
from bench.study import Study
from decoders import GROUPED
from methods.acdc_shuffled import ACDCShuffled
from methods.thresholds.pruning import Pruning, Turns
from problems import problem, pruning
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


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize(
    "tau",
    [
        pytest.param(TAUS[0], marks=pytest.mark.every), TAUS[1],
        pytest.param(TAUS[2], marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_identical_to_sequential(model: MaskedModel, ablation: AblationName, tau: float) -> None:
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
    [{"absolute": True}, {"turns": "earliest"}, {"turns": "shuffled"}, {"objective": "difference"},
     {"objective": "difference", "absolute": True}],
    ids=str,
)  # fmt: skip
def test_options_are_those_of_sequential(gpt2: MaskedModel, options: dict[str, Any]) -> None:
    p, plain = problem(gpt2), pruning(problem(gpt2))
    orders = {
        "earliest": Turns.backwards(p.graph, latest_first=False),
        "shuffled": Turns.shuffled(p.graph, torch.Generator().manual_seed(3)),
    }
    options = {name: orders[value] if name == "turns" else value for name, value in options.items()}
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
def test_identical_on_programs(name: str, ablation: AblationName) -> None:
    study = Study.on(program_data(load_program(get_program(name)), 32, 1), ablation)
    make = partial(study.problem, (0.1,), method_seed=1)
    fast = pruning(make())
    fast.run(1e-3)
    assert fast.kept(1e-3).equal(Sequential(make()).run(1e-3))


def embedded(task: str, n: int, dtype: str, ablation: AblationName = "resample") -> BenchProblem:
    study = Study("embedded", task, ablation=ablation, n_discovery=n, n_evaluation=2, dtype=dtype)
    return study.problem((0.02, 0.1))


@pytest.mark.parametrize(
    ("task", "tau"),
    [
        pytest.param(task, tau, marks=pytest.mark.slow if (i + j) % 3 == 0 else pytest.mark.every)
        for i, task in enumerate(("ioi", "gt", "gp"))
        for j, tau in enumerate((1e-1, 1e-2, 1e-3))
    ],
)
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
    """A pass after others returns what it returns alone, and takes fewer forwards."""
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
    alone = BenchProblem(gpt2, [few], LOGIT_DIFF, lambda b: make_reference(
        gpt2, "resample", b, True), (0.1,), 0)  # fmt: skip
    wanted, fast = pruning(alone), pruning(p, examples=4)
    assert wanted.run(0.03) == fast.run(0.03)
    assert fast.kept(0.03).equal(wanted.kept(0.03))
    assert fast.n_examples == 4


def test_a_loss_that_is_not_finite_is_told(gpt2: MaskedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem(gpt2)
    monkeypatch.setattr(p, "loss", lambda *_: torch.tensor(torch.nan))
    with pytest.raises(ValueError, match="not finite"):
        pruning(p).run(0.1)


def test_an_effect_of_just_the_threshold_is_kept(gpt2: MaskedModel) -> None:
    """The first that a pass keeps: at its own effect as threshold all goes as before up to it."""
    first = pruning(problem(gpt2))
    first.run(0.03)
    effects = first.passes[0.03].flatten()[first._turns]
    tau = float(effects[effects >= 0.03][0])
    again = pruning(problem(gpt2))
    n = again.run(tau)
    assert (again.passes[tau] == tau).any()
    assert n == int(again.kept(tau).sum())


@pytest.mark.parametrize("examples", [7, 5])
@pytest.mark.parametrize("objective", ["kl", "difference"])
def test_batches_change_nothing(gpt2: MaskedModel, objective: str, examples: int) -> None:
    """Three at a time, of which the last batch is smaller; or the first examples, across a boundary."""
    data = ragged_examples(7, 50)
    whole = pruning(problem(gpt2, examples=data.take(slice(examples))), objective=objective)
    parts = pruning(problem(gpt2, examples=data, per_batch=3), objective=objective, examples=examples)
    assert parts.n_examples == whole.n_examples == examples
    assert parts.run(0.03) == whole.run(0.03)
    assert parts.kept(0.03).equal(whole.kept(0.03))
    torch.testing.assert_close(parts.passes[0.03], whole.passes[0.03], rtol=1e-8, atol=1e-10)


def test_shuffled_acdc_is_sequential_in_the_order_that_its_seed_draws(gpt2: MaskedModel) -> None:
    """Seeds end with different circuits; each is what the sequential algorithm ends with."""
    found = {}
    for seed in (1, 2):
        p = problem(gpt2)
        p.seed = seed
        method = ACDCShuffled(threshold=0.003, examples=0)
        kept = method.discover(p).unaided
        assert kept is not None
        assert kept.equal(Sequential(problem(gpt2), turns=method.turns(p)).run(0.003))
        found[seed] = kept
    assert not found[1].equal(found[2])
    with pytest.raises(ValueError, match="leave order out"):
        ACDCShuffled(order="earliest")
