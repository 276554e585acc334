"""Circuits that people found by hand: their heads, their counts, and the graphs that others made of them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.exchange.formats import read_circuit
from bench.exchange.published import CIRCUITS, GPT2_SMALL, IOI, published
from mib_oracle import FILES

HEADS = {"ioi": 26, "greater_than": 9}


@pytest.mark.parametrize("name", CIRCUITS)
def test_all_of_it_matters(name: str) -> None:
    """Every edge lies on a path from the input to the logits, and every head of the papers has one."""
    circuit = published(f"published:{name}")
    assert circuit.graph == GPT2_SMALL
    assert circuit.effective("resample") == circuit
    heads = {sender for sender, _ in circuit.edges() if sender.startswith("a")}
    assert len(heads) == HEADS[name]
    assert heads == {receiver.rpartition(".")[0] for _, receiver in circuit.edges() if receiver[0] == "a"}


def test_the_heads_of_ioi_are_those_of_the_paper() -> None:
    """26 in seven classes (Wang et al. 2023, figure 2); movers and negative movers write the answer."""
    assert [len(group) for group in IOI.values()] == [2, 3, 4, 4, 3, 2, 8]
    movers = [head for group, heads in IOI.items() if "mover" in group for head in heads]
    writing = {sender for sender, receiver in published("ioi").edges() if receiver == "logits"}
    assert {name for name in writing if name[0] == "a"} == {f"a{head.replace('.', '.h')}" for head in movers}


def test_edges_of_ioi_by_kind() -> None:
    """Counted by hand from the classes, and what leads through MLPs."""
    edges = published("ioi").edges()
    between_heads = [edge for edge in edges if edge[0][0] == "a" and edge[1][0] == "a"]
    # 2 x 4 previous to induction, 3 x 4 duplicate and 4 x 4 induction to S-inhibition, by k and v; of the
    # S-inhibition heads all are before all of the 13 movers, by q; 2.2 and 4.11 are before all induction.
    assert len(between_heads) == 2 * (2 * 4 + 3 * 4 + 4 * 4) + 4 * 13
    into_heads = [edge for edge in edges if edge[0] == "embed" and edge[1][0] == "a"]
    assert len(into_heads) == 3 * (2 + 3) + 1 * 4 + 2 * 13
    layers = [int(head.partition(".")[0]) for group in IOI.values() for head in group]
    # among MLPs, from the embedding to each, from each to the logits
    mlps = 12 * 11 // 2 + 12 + 12
    # from the MLPs before a head to its three inputs, and from it to those of its layer and after
    through_mlps = sum(3 * layer + 12 - layer for layer in layers)
    to_logits = 1 + 13
    assert len(edges) == len(between_heads) + len(into_heads) + mlps + through_mlps + to_logits == 963


def test_edges_of_greater_than() -> None:
    """Nine heads and, through the queries' MLPs, the first nine MLPs and the last four."""
    edges = published("greater_than").edges()
    comparing = [5, 6, 6, 7, 8, 9]
    embedded, early = 3 * 3 + 4, 4
    late = sum(12 - max(8, layer) for layer in comparing)
    fed = 7 * 6 * 3 + sum(
        layer - 4 for layer in comparing
    )  # all inputs by 7 nodes, queries by later MLPs too
    mlps = 9 * 8 // 2 + 3 + 2 + 1
    assert len(edges) == embedded + early + late + fed + mlps + 6 + 4 == 235


@pytest.mark.parametrize("file", ["ioi.acdc.txt", "greater_than.acdc.txt", "greater_than.autocircuit.txt"])
def test_others_made_the_same_graphs_of_them(file: str, tmp_path: Path) -> None:
    """Listed by ACDC's own code, and by AutoCircuit's (whose graph of ioi is another one)."""
    with zipfile.ZipFile(FILES) as archive:
        archive.extract(file, tmp_path)
    assert read_circuit(tmp_path / file, GPT2_SMALL).circuit == published(file.partition(".")[0])


def test_a_name_that_is_none() -> None:
    with pytest.raises(UsageError, match="unknown published circuit 'gt'"):
        published("published:gt")
