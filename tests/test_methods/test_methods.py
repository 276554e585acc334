"""The methods against their slow definitions, by intervention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.conformance.prompts import ragged_examples
from bench.discovery.problem import BenchProblem
from bench.engine.ablation import ABLATIONS, AblationName
from bench.engine.architecture import Architecture
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.engine.masked_model import MaskedModel
from methods.base import Method, find_methods
from methods.eap import EAP
from methods.eap_ig import EAPIG
from methods.exact import Exact
from methods.random_edges import RandomEdges, connected
from problems import problem, random_examples


def loss_at(p: BenchProblem, edges: Tensor) -> Tensor:
    """Minus the mean logit difference over the discovery set, under an edge mask; the obvious way."""
    total = torch.zeros((), dtype=torch.float64)
    for batch in p.batches:
        logits = p.run(batch, edges)
        right, wrong = batch.candidates.T
        total = total - (logits.gather(1, right[:, None]) - logits.gather(1, wrong[:, None])).sum()
    return total / p.n_examples


def mask_gradient(p: BenchProblem) -> Tensor:
    """d loss / d mask at the full model: what adding a little more of each edge does."""
    mask = torch.ones(p.graph.exists.shape, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(loss_at(p, mask), mask)[0]


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_eap_is_minus_the_mask_gradient(tiny: MaskedModel, ablation: AblationName) -> None:
    """Removing an edge moves its mask entry down, so the score is minus the gradient there."""
    p = problem(tiny, ablation)
    found = EAP(absolute=False).discover(p)
    assert found.scores is not None
    torch.testing.assert_close(found.scores, -mask_gradient(p), rtol=1e-9, atol=1e-12)
    absolute = EAP().discover(p).scores
    assert absolute is not None
    torch.testing.assert_close(absolute, found.scores.abs(), rtol=1e-9, atol=1e-12)


def test_eap_matches_small_removals(tiny: MaskedModel) -> None:
    """Finite differences: removing a thousandth of an edge changes the loss by score / 1000."""
    p = problem(tiny)
    scores = EAP(absolute=False).discover(p).scores
    assert scores is not None
    for row, column in [(0, 0), (5, 0), (12, 3), (20, 6), (25, 9)]:
        step = torch.ones(p.graph.exists.shape, dtype=torch.float64)
        values = []
        for sign in (-1, 1):
            step[row, column] = 1 + sign * 1e-4
            values.append(float(loss_at(p, step)))
        predicted = -(values[1] - values[0]) / 2e-4
        assert float(scores[row, column]) == pytest.approx(predicted, rel=1e-5, abs=1e-8)


def test_kl_is_flat_at_the_clean_run_and_declined_there(tiny: MaskedModel) -> None:
    """One step is the clean run itself: nothing to rank by. From two on there is a gradient."""
    p = problem(tiny)
    flat, slope = (EAPIG(steps=n, objective="kl").discover(p).scores for n in (1, 2))
    assert flat is not None
    assert slope is not None
    assert float(flat.max()) < 1e-12 < 1e-3 < float(slope.max())
    assert EAPIG(steps=1, objective="kl").skip(p)
    assert EAPIG(steps=1, objective="kl", points="activations").skip(p)
    assert not EAPIG(steps=1, objective="kl", points="authors").skip(p)
    assert not EAPIG(steps=2, objective="kl").skip(p)


def linear_model() -> MaskedModel:
    """One layer, no norm, attention that looks nowhere in particular, an MLP that is off: linear in edges."""
    arch = Architecture(1, 2, 2, d_model=8, d_head=4, n_ctx=8, d_vocab=50, activation="relu", norm="none")
    torch.manual_seed(0)
    d = {"embed.W_E": (50, 8), "embed.W_pos": (8, 8), "a0.W_QKV": (6, 8, 4), "a0.b_QKV": (6, 4),
         "a0.W_O": (2, 4, 8), "a0.b_O": (8,), "m0.W_in": (8, 16), "m0.b_in": (16,), "m0.W_out": (16, 8),
         "m0.b_out": (8,), "logits.W_U": (8, 50), "logits.b_U": (50,)}  # fmt: skip
    weights = {name: torch.randn(shape, dtype=torch.float64) for name, shape in d.items()}
    weights["a0.W_QKV"][:4] = 0  # queries and keys: attention is uniform whatever they read
    weights["m0.W_in"][:] = 0
    return MaskedModel(arch, weights)


@pytest.mark.parametrize(
    "method",
    [
        EAP(absolute=False),
        EAPIG(absolute=False, objective="difference"),
        EAPIG(absolute=False, objective="difference", points="clean_corrupted"),
        EAPIG(absolute=False, objective="difference", points="authors"),
        EAPIG(absolute=False, objective="difference", points="activations", steps=2),
        Exact(absolute=False, objective="difference", examples=0),
    ],
    ids=["eap", "eap_ig", "eap_ig at two points", "eap_ig as authors", "eap_ig of activations", "exact"],
)
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_estimates_are_exact_on_a_linear_model(ablation: AblationName, method: Method) -> None:
    """There the first-order effect is the whole effect of removing an edge."""
    p = problem(linear_model(), ablation)
    scores = method.discover(p).scores
    assert scores is not None
    full = torch.ones(p.graph.exists.shape, dtype=torch.float64)
    base = loss_at(p, full)
    for row, column in p.graph.exists.nonzero().tolist():
        without = full.clone()
        without[row, column] = 0
        exact = float(loss_at(p, without) - base)
        assert float(scores[row, column]) == pytest.approx(exact, abs=1e-10)
    assert float(scores.abs().max()) > 0.1


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_scores_of_nodes_are_exact_on_a_linear_model(ablation: AblationName) -> None:
    """A node's score is what removing all of its outgoing edges does."""
    p = problem(linear_model(), ablation)
    scores = EAP(absolute=False, selection="nodes").discover(p).scores
    assert scores is not None
    full = torch.ones(p.graph.exists.shape, dtype=torch.float64)
    base = loss_at(p, full)
    for column in range(len(p.graph.senders)):
        without = full.clone()
        without[:, column] = 0
        # a head that is removed is removed from the MLP's input as well, which is off
        exact = float(loss_at(p, without) - base)
        assert float(scores[-1, column]) == pytest.approx(exact, abs=1e-10)


def slow_eap_ig(p: BenchProblem, shares: list[float]) -> Tensor:
    """The definition, an edge at a time: nudge one receiver's input along one sender's difference."""
    scores = torch.zeros(p.graph.exists.shape, dtype=torch.float64)
    for batch in p.batches:
        clean, reference = p.senders(batch), p.reference(batch).expand_as(p.senders(batch))
        for share in shares:
            inputs = share * clean[:1] + (1 - share) * reference[:1]
            for column in range(len(clean)):
                # a direction that is zero but for one sender gives that sender's column alone
                direction = torch.zeros_like(clean)
                direction[column] = reference[column] - clean[column]
                scores += p.edge_gradients(batch, "difference", direction, inputs)
    return scores / (len(shares) * p.n_examples)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_eap_ig_equals_its_definition(tiny: MaskedModel, ablation: AblationName) -> None:
    p = problem(tiny, ablation)
    inputs = EAPIG(steps=3, absolute=False, objective="difference").discover(p).scores
    ends = EAPIG(points="clean_corrupted", absolute=False, objective="difference").discover(p).scores
    assert inputs is not None
    assert ends is not None
    torch.testing.assert_close(inputs, slow_eap_ig(p, [1 / 3, 2 / 3, 1]), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(ends, slow_eap_ig(p, [0, 1]), rtol=1e-9, atol=1e-12)
    authors = EAPIG(steps=3, points="authors", absolute=False, objective="difference").discover(p).scores
    torch.testing.assert_close(authors, slow_eap_ig(p, [0, 1 / 3, 2 / 3]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_eap_ig_of_activations_equals_its_definition(tiny: MaskedModel, ablation: AblationName) -> None:
    """One group of senders after the other goes its way; edges that leave it have the gradients there."""
    p = problem(tiny, ablation)
    expected, groups = torch.zeros(p.graph.exists.shape, dtype=torch.float64), p.graph.groups
    for batch in p.batches:
        clean = p.senders(batch)
        reference = p.reference(batch).expand_as(clean)
        for group in groups:
            for share in (1 / 2, 1):
                written = share * clean[group] + (1 - share) * reference[group]
                at = {"inputs": written} if group.start == 0 else {"replaced": (group, written)}
                towards = torch.zeros_like(clean)
                towards[group] = (reference - clean)[group]
                expected += p.edge_gradients(batch, "difference", towards, **at)
    method = EAPIG(steps=2, points="activations", absolute=False, objective="difference")
    found = method.discover(p).scores
    torch.testing.assert_close(found, expected / (2 * p.n_examples), rtol=1e-9, atol=1e-12)


def test_what_is_written_in_the_place_of_embeddings_is_their_output(tiny: MaskedModel) -> None:
    p = problem(tiny)
    batch, embeddings = p.batches[0], p.graph.groups[0]
    written = (p.senders(batch)[embeddings] + p.reference(batch)[embeddings]) / 2
    one = p.edge_gradients(batch, "difference", replaced=(embeddings, written))
    other = p.edge_gradients(batch, "difference", inputs=written)
    assert one.equal(other)
    assert not one.allclose(p.edge_gradients(batch, "difference"))


def test_eap_ig_with_one_step_is_eap(tiny: MaskedModel) -> None:
    p = problem(tiny)
    one, eap = EAPIG(steps=1, objective="difference").discover(p).scores, EAP().discover(p).scores
    assert one is not None
    assert eap is not None
    torch.testing.assert_close(one, eap, rtol=1e-9, atol=1e-12)


def test_eap_ig_converges_as_steps_grow(tiny: MaskedModel) -> None:
    """The error against 128 steps shrinks like 1/steps, as a right Riemann sum's does."""
    p = problem(tiny, examples=random_examples(n=2))
    fine = EAPIG(steps=128, absolute=False, objective="difference").discover(p).scores
    assert fine is not None
    errors = []
    for steps in (2, 8, 32):
        coarse = EAPIG(steps=steps, absolute=False, objective="difference").discover(p).scores
        assert coarse is not None
        errors.append(float((coarse - fine).abs().max()))
    assert errors[1] < errors[0] / 2.5
    assert errors[2] < errors[1] / 2.5


def test_eap_ig_refuses_no_steps() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1"):
        EAPIG(steps=0)


SMALL = EdgeGraph(n_layers=3, n_heads=4, n_kv_heads=2)


@given(st.integers(0, SMALL.n_edges), st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_connected_circuits_are_connected(n: int, seed: int) -> None:
    """Every edge lies on a path from the input to the logits, and the size is met, tiny ones aside."""
    circuit = Circuit(SMALL, connected(SMALL, n, torch.Generator().manual_seed(seed)) > 0)
    assert circuit.effective("resample") == circuit
    assert len(circuit) <= n
    if n == 1 or n >= 8:
        assert len(circuit) == n


def test_random_circuits_depend_on_the_seed_alone(tiny: MaskedModel) -> None:
    p = problem(tiny, sizes=(0.1, 0.5))
    for kind in ("connected", "uniform"):
        method = RandomEdges(kind=kind)
        first, again = method.discover(p), method.discover(p)
        other = method.discover(problem(tiny, sizes=(0.1, 0.5), seed=1))
        if kind == "uniform":
            assert first.scores is not None
            assert again.scores is not None
            assert other.scores is not None
            assert first.scores.equal(again.scores)
            assert not first.scores.equal(other.scores)
        else:
            assert first.edges[0.1].equal(again.edges[0.1])
            assert not first.edges[0.1].equal(other.edges[0.1])
    assert p.counter.forwards == 0


def test_methods_are_found_by_looking_into_the_folder() -> None:
    found, missing = find_methods()
    assert {"random_edges", "eap", "eap_ig"} <= found.keys()
    assert not missing
    for name, cls in found.items():
        assert cls.name == name
        assert cls.__doc__
        assert cls.description
        assert cls.citation.startswith("@")


def test_methods_count_their_work(tiny: MaskedModel) -> None:
    """EAP: a forward for the reference, one for the gradient, one backward per batch."""
    p = problem(tiny)
    EAP().discover(p)
    n = len(p.batches)
    assert (p.counter.forwards, p.counter.backwards) == (2 * n, n)
    p = problem(tiny)
    EAPIG(steps=5, objective="difference").discover(p)
    assert (p.counter.forwards, p.counter.backwards) == (7 * n, 5 * n)


def test_caches_stay_within_the_budget(tiny: MaskedModel) -> None:
    """Clean logits and references are computed once while they fit, and each time where they do not."""
    for budget, forwards in ((2**30, 2), (0, 4)):
        p = problem(tiny)
        p.memory_budget = budget
        (batch,) = p.batches
        first = p.clean(batch), p.reference(batch)
        again = p.clean(batch), p.reference(batch)
        assert p.counter.forwards == forwards
        torch.testing.assert_close(again, first, rtol=1e-9, atol=1e-12)


def test_scores_do_not_depend_on_batching(tiny: MaskedModel) -> None:
    """Examples one by one, or padded beside longer ones, give the same scores."""
    examples = random_examples(n=4, pos=7)
    lengths = examples.lengths - [0, 2, 3, 0]
    inside = np.arange(7) < lengths[:, None]
    clean, corrupted = examples.clean * inside, examples.corrupted * inside
    short = replace(examples, clean=clean, corrupted=corrupted, lengths=lengths, positions=lengths - 1)
    together = EAP(absolute=False).discover(problem(tiny, examples=short)).scores
    singles = [short.take(slice(i, i + 1)) for i in range(4)]
    alone = [EAP(absolute=False).discover(problem(tiny, examples=single)).scores for single in singles]
    assert together is not None
    torch.testing.assert_close(together, sum(s for s in alone if s is not None) / 4, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("objective", ["difference", "kl"])
@pytest.mark.parametrize("points", ["inputs", "clean_corrupted"])
def test_absolute_scores_are_those_of_the_signed_ones(tiny: MaskedModel, points: str, objective: str) -> None:
    options: Any = {"steps": 2, "points": points, "objective": objective}
    signed, absolute = (EAPIG(absolute=a, **options).discover(problem(tiny)).scores for a in (False, True))
    assert signed is not None
    assert absolute is not None
    assert (signed < 0).any()
    assert absolute.equal(signed.abs())


@pytest.mark.parametrize(
    "method", [EAP(absolute=False), EAPIG(steps=2, absolute=False)], ids=["eap", "eap_ig"]
)
def test_a_mean_score_is_per_example_whatever_the_batches(tiny: MaskedModel, method: Method) -> None:
    examples = ragged_examples(7, 50)
    for ablation in ("resample", "mean"):
        name: Any = ablation
        one, some = (method.discover(problem(tiny, name, examples=examples, per_batch=n)) for n in (64, 3))
        assert one.scores is not None
        assert some.scores is not None
        torch.testing.assert_close(some.scores, one.scores, rtol=1e-9, atol=1e-12)
