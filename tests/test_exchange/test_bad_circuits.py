"""Files that are no circuits: one line that names the file and the cause, exit code 2, nothing written."""

from __future__ import annotations

import io
import json
import os
import zipfile
from typing import Any

import pytest
import torch

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.exchange.contents import Contents
from bench.exchange.formats import FORMATS, write_circuit
from command_line import CommandLine
from malformed import ANY, in_time

GRAPH = EdgeGraph(2, 2, 2)
CFG = {"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": False, "d_model": 8}
LIST = '# graph of circuitmark: {"n_layers": 2, "n_heads": 2, "n_kv_heads": 2}\n'
MANY = 1_000_000


class Code:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def as_json(edges: Any, **rest: Any) -> bytes:
    return json.dumps({"cfg": CFG, "nodes": {}, "edges": edges, **rest}).encode()


def as_pt(**parts: Any) -> bytes:
    rows, columns = GRAPH.shape
    whole = {"cfg": CFG, "edges_scores": torch.ones(columns, rows)} | parts
    file = io.BytesIO()
    torch.save({name: part for name, part in whole.items() if part is not None}, file)
    return file.getvalue()


def not_finite() -> torch.Tensor:
    scores = torch.zeros(GRAPH.shape)
    scores[GRAPH.parse_edge("a0.h1->m1")] = torch.nan
    return scores.T


def a_bomb() -> bytes:
    """An archive that says of itself that it unpacks to a terabyte."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(1000))
        archive.filelist[0].file_size = 2**40
    return file.getvalue()


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "no UTF-8": (LIST.encode() + b"embed -> m\xff0\n", "is not UTF-8 text"),
    "a line of a million characters": (f"{LIST}{'a' * MANY} -> m0".encode(), "has 1,000,006 characters"),
    "a list of no model": (
        b"embed -> m0\n",
        "does not say which model its edges belong to: name one with --model",
    ),
    "a list of nothing": (b"# nothing\n\n", "it has no line with an edge"),
    "no arrow": (
        f"{LIST}embed m0".encode(),
        "line 2: 'embed m0' is not an edge: write it as sender -> receiver",
    ),
    "an unknown node": (
        f"{LIST}a0.h7 -> m0".encode(),
        "line 2: 'a0.h7' is not a sender of this model; did you mean",
    ),
    "an unknown name of AutoCircuit's": (f"{LIST}A0.1 -> MPL 1".encode(), "did you mean 'MLP 1'?"),
    "sender after receiver": (
        f"{LIST}embed -> m0\nm1 -> m0".encode(),
        "line 3: 'm1 -> m0' is not an edge: m1 is computed after m0 is read",
    ),
    "two scores of one edge": (
        f"{LIST}embed->m0\t1\nembed->m0\t2".encode(),
        "line 3: 'embed->m0' was listed before",
    ),
    "some scores": (f"{LIST}embed->m0\t1".encode(), "1 of the graph's 46 edges have a score"),
    "a score that is none": (
        LIST.encode() + b"".join(f"{edge}\tx\n".encode() for edge in Circuit.full(GRAPH)),
        "the score 'x' is not a number",
    ),
    "NaN in a list": (
        LIST.encode() + b"".join(f"{edge}\tnan\n".encode() for edge in Circuit.full(GRAPH)),
        "46 scores are not finite, the first that of embed->a0.h0.q",
    ),
    "a graph that is none": (
        b'# graph of circuitmark: {"n_layers": 2}\nembed->m0',
        "its first line does not describe a graph",
    ),
    "a graph beyond all": (
        b'# graph of circuitmark: {"n_layers": 9999, "n_heads": 9999, "n_kv_heads": 1}\n',
        "it describes a graph of",
    ),
    "truncated JSON": (as_json({"input->m0": {"in_graph": True}})[:-20], "it is not valid JSON (line 1: "),
    "JSON of another kind": (b'{"edges": [1, 2]}', "it has no 'edges', by which MIB's circuits"),
    "deep JSON": (b"[" * 100_000, "nested too deep"),
    "no cfg": (b'{"edges": {}}', "its cfg, which says how many layers and heads there are, is missing"),
    "a cfg of nothing": (as_json({}, cfg={**CFG, "n_layers": 0}), "its cfg: n_layers must be at least 1"),
    "a cfg beyond all": (
        as_json({}, cfg={**CFG, "n_layers": 900, "n_heads": 900}),
        "it describes a graph of",
    ),
    "an unknown name of MIB's": (as_json({"inptu->m0": {"in_graph": True}}), "did you mean 'input'?"),
    "backwards": (
        as_json({"m1->a0.h0<q>": {"in_graph": True}}),
        "is not an edge: m1 is computed after a0.h0<q> is read",
    ),
    "a name twice": (
        b'{"cfg": 1, "edges": {"input->m0": {"score": 1}, "input->m0": {"score": 2}}}',
        "'input->m0' appears in it twice",
    ),
    "NaN": (
        as_json({"input->m0": {"score": float("nan")}}),
        "1 scores are not finite, the first that of embed->m0",
    ),
    "a score beyond numbers": (as_json({"input->m0": {"score": 10**400}}), "1 scores are not finite"),
    "a score of text": (as_json({"input->m0": {"score": "1"}}), "the score of 'input->m0' is not a number"),
    "membership of a number": (
        as_json({"input->m0": {"in_graph": 1}}),
        "the in_graph of 'input->m0' is not true or false",
    ),
    "some membership": (
        as_json({"input->m0": {"in_graph": True}, "input->m1": {}}),
        "'input->m1' has no in_graph",
    ),
    "an edge of nothing": (as_json({"input->m0": {}}), "its edges have neither 'score' nor 'in_graph'"),
    "neurons": (as_json({}, nodes={"m0": {"in_graph": True, "neurons": [1]}}), "a circuit of neurons"),
    "scores of neurons": (as_json({}, nodes={"m0": {"neurons_scores": [0.5]}}), "a circuit of neurons"),
    "a node of another model": (
        as_json({}, nodes={"m2": {"score": 0.5}}),
        "'m2' is not a sender of this model",
    ),
    "a node's score of text": (
        as_json({}, nodes={"m0": {"score": "1"}}),
        "the score of 'm0' is not a number",
    ),
    "a node's score beyond numbers": (
        as_json({}, nodes={"m0": {"score": -(10**400)}, "m1": {"score": 1}}),
        "1 scores of nodes are infinite, the first that of m0",
    ),
    "code": (
        as_pt(cfg=Code()),
        "more than tensors, numbers and strings, so it could run code, and is not read",
    ),
    "a shape": (
        as_pt(edges_scores=torch.ones(7, 14)),
        "its edges_scores are (7, 14), but its cfg has 7 senders and",
    ),
    "turned over": (
        as_pt(edges_scores=torch.ones(GRAPH.shape)),
        "but its cfg has 7 senders and 15 receivers",
    ),
    "no tensor": (as_pt(edges_scores=[[1.0]]), "its edges_scores are list"),
    "no plain tensor": (as_pt(edges_scores=torch.ones(7, 15).T.to_sparse().T), "its edges_scores are"),
    "whole numbers": (
        as_pt(edges_scores=torch.ones(GRAPH.shape, dtype=torch.int32).T),
        "not floating-point numbers",
    ),
    "half a membership": (
        as_pt(edges_in_graph=torch.full(GRAPH.shape, 0.5).T),
        "its edges_in_graph are not all 0 or 1",
    ),
    "NaN in tensors": (
        as_pt(edges_scores=not_finite()),
        "1 scores are not finite, the first that of a0.h1->m1",
    ),
    "other nodes": (as_pt(src_nodes=["m0"]), "its src_nodes are not the nodes of its cfg"),
    "neurons in tensors": (as_pt(neurons_in_graph=torch.zeros(7, 8)), "a circuit of neurons"),
    "scores of neurons in tensors": (as_pt(neurons_scores=torch.zeros(7, 8)), "a circuit of neurons"),
    "too few nodes": (
        as_pt(nodes_scores=torch.ones(6)),
        "its nodes_scores are not 7 floating-point numbers, one for each sender of its cfg",
    ),
    "nodes in whole numbers": (
        as_pt(nodes_scores=torch.ones(7, dtype=torch.int64)),
        "its nodes_scores are not 7 floating-point numbers",
    ),
    "no plain nodes": (
        as_pt(nodes_scores=torch.ones(7).to_sparse()),
        "its nodes_scores are not a plain tensor",
    ),
    "another dictionary": (
        as_pt(edges_scores=None),
        "it has no edges_scores, edges_in_graph or nodes_scores",
    ),
    "half a torch file": (as_pt()[:-200], "it is not a complete torch file"),
    "a bomb": (a_bomb(), "it unpacks to 1,099,511,627,776 bytes"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_one_line(kind: str, command: CommandLine) -> None:
    content, expected = BAD[kind]
    (command.folder / "bad").write_bytes(content)
    with in_time():
        line = command.complaint("convert", "bad", "out.json")
    assert line.startswith("circuitmark: bad")
    assert expected in line
    assert len(line) < 400


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("damage", ANY)
def test_any_file_may_be_damaged(to: str, damage: str, command: CommandLine) -> None:
    """However, in whatever format: it is one line, or what is left is a circuit still."""
    file = command.folder / "damaged"
    write_circuit(file, Contents(GRAPH, Circuit.of(GRAPH, ["embed->m0", "m0->logits"])), to)
    ANY[damage](file)
    if damage == "half" and FORMATS[to].ending in ("", ".txt"):
        return  # a list without its last lines is a list
    with in_time():
        assert "damaged" in command.complaint("convert", "damaged", "out.json")


def test_a_file_that_is_not_there(command: CommandLine) -> None:
    assert "nowhere cannot be read (No such file or directory)" in command.complaint(
        "convert", "nowhere", "a.txt"
    )
    assert "known: greater_than, ioi" in command.complaint("convert", "published:gp", "a.txt")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("a.txt", "b.bin"),
            "the ending of b.bin is not that of a format (.safetensors, .json, .pt, .txt): name the format",
        ),
        (("a.txt", "b.txt", "--to", "mib_json"), "unknown format 'mib_json'; did you mean 'mib-json'?"),
        (("a.txt", "a.txt"), "a.txt already exists and is not overwritten"),
        (("a.txt", "b.txt", "--kv", "per_hed"), "unknown kv 'per_hed'; did you mean 'per_head'?"),
        (("a.txt", "b.txt", "--kv", "per_group"), "only the model says which heads form a group"),
        (("a.txt", "b.txt", "--model", "embedded"), "a.txt: it belongs to another graph (edges=46 "),
        (("a.txt", "b.txt", "--model", "embeded"), "did you mean 'embedded'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_typed_wrong(words: tuple[str, ...], expected: str, command: CommandLine) -> None:
    (command.folder / "a.txt").write_text(f"{LIST}embed -> m0\n")
    assert expected in command.complaint("convert", *words)


@pytest.mark.parametrize("to", ["circuitmark", "mib-json", "list"])
def test_a_circuit_of_another_graph_is_not_scored(to: str, command: CommandLine) -> None:
    """Both graphs are told."""
    write_circuit(command.folder / "small", Contents(GRAPH, Circuit.full(GRAPH)), to)
    line = command.complaint("score", "small", "-t", "gp")
    assert "small: it belongs to another graph (edges=46 embed=joint kv=per_head parallel=false)" in line
    assert "this one is edges=1519 embed=joint kv=per_head parallel=false" in line
