"""Circuits some of whose edges lead elsewhere."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph, ends_of
from bench.scoring.rewired import rewired
from methods.random_edges import connected

GRAPH = EdgeGraph(n_layers=3, n_heads=4, n_kv_heads=2)


def sorts(circuit: Circuit) -> Counter[tuple[object, ...]]:
    """How many edges there are between what kinds and layers."""
    ends = (ends_of(edge) for edge in circuit)
    return Counter((s.kind, s.layer, r.kind, r.layer, r.port) for s, r in ends)


@given(st.integers(5, 200), st.integers(0, 1000))
def test_the_same_but_for_a_fifth_of_the_edges(n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    circuit = Circuit(GRAPH, connected(GRAPH, n, generator) > 0)
    null = rewired(circuit, generator)
    assert sorts(null) == sorts(circuit)
    gone = len(circuit) - len(circuit & null)
    assert gone <= max(1, round(0.2 * len(circuit)))
    if not gone:
        rest = circuit.complement()
        assert not sorts(circuit).keys() & sorts(rest).keys(), (
            "an edge stays only where it is alone of its sort"
        )


def test_as_many_as_asked_for_where_there_are_others() -> None:
    """Eight of sixteen edges between heads of two layers: two go at a fifth, all at a whole."""
    between = [e for e in Circuit.full(GRAPH) if e.startswith("a0.") and "->a1." in e and e.endswith(".q")]
    circuit = Circuit.of(GRAPH, between[:8])
    nulls = [rewired(circuit, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert [len(circuit & null) for null in nulls] == [6, 6, 6]
    assert nulls[0] == nulls[1] != nulls[2]
    assert len(circuit & rewired(circuit, torch.Generator(), share=1.0)) == 0
    assert all(edge in between for edge in nulls[0])


@pytest.mark.parametrize("edges", [(), ("m0->m1", "m1->m2", "embed->logits")])
def test_what_has_no_other_of_its_sort_stays(edges: tuple[str, ...]) -> None:
    circuit = Circuit.of(GRAPH, edges)
    assert rewired(circuit, torch.Generator(), share=1.0) == circuit
    assert rewired(Circuit.full(GRAPH), torch.Generator()) == Circuit.full(GRAPH)
