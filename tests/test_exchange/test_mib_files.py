"""Files that MIB's own code wrote, of a model whose heads share keys and values: its numbers are ours."""

from __future__ import annotations

import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import mib_oracle
from bench.exchange.cuts import of_best_nodes
from bench.exchange.formats import read_circuit, write_circuit
from bench.exchange.scored import GRID, score_circuits
from bench.study import Study

EXACT = 1e-9
"""Both sides count in float64; a millionth of what is asked for."""


@cache
def study() -> Study:
    """Counted per query head, as MIB counts."""
    model, examples, _ = mib_oracle.stored()
    return mib_oracle.study_of(mib_oracle.grouped(model).with_kv_per_head(), examples)


def numbers(reading: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(mib_oracle.GROUPED_NUMBERS.read_text())[reading]
    return found


@pytest.fixture
def files(tmp_path: Path) -> Path:
    with zipfile.ZipFile(mib_oracle.FILES) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def test_a_submission_of_nine_files(files: Path) -> None:
    """Edges as MIB counts them, faithfulness at every share, CPR and CMD."""
    told, _ = score_circuits(study(), [files / f"{share:g}.json" for share in GRID], random_draws=0)
    theirs, areas = numbers("submission"), numbers("absolute")
    assert [each["effective_edges"] for each in told["circuits"]] == theirs["edges"]
    found = [each["faithfulness"] for each in told["circuits"]]
    assert found == pytest.approx(theirs["faithfulness"], abs=EXACT)
    assert found == pytest.approx(areas["faithfulness"][:-1], abs=EXACT)
    (area,) = told["areas"]
    assert area["cpr"] == pytest.approx(areas["area_under"], abs=EXACT)
    assert area["cmd"] == pytest.approx(areas["area_from_1"], abs=EXACT)


@pytest.mark.parametrize("file", ["scores.json", "scores.pt"])
def test_a_file_of_scores(files: Path, file: str) -> None:
    """CPR of the ranking with its sign, CMD of the absolute one."""
    told, _ = score_circuits(study(), [files / file], random_draws=0)
    (area,) = told["areas"]
    assert area["cpr"] == pytest.approx(numbers("signed")["area_under"], abs=EXACT)
    assert area["cmd"] == pytest.approx(numbers("absolute")["area_from_1"], abs=EXACT)
    for reading in ("absolute", "signed"):
        own = [each for each in told["circuits"] if each["ranking"] == reading]
        assert [each["effective_edges"] for each in own] == numbers(reading)["edges"][:-1]
        shares = [each["faithfulness"] for each in own]
        assert shares == pytest.approx(numbers(reading)["faithfulness"][:-1], abs=EXACT)


@pytest.mark.parametrize("file", ["nodes.json", "nodes.pt"])
def test_a_file_of_scores_of_nodes(files: Path, file: str) -> None:
    """At its shares of the nodes, the embedding one of them: edges that are, faithfulness, CPR and CMD."""
    told, notes = score_circuits(study(), [files / file], random_draws=0)
    assert not notes
    (area,) = told["areas"]
    assert area["cpr"] == pytest.approx(numbers("nodes signed")["area_under"], abs=EXACT)
    assert area["cmd"] == pytest.approx(numbers("nodes absolute")["area_from_1"], abs=EXACT)
    for reading in ("absolute", "signed"):
        own = [each for each in told["circuits"] if each["ranking"] == reading]
        theirs = numbers(f"nodes {reading}")
        assert [each["effective_edges"] for each in own] == theirs["edges"]
        assert [each["faithfulness"] for each in own] == pytest.approx(theirs["faithfulness"][:-1], abs=EXACT)
    assert {each["level"] for each in told["circuits"]} == {"node"}


def test_a_circuit_of_nodes_as_it_wrote_it(files: Path) -> None:
    """It marks receivers that a node comes after; what is kept is the circuit of the five best nodes."""
    both = read_circuit(files / "nodes_and_circuit.pt")
    assert both.circuit is not None
    assert both.nodes is not None
    best = of_best_nodes(both.graph, both.nodes.abs(), 5 / 31)
    assert both.circuit.effective("resample") == best.effective("resample")
    (note,) = both.notes
    assert note.endswith("edges that cannot exist are marked as kept; they are ignored")


def test_both_of_its_formats_say_the_same(files: Path) -> None:
    one, other = (read_circuit(files / file) for file in ("scores.json", "scores.pt"))
    assert one.scores is not None
    assert other.scores is not None
    assert torch.equal(one.scores, other.scores.double())
    one, other = (read_circuit(files / file) for file in ("nodes.json", "nodes.pt"))
    assert one.nodes is not None
    assert other.nodes is not None
    assert torch.equal(one.nodes, other.nodes.double())
    members = [read_circuit(files / file).circuit for file in ("0.05.json", "circuit.pt")]
    assert members[0] == members[1]


@pytest.mark.parametrize(
    "file", ["scores.json", "0.05.json", "nodes.json", "scores.pt", "circuit.pt", "nodes.pt"]
)
def test_what_we_write_is_what_it_wrote(files: Path, file: str) -> None:
    """Entry by entry; but for the width of the model, which edges do not use."""
    out = files / f"ours{Path(file).suffix}"
    write_circuit(out, read_circuit(files / file))
    if out.suffix == ".json":
        theirs, ours = (json.loads(each.read_text()) for each in (files / file, out))
        assert theirs["nodes"].keys() == ours["nodes"].keys()
        assert theirs["edges"] == ours["edges"]
        if file == "0.05.json":
            assert theirs["nodes"] == ours["nodes"]
        if file == "nodes.json":
            rated = [
                {name: node.get("score") for name, node in each["nodes"].items()} for each in (theirs, ours)
            ]
            assert rated[0] == rated[1]
        return
    theirs, ours = (torch.load(each, weights_only=True) for each in (files / file, out))
    assert theirs.keys() == ours.keys()
    for name in ("src_nodes", "dst_nodes"):
        assert theirs[name] == ours[name]
    for name in {"edges_scores", "edges_in_graph", "nodes_scores"} & theirs.keys():
        assert torch.equal(theirs[name], ours[name])
