"""Cutting circuits from scores: exact sizes, the right edges, connectedness of greedy growth."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.discovery.select import filled, greedy, nodes, top
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph, edges_of_share

GRAPH = EdgeGraph(n_layers=2, n_heads=2, n_kv_heads=1)


def scores(seed: int) -> torch.Tensor:
    return torch.randn(GRAPH.exists.shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, GRAPH.n_edges), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_top_keeps_the_n_best(n: int, seed: int) -> None:
    values = scores(seed)
    kept = top(GRAPH, values, n)
    assert int(kept.sum()) == n
    assert not (kept & ~GRAPH.exists).any()
    left = GRAPH.exists & ~kept
    if n and left.any():
        assert values[kept].min() >= values[left].max()


@given(st.integers(0, GRAPH.n_edges), st.integers(0, GRAPH.n_edges), st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_what_is_missing_is_filled_by_score(named: int, n: int, seed: int) -> None:
    """The definition: the best edge that is not there yet, again and again."""
    values, kept = scores(seed), top(GRAPH, scores(seed + 1), named)
    whole = filled(GRAPH, kept, values, n)
    slow = kept.clone()
    while int(slow.sum()) < n:
        left = (GRAPH.exists & ~slow).nonzero().tolist()
        slow[tuple(max(left, key=lambda edge: float(values[tuple(edge)])))] = True
    assert whole.equal(slow)
    assert int(whole.sum()) == max(named, n)


@given(st.integers(0, GRAPH.n_edges), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_ties_go_to_the_earliest_edge(n: int, seed: int) -> None:
    """Few different scores: each next edge is the first of the best that are left."""
    values = scores(seed).round()
    edges = GRAPH.exists.nonzero().tolist()
    ranked = sorted(
        edges, key=lambda edge: -float(values[tuple(edge)])
    )  # Python's sort keeps the order of equals
    assert top(GRAPH, values, n).nonzero().tolist() == sorted(ranked[:n])
    assert greedy(GRAPH, values, min(n, 20)).equal(slow_greedy(values, min(n, 20)))


def slow_greedy(values: torch.Tensor, n: int) -> torch.Tensor:
    """The definition: again and again the best edge whose receiver belongs to a node in the circuit."""
    kept = torch.zeros_like(GRAPH.exists)
    for _ in range(n):
        best = None
        for row, column in GRAPH.exists.nonzero().tolist():
            computes = GRAPH.owners[row].bool()
            inside = not computes.any() or bool(kept[:, computes].any())
            if inside and not kept[row, column] and (best is None or values[row, column] > values[best]):
                best = (row, column)
        if best is not None:
            kept[best] = True
    return kept


def among(names: set[str]) -> set[tuple[str, str]]:
    """All edges between the embedding, some heads and MLPs, and the logits, by their names alone."""
    kept = set()
    for row, column in GRAPH.exists.nonzero().tolist():
        sender, receiver = GRAPH.senders[column].name, GRAPH.receivers[row].name
        layer, _, port = receiver.replace(".", " ", 1).partition(" ")
        owners = {receiver.removesuffix(".q")}
        if port.endswith((".k", ".v")):  # both heads compute from it
            owners = {f"{layer}.h0", f"{layer}.h1"}
        if sender in {*names, "embed"} and (owners & names or receiver == "logits"):
            kept.add((sender, receiver))
    return kept


@given(st.integers(0, GRAPH.n_edges), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_nodes_keep_all_edges_among_the_best(n: int, seed: int) -> None:
    """As many of the best nodes as fit, each as good as its best outgoing edge."""
    values = scores(seed)

    def best(column: int) -> float:
        return max(float(values[row, column]) for row in range(len(values)) if GRAPH.exists[row, column])

    ranked = sorted(range(GRAPH.n_embed, len(GRAPH.senders)), key=lambda column: -best(column))
    wanted: set[tuple[str, str]] = set()
    for count in range(len(ranked) + 1):
        more = among({GRAPH.senders[column].name for column in ranked[:count]})
        if len(more) > n:
            break
        wanted = more
    assert {*Circuit(GRAPH, nodes(GRAPH, values, n)).edges()} == wanted


def test_a_circuit_tells_its_nodes_and_is_made_of_them() -> None:
    kept = torch.tensor([node.name in ("a0.h1", "m1") for node in GRAPH.senders])
    circuit = Circuit.of_nodes(GRAPH, kept)
    assert {*circuit.edges()} == among({"a0.h1", "m1"})
    # the other head of layer 0 shares its k and v receivers
    assert circuit.nodes() == ("a0.h0", "a0.h1", "m1")
    assert circuit.nodes_kept == 3
    assert Circuit.empty(GRAPH).nodes() == ()


@given(st.integers(0, 20), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_greedy_equals_its_definition(n: int, seed: int) -> None:
    values = scores(seed)
    assert greedy(GRAPH, values, n).equal(slow_greedy(values, n))


@given(st.integers(0, GRAPH.n_edges), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_greedy_edges_all_lead_to_the_logits(n: int, seed: int) -> None:
    circuit = Circuit(GRAPH, greedy(GRAPH, scores(seed), n))
    assert len(circuit) == n
    assert circuit.effective("zero") == circuit


def test_share_counts_as_mib_does() -> None:
    """int(share x edges), whatever floating point makes of the product."""
    big = EdgeGraph(n_layers=12, n_heads=12, n_kv_heads=12)
    assert edges_of_share(big.n_edges, 0.01) == 324
    assert edges_of_share(big.n_edges, 1.0) == 32491
    hundred = next(
        g
        for g in (EdgeGraph(layers, heads, heads) for layers in range(1, 9) for heads in range(1, 9))
        if g.n_edges % 100 == 0
    )
    for percent in range(101):
        assert edges_of_share(hundred.n_edges, percent / 100) == percent * hundred.n_edges // 100
