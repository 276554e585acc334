"""The edge graph: its counts, its order, its names."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.engine.graph import EdgeGraph, Node

GPT2_SMALL = EdgeGraph(n_layers=12, n_heads=12, n_kv_heads=12)
TINY = EdgeGraph(n_layers=2, n_heads=4, n_kv_heads=2)


@st.composite
def graphs(draw: st.DrawFn) -> EdgeGraph:
    """Shapes of all kinds: grouped heads, parallel blocks, embeddings apart."""
    n_kv_heads = draw(st.integers(1, 3))
    return EdgeGraph(
        n_layers=draw(st.integers(0, 4)),
        n_heads=n_kv_heads * draw(st.integers(1, 3)),
        n_kv_heads=n_kv_heads,
        parallel=draw(st.booleans()),
        split_embed=draw(st.booleans()),
    )


def written_at(node: Node, parallel: bool) -> int:
    """The time at which a sender's output is in the residual stream; a layer takes four ticks."""
    if node.layer is None:
        return 0
    return 4 * node.layer + (2 if node.kind == "head" or parallel else 4)


def read_at(node: Node, graph: EdgeGraph) -> int:
    """The time at which a receiver reads the residual stream."""
    if node.layer is None:
        return 4 * graph.n_layers + 1
    return 4 * node.layer + (1 if node.kind == "head" or graph.parallel else 3)


def names(nodes: tuple[Node, ...]) -> str:
    return " ".join(node.name for node in nodes)


def test_counts_that_others_published() -> None:
    """ACDC's GPT-2 small has 32,491 edges; Edge Pruning, with token and position apart, 32,936."""
    assert GPT2_SMALL.n_edges == 32_491
    assert EdgeGraph(12, 12, 12, split_embed=True).n_edges == 32_936


@pytest.mark.parametrize(
    ("graph", "per_group", "per_head"),
    [
        (EdgeGraph(24, 14, 2), 79_813, 179_749),
        (EdgeGraph(26, 8, 4, coupled_heads=True), 50_610, 74_218),
        (EdgeGraph(32, 32, 8), 805_681, 1_592_881),
    ],
    ids=["Qwen2.5-0.5B", "Gemma-2-2B", "Llama-3.1-8B"],
)
def test_counts_per_group_and_per_head(graph: EdgeGraph, per_group: int, per_head: int) -> None:
    """Per head as MIB counts (Mueller et al. 2025); layers, heads and KV heads as the configs have them."""
    assert (graph.n_edges, graph.per_head.n_edges) == (per_group, per_head)
    assert graph.per_head.per_head == graph.per_head


@given(graphs())
@settings(max_examples=30, deadline=None)
def test_a_row_per_head_stands_for_the_row_of_its_group(graph: EdgeGraph) -> None:
    """Told by names: a key or a value of a head is that of the group that the head is in."""
    shared = graph.n_heads // graph.n_kv_heads
    for node, row in zip(graph.per_head.receivers, graph.rows_per_head.tolist(), strict=True):
        found = graph.receivers[row]
        assert (found.kind, found.layer, found.port) == (node.kind, node.layer, node.port)
        if node.head is not None:
            assert found.head == (node.head if node.port == "q" else node.head // shared)


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_an_edge_exists_when_its_sender_is_computed_before_its_receiver_reads(graph: EdgeGraph) -> None:
    """Held by brute force over all pairs of nodes, for any shape."""
    expected = torch.tensor(
        [[written_at(s, graph.parallel) < read_at(r, graph) for s in graph.senders] for r in graph.receivers]
    )
    assert torch.equal(graph.exists, expected)
    assert graph.n_edges == int(expected.sum())


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_a_receiver_reads_a_prefix_and_later_ones_read_no_less(graph: EdgeGraph) -> None:
    """What the streams rely on: one `widths` entry says all of a row; rows come in computing order."""
    assert torch.equal(graph.exists.sum(1), graph.widths)
    assert torch.equal(graph.exists, graph.exists.cummin(1).values)
    assert torch.equal(graph.widths, graph.widths.cummax(0).values)
    assert graph.widths[-1] == len(graph.senders)


def test_order_of_nodes() -> None:
    """Columns and rows stand in computing order, k and v once per KV head."""
    assert names(TINY.senders) == "embed a0.h0 a0.h1 a0.h2 a0.h3 m0 a1.h0 a1.h1 a1.h2 a1.h3 m1"
    assert names(TINY.receivers) == (
        "a0.h0.q a0.h1.q a0.h2.q a0.h3.q a0.h0.k a0.h1.k a0.h0.v a0.h1.v m0 "
        "a1.h0.q a1.h1.q a1.h2.q a1.h3.q a1.h0.k a1.h1.k a1.h0.v a1.h1.v m1 logits"
    )
    assert names(EdgeGraph(1, 1, 1, split_embed=True).senders) == "tok pos a0.h0 m0"


@given(graphs())
@settings(max_examples=30, deadline=None)
def test_slices_cover_the_nodes_of_a_layer(graph: EdgeGraph) -> None:
    """`head_columns` and `attention_rows` hold a layer's heads and ports, and its MLP comes next."""
    for layer in range(graph.n_layers):
        columns, rows = graph.head_columns(layer), graph.attention_rows(layer)
        assert {(n.kind, n.layer) for n in graph.senders[columns]} == {("head", layer)}
        assert len(graph.senders[columns]) == graph.n_heads
        assert {(n.kind, n.layer) for n in graph.receivers[rows]} == {("head", layer)}
        assert len(graph.receivers[rows]) == graph.n_heads + 2 * graph.n_kv_heads
        assert graph.senders[columns.stop].name == graph.receivers[rows.stop].name == f"m{layer}"


@given(graphs())
@settings(max_examples=30, deadline=None)
def test_names_are_unique_and_parse_back(graph: EdgeGraph) -> None:
    """Every edge's name is its own, and `parse_edge` is the inverse of `edge_name`."""
    edges = [(int(row), int(column)) for row, column in graph.exists.nonzero()]
    texts = [graph.edge_name(*edge) for edge in edges]
    assert len(set(texts)) == graph.n_edges
    assert [graph.parse_edge(text) for text in texts] == edges


def test_parse_edge_takes_spaces() -> None:
    """Users may write an edge with room around its arrow."""
    assert TINY.parse_edge(" a0.h3 -> m1 ") == TINY.parse_edge("a0.h3->m1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("embed", "'embed' is not an edge: write it as sender->receiver, e.g. embed->m0"),
        ("", "'' is not an edge: write it as sender->receiver, e.g. embed->m0"),
        ("embd->m0", "'embd' is not a sender of this model; did you mean 'embed'?"),
        ("embed->logit", "'logit' is not a receiver of this model; did you mean 'logits'?"),
        ("zzz->m0", "'zzz' is not a sender of this model"),
        ("logits->m0", "'logits' is not a sender of this model"),
        ("embed->m0->m1", "'m0->m1' is not a receiver of this model"),
        ("m0->a0.h0.q", "'m0->a0.h0.q' is not an edge: m0 is computed after a0.h0.q is read"),
        ("m1->m1", "'m1->m1' is not an edge: m1 is computed after m1 is read"),
    ],
)
def test_bad_edges_are_refused_in_one_clear_line(text: str, message: str) -> None:
    """Misspelt nodes get a suggestion; edges in the wrong order say so."""
    with pytest.raises(ValueError) as error:  # noqa: PT011
        TINY.parse_edge(text)
    assert str(error.value) == message


def test_a_key_per_query_head_is_no_receiver_under_grouped_query_attention() -> None:
    """Four heads in two groups have the keys 0 and 1."""
    assert TINY.parse_edge("embed->a0.h1.k")
    with pytest.raises(ValueError, match=r"'a0\.h2\.k' is not a receiver of this model"):
        TINY.parse_edge("embed->a0.h2.k")


def test_a_parallel_mlp_does_not_read_the_heads_of_its_layer() -> None:
    """In a parallel block the MLP reads what its layer's heads read, and no more."""
    graph = EdgeGraph(2, 2, 2, parallel=True)
    row = graph.parse_edge("a0.h0->m1")[0]
    assert [n.name for n, there in zip(graph.senders, graph.exists[row], strict=True) if there] == [
        "embed", "a0.h0", "a0.h1", "m0",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"a1\.h0 is computed after m1 is read"):
        graph.parse_edge("a1.h0->m1")
    EdgeGraph(2, 2, 2).parse_edge("a1.h0->m1")


def test_owners_say_who_computes_from_a_receiver() -> None:
    """A query belongs to its head, a key or value to its group of heads, the logits to nobody."""
    owned = {
        receiver.name: [s.name for s, own in zip(TINY.senders, row, strict=True) if own]
        for receiver, row in zip(TINY.receivers, TINY.owners, strict=True)
    }
    assert owned["a1.h2.q"] == ["a1.h2"]
    assert owned["a1.h0.k"] == owned["a1.h0.v"] == ["a1.h0", "a1.h1"]
    assert owned["a0.h1.k"] == owned["a0.h1.v"] == ["a0.h2", "a0.h3"]
    assert owned["m1"] == ["m1"]
    assert owned["logits"] == []


@given(graphs())
@settings(max_examples=30, deadline=None)
def test_every_sender_but_the_embedding_has_its_receivers(graph: EdgeGraph) -> None:
    """A head computes from three receivers, an MLP from one, an embedding from none."""
    expected = {"embed": 0, "head": 3, "mlp": 1}
    assert graph.owners.sum(0).tolist() == [expected[node.kind] for node in graph.senders]


DIRECT = ["embed->logits"]
EARLY = [f"{sender}->logits" for sender in ("a0.h0", "a0.h1", "m0")]
LATE = ["embed->m1", *(f"embed->a1.h{head}.{port}" for head in (0, 1) for port in "qkv")]


@pytest.mark.parametrize(
    ("removed", "edges"), [([], 1), (DIRECT, 2), ([*DIRECT, *EARLY], 2), ([*DIRECT, *EARLY, *LATE], 3)]
)
def test_the_shortest_path_is_counted(removed: list[str], edges: int) -> None:
    """Without the direct one, without what leaves the first layer, without what enters the second."""
    graph = EdgeGraph(2, 2, 2)
    for edge in removed:
        graph.exists[graph.parse_edge(edge)] = False
    assert graph.shortest_path == edges


@given(graphs())
@settings(deadline=None)
def test_an_embedding_is_read_by_the_logits(graph: EdgeGraph) -> None:
    assert graph.shortest_path == 1


def test_description_says_which_graph_was_counted() -> None:
    """What every record carries."""
    assert GPT2_SMALL.description == "edges=32491 embed=joint kv=per_head parallel=false"
    split = EdgeGraph(2, 4, 2, parallel=True, split_embed=True)
    assert split.description == f"edges={split.n_edges} embed=split kv=per_group_2 parallel=true"
