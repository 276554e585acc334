"""What circuits share, by hand: over data seeds, method seeds and halves of the wordings."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.errors import DamagedFile
from bench.scoring.cells import scored
from bench.scoring.comparison.stability import Stability, stabilities
from bench.store.results import Run, Store
from command_line import CommandLine
from made_runs import run

GRAPH = EdgeGraph(n_layers=1, n_heads=2, n_kv_heads=2)
EDGES = tuple(Circuit.full(GRAPH))


def keep(store: Store, each: Run, edges: tuple[str, ...], **changed: object) -> None:
    """Stores a run whose circuit of a tenth has these edges."""
    circuit = Circuit.of(GRAPH, edges)
    circuits = {
        name: {**kept, "hash": circuit.digest, "edges_kept": 9} for name, kept in each.record.circuits.items()
    }
    record = dataclasses.replace(each.record, circuits=circuits, **changed)  # type: ignore[arg-type]
    words = [record.method, record.data_seed, record.method_seed, record.wordings]
    stem = "-".join(str(word).replace(" ", "_") for word in words)
    store.save(stem, Run(record, each.tensors))
    circuit.save(store.circuit(stem, 0.1))


def board(folder: Path) -> Store:
    """Three data seeds, two method seeds on the first, both halves of the wordings, three random draws."""
    store, first = Store(folder), EDGES[:4]
    keep(store, run("one", {0.1: 0.2}), first)
    keep(store, run("one", {0.1: 0.4}, data_seed=1), (*first[:3], EDGES[5]))
    keep(store, run("one", {0.1: 0.8}, data_seed=2), (*first[:2], *EDGES[6:8]))
    keep(store, run("one", {0.1: 0.3}), (*first[1:], EDGES[8]), method_seed=1)
    keep(store, run("one", {0.1: 0.3}), first, wordings="first half")
    keep(store, run("one", {0.1: 0.3}), EDGES[4:8], wordings="second half")
    for seed, edges in enumerate((EDGES[:2], EDGES[2:4], EDGES[:1] + EDGES[4:5])):
        keep(store, run("random_edges", {0.1: 1.0}), edges, method_seed=seed)
    return store


def found(store: Store) -> dict[str, Stability]:
    return {each.row.over: each for each in stabilities(scored(store.runs()), store)}


def test_by_hand(tmp_path: Path) -> None:
    told = found(board(tmp_path))
    assert {over: each.circuits for over, each in told.items()} == {
        "data seeds": 3, "method seeds": 2, "wordings": 2
    }  # fmt: skip
    data = told["data seeds"]
    assert data.jaccard == pytest.approx((3 / 5 + 2 / 6 + 2 / 6) / 3)
    assert data.core == 2 / 7
    assert told["method seeds"].jaccard == pytest.approx(3 / 5)
    assert told["method seeds"].core == 3 / 5
    assert told["wordings"].jaccard == told["wordings"].core == 0
    assert data.jaccard_random == pytest.approx((0 + 1 / 3 + 0) / 3)
    row = data.to_json()
    assert 0.1 < row["recovered_worst"] < 0.3
    assert 0.7 < row["recovered_best"] < 0.9
    assert (row["method"], row["size"], row["over"]) == ("one", 0.1, "data seeds")


def test_a_lone_circuit_and_a_lost_file_say_nothing(tmp_path: Path) -> None:
    store = board(tmp_path)
    store.circuit("one-0-1-all", 0.1).unlink()
    assert set(found(store)) == {"data seeds", "wordings"}
    for path in (tmp_path / "circuits").glob("random_edges*/*"):
        path.unlink()
    assert found(store)["data seeds"].to_json()["jaccard_random"] is None
    for stem in ("one-1-0-all", "one-2-0-all"):
        store.path(stem).unlink()
    assert set(found(store)) == {"wordings"}


def test_another_circuit_in_its_place_is_noticed(tmp_path: Path) -> None:
    store = board(tmp_path)
    Circuit.of(GRAPH, EDGES[:1]).save(store.circuit("one-0-0-all", 0.1))
    with pytest.raises(DamagedFile, match="is not the circuit that its run found"):
        found(store)


def test_the_command_tells_it(command: CommandLine, tmp_path: Path) -> None:
    store = board(tmp_path / "results")
    keep(store, run("other", {0.1: 0.2}), EDGES[:4])
    told = json.loads(command("compare", str(store.folder), "--json").stdout)["stability"]
    assert told == [each.to_json() for each in stabilities(scored(store.runs()), store)]
    table = " ".join(command("compare", str(store.folder)).stdout.split())
    assert "Stability" in table
    assert "wordings" in table
