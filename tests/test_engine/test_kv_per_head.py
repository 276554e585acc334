"""Keys and values counted per query head: the same model with more edges, and circuits between the two."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.discovery.discover import cut, discover
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph, edges_of_share
from bench.engine.regrouped import DisagreeingGroup, OtherGraph, regrouped, regrouped_edges
from bench.names import get_method
from bench.study import Study
from decoders import REFERENCES, Case, case_of
from methods.base import find_methods
from naive_decoder import NaiveDecoder
from problems import BRIEF, problem
from tiny_models import close, seeded

GROUPED = ("llama", "llama_bias", "llama3_rope", "qwen2", "qwen3", "gemma2", "phi_grouped")
"""Plain; with biases; with scaled rotation; biases of q, k and v; normed queries; coupled heads; parallel."""


@pytest.fixture(params=GROUPED)
def grouped(request: pytest.FixtureRequest, exact: None) -> Case:
    """A model of heads that share keys and values, counted per group."""
    return case_of(request.param)


@pytest.fixture
def counted(grouped: Case) -> Case:
    """The same per head; its slow reference reads each head's key and value inputs by themselves."""
    model = grouped.model.with_kv_per_head()
    return replace(grouped, model=model, naive=NaiveDecoder(grouped.hf, model.graph))


@pytest.mark.parametrize("kind", REFERENCES)
def test_any_circuit_is_that_of_the_slow_reference(counted: Case, kind: str) -> None:
    """Full, empty, random, and masks between 0 and 1, with and without gradients."""
    reference = counted.reference(kind)
    masks = [counted.ones(), 0 * counted.ones(), counted.mask(), counted.mask(0.5), counted.mask(0.9, 1)]
    for mask in masks:
        expected = counted.naive.masked(counted.clean, mask, reference)
        for differentiable in (False, True):
            close(counted.run(mask, reference, differentiable), expected)


def test_the_model_is_the_same(grouped: Case, counted: Case) -> None:
    close(counted.model.run(counted.clean), grouped.model.run(grouped.clean))
    close(counted.model.senders(counted.clean), grouped.model.senders(grouped.clean))
    assert counted.model.graph.n_edges > grouped.model.graph.n_edges
    assert counted.model.graph == grouped.model.graph.per_head


def test_a_circuit_of_groups_computes_the_same_per_head(grouped: Case, counted: Case) -> None:
    """The logits, the way back, and no edge that mattered less."""
    graph = grouped.model.graph
    circuit = Circuit(graph, (torch.rand(graph.shape, generator=seeded("kept")) < 0.4) & graph.exists)
    spread = regrouped(circuit, counted.model.graph)
    assert len(spread) > len(circuit)
    assert regrouped(spread, graph) == circuit
    for kind in ("resample", "zero"):
        reference = grouped.reference(kind)
        one, other = (
            case.run(each.kept.double(), reference) for case, each in ((grouped, circuit), (counted, spread))
        )
        close(one, other)
        # a head that nothing reads does not need its group's key, which the others may
        matters = regrouped(circuit.effective(kind), counted.model.graph)
        assert not (spread.effective(kind).kept & ~matters.kept).any()


@pytest.mark.parametrize("method", find_methods()[0])
def test_methods_run_on_it(method: str, exact: None) -> None:
    """Each finds circuits of the sizes wanted, whose logits the slow reference has as well."""
    case = case_of("llama")
    model = case.model.with_kv_per_head()
    naive = NaiveDecoder(case.hf, model.graph)
    p = problem(model, sizes=(0.1, 0.5))
    found, _ = discover(get_method(BRIEF.get(method, method)), p)
    (batch,) = p.batches
    for size, circuit in cut(model.graph, found, (0.1, 0.5)).items():
        assert 0 < len(circuit) <= edges_of_share(model.graph.n_edges, size)
        if not circuit.weights:
            kept = circuit.kept.double()
            expected = naive.masked(batch.clean, kept, naive.senders(batch.corrupted))
            close(p.run(batch, kept), expected[batch.examples, batch.positions])


GRAPH = EdgeGraph(2, 4, 2)


def test_heads_that_disagree_are_named() -> None:
    """The first group, by the edge of which one head has what the other has not."""
    circuit = Circuit.of(GRAPH.per_head, ["embed->a0.h0.k", "embed->a0.h1.k", "m0->a1.h3.v", "m0->a1.h2.q"])
    told = "m0->a1.h2.v and m0->a1.h3.v differ, but are one edge if keys and values are counted per group"
    with pytest.raises(DisagreeingGroup, match=re.escape(told)):
        regrouped(circuit, GRAPH)
    agreeing = circuit | Circuit.of(GRAPH.per_head, ["m0->a1.h2.v"])
    assert set(regrouped(agreeing, GRAPH)) == {"embed->a0.h0.k", "m0->a1.h1.v", "m0->a1.h2.q"}


def test_masks_of_weights_go_along() -> None:
    """Of queries, keys and values row by row; others stay."""

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=seeded("weights")) < 0.5

    weights = {"a1.W_QKV": random(8, 6, 3), "a1.b_QKV": random(8, 3), "a1.W_O": random(4, 3, 6)}
    circuit = Circuit(GRAPH, GRAPH.exists, weights)
    spread = regrouped(circuit, GRAPH.per_head)
    queries, keys, values = weights["a1.W_QKV"].split([4, 2, 2])
    expected = torch.stack([*queries, keys[0], keys[0], keys[1], keys[1], *values.repeat_interleave(2, 0)])
    assert torch.equal(spread.weights["a1.W_QKV"], expected)
    assert regrouped(spread, GRAPH) == circuit
    one = spread.weights["a1.b_QKV"].clone()
    one[7] ^= True
    apart = Circuit(spread.graph, spread.kept, {**spread.weights, "a1.b_QKV": one})
    with pytest.raises(DisagreeingGroup, match=r"masks of a1.b_QKV differ in a1.h2.k and a1.h3.k"):
        regrouped(apart, GRAPH)


def test_scores_go_along() -> None:
    scores = torch.randn(GRAPH.shape, generator=seeded("scores"))
    spread = regrouped_edges(scores, GRAPH, GRAPH.per_head)
    assert spread.shape == GRAPH.per_head.shape
    again = regrouped_edges(spread, GRAPH.per_head, GRAPH)
    assert torch.equal(again[GRAPH.exists], scores[GRAPH.exists])
    unknown = spread.masked_fill(
        ~GRAPH.per_head.exists, torch.nan
    )  # where no edge is a value does not matter
    assert torch.equal(regrouped_edges(unknown, GRAPH.per_head, GRAPH), again)


@pytest.mark.parametrize(
    "other",
    [
        EdgeGraph(3, 4, 2),
        EdgeGraph(2, 8, 2),
        EdgeGraph(2, 4, 2, parallel=True),
        EdgeGraph(2, 4, 2, split_embed=True),
    ],
    ids=str,
)
def test_graphs_of_two_models_are_told_apart(other: EdgeGraph) -> None:
    with pytest.raises(OtherGraph, match="belongs to another graph"):
        regrouped(Circuit.empty(GRAPH), other)


def test_a_study_of_heads_that_share_nothing_has_one_graph() -> None:
    few: dict[str, Any] = {"n_discovery": 4, "n_evaluation": 4}
    per_head = Study("embedded", "gp", kv="per_head", **few)
    assert per_head.graph == Study("embedded", "gp", **few).graph
