"""Circuits and scores in every format: written and read again they are what they were."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.errors import UsageError
from bench.exchange.contents import Contents
from bench.exchange.formats import FORMATS, read_circuit, write_circuit
from bench.exchange.mib import nodes_kept
from bench.exchange.spellings import names_of

GRAPH = EdgeGraph(2, 4, 4)
GROUPED = EdgeGraph(2, 4, 2)
FOREIGN = [name for name in FORMATS if name not in ("circuitmark", "list")]
BOTH = [name for name in FORMATS if name in ("circuitmark", "mib-json", "mib-pt")]
"""Formats that hold scores and a circuit beside each other."""
EMBEDDING = {
    "mib-json": "input->a0.h3<q>",
    "autocircuit": "Resid Start->A0.3.Q",
    "acdc": "blocks.0.hook_resid_pre[:]->blocks.0.hook_q_input[:, :, 3]",
}
REST = {
    "mib-json": ["a0.h1->m0", "m0->a1.h2<v>", "m1->logits"],
    "autocircuit": ["A0.1->MLP 0", "MLP 0->A1.2.V", "MLP 1->Resid End"],
    "acdc": [
        "blocks.0.attn.hook_result[:, :, 1]->blocks.0.hook_mlp_in[:]",
        "blocks.0.hook_mlp_out[:]->blocks.1.hook_v_input[:, :, 2]",
        "blocks.1.hook_mlp_out[:]->blocks.1.hook_resid_post[:]",
    ],
}
OURS = ["embed->a0.h3.q", "a0.h1->m0", "m0->a1.h2.v", "m1->logits"]
quickly = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def graphs(draw: st.DrawFn) -> EdgeGraph:
    kv, group = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    return EdgeGraph(draw(st.integers(1, 3)), kv * group, kv, parallel=draw(st.booleans()))


def random_kept(graph: EdgeGraph, seed: int, density: float = 0.4) -> Tensor:
    return (torch.rand(graph.shape, generator=torch.Generator().manual_seed(seed)) < density) & graph.exists


def random_scores(graph: EdgeGraph, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Of all sizes, and some that are as small as a number can be."""
    drawn = torch.randn(graph.shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) ** 7
    drawn[:, 0] *= 1e-38
    return torch.where(graph.exists, drawn, 0)


def same(one: Contents, other: Contents) -> bool:
    """Graph, circuit and scores, to the bit."""
    scores = (one.scores is None) == (other.scores is None)
    if scores and one.scores is not None and other.scores is not None:
        scores = torch.equal(one.scores.double(), other.scores.double())
    return one.graph == other.graph and one.circuit == other.circuit and scores


def fresh(folder: Path, ending: str = ".file") -> Path:
    return folder / f"{len(list(folder.iterdir()))}{ending}"


@pytest.mark.parametrize("to", FORMATS)
@given(graph=graphs(), seed=st.integers(0, 99), density=st.sampled_from([0.0, 0.3, 1.0]))
@quickly
def test_a_circuit_comes_back(to: str, tmp_path: Path, graph: EdgeGraph, seed: int, density: float) -> None:
    """In other programs' formats per query head, from which it is folded again."""
    circuit = Contents(graph, Circuit(graph, random_kept(graph, seed, density)))
    file = fresh(tmp_path)
    write_circuit(file, circuit, to)
    counted = graph.per_head if to in FOREIGN else graph
    assert same(read_circuit(file), circuit.on(counted))
    assert same(read_circuit(file, graph), circuit)


@pytest.mark.parametrize("to", FORMATS)
@given(graph=graphs(), seed=st.integers(0, 99), dtype=st.sampled_from([torch.float32, torch.float64]))
@quickly
def test_scores_come_back(to: str, tmp_path: Path, graph: EdgeGraph, seed: int, dtype: torch.dtype) -> None:
    scores = Contents(graph, scores=random_scores(graph, seed, dtype))
    file = fresh(tmp_path)
    write_circuit(file, scores, to)
    assert same(read_circuit(file, graph), scores)


@pytest.mark.parametrize("to", BOTH)
def test_both_come_back(to: str, tmp_path: Path) -> None:
    both = Contents(GRAPH, Circuit(GRAPH, random_kept(GRAPH, 0)), random_scores(GRAPH, 1))
    write_circuit(tmp_path / "both", both, to)
    assert same(read_circuit(tmp_path / "both"), both)
    assert same(read_circuit(tmp_path / "both", members=True), Contents(GRAPH, both.circuit))
    write_circuit(tmp_path / "list.txt", both)
    assert same(read_circuit(tmp_path / "list.txt"), Contents(GRAPH, scores=both.scores))
    with pytest.raises(UsageError, match="does not say which edges are kept"):
        read_circuit(tmp_path / "list.txt", members=True)


def test_from_format_to_format(tmp_path: Path) -> None:
    """A walk through all of them ends where it began; files are known by their content."""
    start = Contents(GRAPH, Circuit(GRAPH, random_kept(GRAPH, 3)))
    file = tmp_path / "start"
    write_circuit(file, start, "circuitmark")
    for to in [*FORMATS, "circuitmark"]:
        out = fresh(tmp_path, ".misnamed")
        write_circuit(out, read_circuit(file), to)
        file = out
    assert same(read_circuit(file), start)


@pytest.mark.parametrize(
    ("ending", "beginning"), [(".txt", b"# graph"), (".json", b'{"cfg"'), (".pt", b"PK")]
)
def test_the_ending_says_the_format(ending: str, beginning: bytes, tmp_path: Path) -> None:
    write_circuit(tmp_path / f"a{ending}", Contents(GRAPH, Circuit.full(GRAPH)))
    assert (tmp_path / f"a{ending}").read_bytes().startswith(beginning)


@pytest.mark.parametrize("to", EMBEDDING)
def test_names_of_other_programs(to: str, tmp_path: Path) -> None:
    """As their documentation and code have them."""
    circuit = Circuit.of(GRAPH, OURS)
    write_circuit(tmp_path / "out", Contents(GRAPH, circuit), to)
    text = (tmp_path / "out").read_text()
    if to == "mib-json":
        written = [name for name, edge in json.loads(text)["edges"].items() if edge["in_graph"]]
    else:
        written = [line.replace(" -> ", "->") for line in text.splitlines()[1:]]
    assert sorted(written) == sorted([EMBEDDING[to], *REST[to]])


def test_mib_has_senders_in_rows(tmp_path: Path) -> None:
    """Its tensors are ours turned over, and its nodes stand in our order."""
    contents = Contents(GRAPH, Circuit(GRAPH, random_kept(GRAPH, 5)), random_scores(GRAPH, 6))
    write_circuit(tmp_path / "a.pt", contents)
    stored = torch.load(tmp_path / "a.pt", weights_only=True)
    assert contents.circuit is not None
    assert contents.scores is not None
    assert torch.equal(stored["edges_in_graph"], contents.circuit.kept.T)
    assert torch.equal(stored["edges_scores"], contents.scores.T)
    assert stored["src_nodes"][:3] == ["input", "a0.h0", "a0.h1"]
    assert stored["dst_nodes"][:5] == ["a0.h0<q>", "a0.h1<q>", "a0.h2<q>", "a0.h3<q>", "a0.h0<k>"]
    assert stored["cfg"]["n_layers"] == 2


def test_nodes_in_the_graph_of_mib() -> None:
    """A sender that something kept reads, and that is fed."""
    circuit = Circuit.of(GRAPH, ["embed->a0.h0.q", "a0.h0->m0", "a0.h1->m0", "m0->logits", "embed->m1"])
    senders = names_of(GRAPH, "mib")[0]
    kept = [name for name, on in zip(senders, nodes_kept(GRAPH, circuit.kept), strict=True) if on]
    assert kept == ["input", "a0.h0", "m0"]


def list_of(*lines: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "list").write_text("\n".join(lines), encoding="utf-8")
        return folder / "list"

    return write


def test_a_list_may_have_names_of_all(tmp_path: Path) -> None:
    """Comments, empty lines, room around arrows; a line that stands twice is told."""
    file = list_of("# mine", "", "embed->a0.h3.q", "Resid Start -> A0.3.Q", "A0.1->MLP 0")(tmp_path)
    contents = read_circuit(file, GRAPH)
    assert contents.circuit == Circuit.of(GRAPH, ["embed->a0.h3.q", "a0.h1->m0"])
    assert contents.notes == ("1 lines repeat an edge; each edge counts once",)
    with pytest.raises(UsageError, match="does not say which model its edges belong to"):
        read_circuit(file)


def test_a_list_of_a_grouped_model(tmp_path: Path) -> None:
    """Our names number keys by group, other programs' by query head."""
    ours = read_circuit(list_of("embed->a0.h1.k")(tmp_path), GROUPED)
    theirs = read_circuit(list_of("input->a0.h2<k>", "input->a0.h3<k>")(tmp_path), GROUPED)
    assert ours.circuit == theirs.circuit == Circuit.of(GROUPED, ["embed->a0.h1.k"])
    with pytest.raises(
        UsageError, match=r"input|embed->a0.h2.k and .* differ.*--kv per_head accepts it as it is"
    ):
        read_circuit(list_of("input->a0.h2<k>")(tmp_path), GROUPED)


def test_edges_inside_of_a_head_are_none(tmp_path: Path) -> None:
    """ACDC has one from a query's input to the query, and from there to the head's output."""
    lines = (
        "blocks.0.hook_q_input[:, :, 1] -> blocks.0.attn.hook_q[:, :, 1]",
        "blocks.0.attn.hook_q[:, :, 1] -> blocks.0.attn.hook_result[:, :, 1]",
        "blocks.0.hook_mlp_in[:] -> blocks.0.hook_mlp_out[:]",
        "blocks.0.hook_mlp_out[:] -> blocks.1.hook_resid_post[:]",
    )
    assert read_circuit(list_of(*lines)(tmp_path), GRAPH).circuit == Circuit.of(GRAPH, ["m0->logits"])


def test_a_split_embedding_has_names_at_acdc_alone(tmp_path: Path) -> None:
    graph = EdgeGraph(1, 2, 2, split_embed=True)
    contents = Contents(graph, Circuit.of(graph, ["tok->a0.h0.q", "pos->m0"]))
    write_circuit(tmp_path / "acdc", contents, "acdc")
    assert same(read_circuit(tmp_path / "acdc"), contents)
    for to in ("mib-json", "mib-pt", "autocircuit"):
        with pytest.raises(UsageError, match="has no node 'tok'"):
            write_circuit(tmp_path / to, contents, to)
        assert not (tmp_path / to).exists()


def test_masks_of_weights_stay_at_home(tmp_path: Path) -> None:
    weights = {"m0.W_in": torch.ones(3, 4, dtype=torch.bool)}
    contents = Contents(GRAPH, Circuit(GRAPH, random_kept(GRAPH, 0), weights))
    write_circuit(tmp_path / "ours.safetensors", contents)
    assert read_circuit(tmp_path / "ours.safetensors").circuit == contents.circuit
    for to in set(FORMATS) - {"circuitmark"}:
        with pytest.raises(UsageError, match="has weight masks"):
            write_circuit(tmp_path / to, contents, to)


@pytest.mark.parametrize(
    "edges",
    [
        {"input->m0": {"in_graph": True}},
        {"input->m0": {"score": 1}},
        {"input->m0": {"in_graph": True, "score": 2.5}},
    ],
    ids=["membership", "scores", "both"],
)
def test_mib_files_with_one_of_both(edges: Any, tmp_path: Path) -> None:
    """MIB asks for membership without scores; what a file does not name is not kept and worth nothing."""
    cfg = {"n_layers": 2, "n_heads": 4, "parallel_attn_mlp": False, "d_model": 8}
    (tmp_path / "a").write_text(json.dumps({"cfg": cfg, "nodes": {}, "edges": edges}))
    contents = read_circuit(tmp_path / "a")
    assert (contents.circuit is None) == ("in_graph" not in edges["input->m0"])
    assert (contents.scores is None) == ("score" not in edges["input->m0"])
    if contents.circuit is not None:
        assert contents.circuit == Circuit.of(GRAPH, ["embed->m0"])
    if contents.scores is not None:
        assert int((contents.scores != 0).sum()) == 1


@pytest.mark.parametrize("to", FORMATS)
@given(graph=graphs(), seed=st.integers(0, 99), with_circuit=st.booleans())
@quickly
def test_scores_of_nodes_come_back(
    to: str, tmp_path: Path, graph: EdgeGraph, seed: int, with_circuit: bool
) -> None:
    """One that has none as well; what cannot hold them refuses, and writes nothing."""
    nodes = random_scores(graph, seed)[-1].clone()
    nodes[seed % (len(nodes) - 1)] = torch.nan
    nodes[-1] = -1.0
    circuit = Circuit(graph, random_kept(graph, seed)) if with_circuit else None
    file = fresh(tmp_path)
    if to not in ("mib-json", "mib-pt"):
        with pytest.raises(UsageError, match="only mib-json and mib-pt hold scores of nodes"):
            write_circuit(file, Contents(graph, circuit, nodes=nodes), to)
        assert not file.exists()
        return
    write_circuit(file, Contents(graph, circuit, nodes=nodes), to)
    back = read_circuit(file, graph)
    assert back.nodes is not None
    assert torch.equal(back.nodes.double().nan_to_num(), nodes.double().nan_to_num())
    assert torch.equal(back.nodes.isnan(), nodes.isnan())
    kept = circuit if circuit is not None and len(circuit) else None
    assert (back.circuit, back.scores, back.notes) == (kept, None, ())


def test_scores_of_edges_are_taken_before_those_of_nodes(tmp_path: Path) -> None:
    """And it is told; the logits, which always stay, may have one as well."""
    cfg = {"n_layers": 2, "n_heads": 4}
    nodes: Any = {"m0": {"score": 2.0}, "logits": {"score": 3.0}, "a0.h1": {"score": None}}
    for name, score in (("edges", 1.0), ("nodes", 0.0)):
        edges = {"input->m0": {"score": score}}
        (tmp_path / name).write_text(json.dumps({"cfg": cfg, "nodes": nodes, "edges": edges}))
    contents = read_circuit(tmp_path / "edges")
    assert contents.nodes is None
    assert contents.notes == ("both its edges and its nodes have scores: those of the edges are used",)
    contents = read_circuit(tmp_path / "nodes")
    assert contents.scores is None
    assert contents.nodes is not None
    assert contents.nodes.nansum() == 2
    assert int(contents.nodes.isnan().sum()) == len(GRAPH.senders) - 1
    with pytest.raises(UsageError, match="it belongs to another graph"):
        read_circuit(tmp_path / "nodes", EdgeGraph(3, 4, 4))


def test_contents_have_scores_of_one_kind() -> None:
    with pytest.raises(ValueError, match="it has scores of edges and of nodes"):
        Contents(GRAPH, scores=random_scores(GRAPH, 0), nodes=torch.zeros(len(GRAPH.senders)))


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path / 'a.txt'} already exists")):
        write_circuit(tmp_path / "a.txt", Contents(GRAPH, Circuit.full(GRAPH)))
    assert (tmp_path / "a.txt").read_text() == "mine"
