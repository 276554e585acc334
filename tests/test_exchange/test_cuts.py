"""Circuits cut by nodes: held to a plain reading of what MIB does with sets of names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph, ends_of
from bench.exchange.contents import Contents
from bench.exchange.cuts import cut_at, level_of, of_best_nodes, rankings_of
from bench.exchange.formats import write_circuit
from bench.exchange.scored import GRID, score_circuits
from bench.study import Study
from command_line import CommandLine

GRAPH = EdgeGraph(2, 2, 2)


@given(seed=st.integers(0, 99), share=st.sampled_from([0, 0.2, 0.5, 0.9, 1]), unscored=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_all_edges_among_the_best_nodes(seed: int, share: float, unscored: int) -> None:
    """Those without a score stay, and so do the logits."""
    scores = torch.randn(len(GRAPH.senders), generator=torch.Generator().manual_seed(seed))
    scores[torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))[:unscored]] = torch.nan
    named = {node.name: float(score) for node, score in zip(GRAPH.senders, scores, strict=True)}
    ranked = sorted((name for name in named if named[name] == named[name]), key=lambda name: -named[name])
    kept = {name for name in named if named[name] != named[name]} | set(ranked[: int(share * len(ranked))])
    expected = [
        edge
        for edge in Circuit.full(GRAPH)
        if ends_of(edge)[0].name in kept and ends_of(edge)[1].block in kept | {"logits"}
    ]
    assert list(of_best_nodes(GRAPH, scores, share)) == expected


def test_levels_and_rankings() -> None:
    """A sign makes a second ranking, but not where no edge is."""
    nodes = torch.arange(7.0)
    assert rankings_of(Contents(GRAPH, nodes=nodes)) == ("absolute",)
    signed = Contents(GRAPH, nodes=nodes - 4)
    assert rankings_of(signed) == ("absolute", "signed")
    assert cut_at(signed, 0.2, "absolute") == Circuit.of(GRAPH, ["embed->logits"])
    assert cut_at(signed, 0.2, "signed") == Circuit.of(GRAPH, ["m1->logits"])
    scores = torch.where(GRAPH.exists, 1.0, -1.0)
    assert rankings_of(Contents(GRAPH, scores=scores)) == ("absolute",)
    levels = [level_of(each) for each in (signed, Contents(GRAPH, scores=scores))]
    assert levels == ["node", "edge"]
    assert level_of(Contents(GRAPH, Circuit.full(GRAPH))) is None


@pytest.fixture(scope="module")
def study() -> Study:
    return Study("embedded", "gp", n_discovery=20, n_evaluation=24)


def test_a_curve_of_node_circuits(study: Study, tmp_path: Path) -> None:
    """Of EAP's scores summed over what each node writes; half of the nodes do much of what all do."""
    signed = study.discover("eap", [0.05]).discovery.signed
    assert signed is not None
    nodes = torch.where(study.graph.exists, signed, 0).sum(0)
    write_circuit(tmp_path / "nodes.json", Contents(study.graph, nodes=nodes))
    told, notes = score_circuits(study, [tmp_path / "nodes.json"], random_draws=0)
    assert not notes
    own = [each for each in told["circuits"] if each["ranking"] == "absolute"]
    assert [(each["share"], each["level"]) for each in own] == [(share, "node") for share in GRID]
    expected = [len(of_best_nodes(study.graph, nodes.abs(), share)) for share in GRID]
    assert [each["edges_kept"] for each in own] == expected
    assert own[-1]["recovered"] > 0.8 > 0.1 > own[0]["recovered"]
    assert [area["name"] for area in told["areas"]] == [str(tmp_path / "nodes.json")]


def test_commands_say_that_they_are_nodes(study: Study, command: CommandLine) -> None:
    nodes = torch.arange(float(len(study.graph.senders)))
    write_circuit(command.folder / "nodes.pt", Contents(study.graph, nodes=nodes))
    assert "nodes.json: scores of 37 nodes (edges=1519" in command("convert", "nodes.pt", "nodes.json").stdout
    printed = command("score", "nodes.json", "-t", "gp", "--random-draws", "0").stdout
    assert "Shares are of nodes." in " ".join(printed.split())
    assert "only mib-json and mib-pt hold scores of nodes" in command.complaint(
        "convert", "nodes.pt", "nodes.txt"
    )
    assert not (command.folder / "nodes.txt").exists()
