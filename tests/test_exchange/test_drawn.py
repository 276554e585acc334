"""Pictures of circuits from files: what is in them, in which file, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from matplotlib.patches import PathPatch

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.exchange.contents import Contents
from bench.exchange.drawn import MOST, drawn_edge, picture
from bench.exchange.formats import read_circuit, write_circuit
from command_line import CommandLine
from reports.circuits.summary import _by_node

GRAPH = EdgeGraph(n_layers=2, n_heads=3, n_kv_heads=3)
ONE = Circuit.of(GRAPH, ["embed->m0", "m0->a1.h0.v", "a1.h0->logits"])
OTHER = Circuit.of(GRAPH, ["embed->m0", "m0->logits"])


@pytest.fixture
def files(command: CommandLine) -> CommandLine:
    """A folder with two circuits, and scores of all edges."""
    scores = torch.arange(GRAPH.exists.numel(), dtype=torch.float64).reshape(GRAPH.shape)
    write_circuit(command.folder / "one.safetensors", Contents(GRAPH, ONE))
    write_circuit(command.folder / "other.safetensors", Contents(GRAPH, OTHER))
    write_circuit(command.folder / "scores.safetensors", Contents(GRAPH, scores=scores))
    return command


def test_what_two_circuits_share() -> None:
    figure = picture({"a": ONE, "b": OTHER}, "")
    labels = {str(patch.get_label()) for patch in figure.axes[0].patches if isinstance(patch, PathPatch)}
    assert labels == {
        "both embed->m0", "first m0->a1.h0.v", "first a1.h0->logits", "second m0->logits"
    }  # fmt: skip
    assert "1 in both, 2 in a alone, 1 in b alone" in {text.get_text() for text in figure.axes[0].texts}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["in b alone", "in a alone", "in both"]


def test_a_large_circuit_is_counted_node_by_node() -> None:
    """Every edge once by who reads it and once by who writes it, and at most one a pair of nodes and port."""
    whole = read_circuit("published:ioi").circuit
    assert whole is not None
    assert len(whole) > MOST
    edges = [drawn_edge(edge) for edge in whole]
    read, written = (_by_node(edges, end, 12, 12) for end in ("receiver", "sender"))
    assert read.sum() == len(whole) - sum(edge.endswith("->logits") for edge in whole)
    assert written.sum() == len(whole) - sum(edge.startswith("embed->") for edge in whole)
    assert read[9, 9] == sum("->a9.h9." in edge for edge in whole)
    assert written[0, 12] == sum(edge.startswith("m0->") for edge in whole)
    titles = [axes.get_title(loc="left") for axes in picture({"ioi": whole}, "").axes]
    assert "ioi: 963 edges\nread (by the logits: 26)" in titles


@pytest.mark.parametrize("kept", [Circuit.empty(GRAPH), Circuit.full(GRAPH)])
def test_nothing_and_everything(kept: Circuit) -> None:
    assert picture({"": kept}, "").axes


def test_kinds_of_files(files: CommandLine) -> None:
    assert "one.svg: one, 3 edges" in files("draw", "one.safetensors").stdout
    assert "<svg" in (files.folder / "one.svg").read_text()
    for ending, beginning in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
        files("draw", "one.safetensors", "other.safetensors", "--out", f"two{ending}")
        assert (files.folder / f"two{ending}").read_bytes().startswith(beginning)
    assert b"/FontFile2" in (files.folder / "two.pdf").read_bytes()
    assert b"/Type3" not in (files.folder / "two.pdf").read_bytes()


def test_as_data(files: CommandLine) -> None:
    words = ("draw", "one.safetensors", "other.safetensors", "--name", "a", "--name", "b")
    files(*words, "--out", "two.json")
    told = json.loads((files.folder / "two.json").read_text())
    assert told["circuits"] == [{"name": "a", "edges_kept": 3}, {"name": "b", "edges_kept": 2}]
    edges = {f"{edge['sender']}->{edge['receiver']}": edge for edge in told["edges"]}
    assert {name: edge["in"] for name, edge in edges.items()} == {
        "embed->m0": ["a", "b"], "m0->a1.h0.v": ["a"], "a1.h0->logits": ["a"], "m0->logits": ["b"]
    }  # fmt: skip
    boxes = {node["name"]: (node["x"], node["y"]) for node in told["nodes"]}
    assert boxes.keys() == {"embed", "m0", "a1.h0", "logits"}
    assert boxes["embed"][1] < boxes["m0"][1] < boxes["a1.h0"][1] < boxes["logits"][1]
    assert all(len(edge["points"]) >= 2 for edge in told["edges"])


def test_scores_are_cut_at_a_share(files: CommandLine) -> None:
    assert "say at which share to cut them, e.g. --share 5%" in files.complaint("draw", "scores.safetensors")
    files("draw", "scores.safetensors", "--share", "10%", "--out", "scores.json")
    told = json.loads((files.folder / "scores.json").read_text())
    assert len(told["edges"]) == int(0.1 * GRAPH.n_edges)
    drawn = [edge["scores"]["scores"] for edge in told["edges"]]
    cut = read_circuit(Path(files.folder / "scores.safetensors"))
    assert cut.scores is not None
    assert min(drawn) > sorted(cut.scores[GRAPH.exists].tolist())[-len(drawn) - 1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["one.safetensors", "--out", "one.jpg"], "the ending of one.jpg is not that of a picture"),
        (["one.safetensors", "--out", "other.safetensors"], "is not that of a picture"),
        (["one.safetensors", "--share", "5%"], "one.safetensors has no scores to cut: leave --share out"),
        (["one.safetensors", "published:ioi"], "belong to different graphs"),
        (["one.safetensors", "one.safetensors"], "one.safetensors is named twice"),
        (
            ["one.safetensors", "other.safetensors", "--name", "a"],
            "give --name once for each circuit (2 here)",
        ),
        (["one.safetensors", "other.safetensors", "published:ioi"], "3 circuits cannot be drawn"),
        (["one.safetensors", "--kv", "per_heads"], "did you mean 'per_head'"),
        (["none.safetensors"], "none.safetensors cannot be read"),
        (["scores.safetensors", "--share", "5"], "not above 0 and at most 1"),
    ],
)
def test_what_is_refused(files: CommandLine, words: list[str], said: str) -> None:
    assert said in files.complaint("draw", *words)


def test_a_picture_is_not_written_over(files: CommandLine) -> None:
    files("draw", "one.safetensors")
    assert "one.svg already exists" in files.complaint("draw", "one.safetensors")
