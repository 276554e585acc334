"""Minimal sufficient sets held to a search of every subset, and to what the engine calls effective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import Tensor

from bench.engine.ablation import AblationName
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.models.tracr import ProgramModel, load_program
from bench.truth.verify import ABLATIONS
from tracr_ground_truth import Program, find_programs, minimal, program
from tracr_ground_truth.compile import TOLERANCE
from tracr_ground_truth.minimal import candidates
from tracr_ground_truth.truth import STRICT, Truth

pytest.importorskip("tracr")
from tracr.rasp import rasp

SHIPPED = find_programs()[0]
Edges = frozenset[tuple[int, int]]


@program("abc", 4)
def fourth_or_own() -> rasp.SOp:
    """The fourth token where this one is an a, otherwise this one."""
    fourth = rasp.Aggregate(rasp.Select(rasp.indices, rasp.indices, lambda key, query: key == 3), rasp.tokens)
    return rasp.SequenceMap(lambda last, own: last if own == "a" else own, fourth, rasp.tokens)


def subsets(edges: list[tuple[int, int]]) -> list[Edges]:
    """All of them, the smallest first."""
    return [frozenset(some) for size in range(len(edges) + 1) for some in combinations(edges, size)]


def mask_of(model: ProgramModel, edges: Edges) -> Tensor:
    kept = torch.zeros_like(model.masked.graph.exists)
    for edge in edges:
        kept[edge] = True
    return kept


def as_sets(circuits: tuple[Tensor, ...]) -> set[Edges]:
    return {frozenset((row, column) for row, column in kept.nonzero().tolist()) for kept in circuits}


@torch.no_grad()
def largest_changes(model: ProgramModel, ablation: AblationName) -> Callable[[Edges], float]:
    """On every input, or on every pair of them, in float64: the largest change of an output."""
    compiled, masked = model.compiled, model.masked.to(dtype=torch.float64)
    n = len(compiled.inputs)
    assert model.one_length
    clean = torch.arange(n)
    corrupted = clean
    if ablation == "resample":
        clean, corrupted = torch.cartesian_prod(clean, clean)[torch.eye(n).flatten() == 0].T
    reference = masked.senders(compiled.inputs[corrupted]) if ablation == "resample" else None
    says = ~compiled.targets[clean].isnan().any(-1)
    full = masked.run(compiled.inputs[clean])[says]

    def change(edges: Edges) -> float:
        kept = mask_of(model, edges).double()
        return float((masked.run(compiled.inputs[clean], kept, reference)[says] - full).abs().max())

    return change


def naive(model: ProgramModel, ablation: AblationName, tolerance: float) -> set[Edges]:
    """Of all subsets of the structural edges, those that suffice and of which no proper subset does."""
    change = largest_changes(model, ablation)
    every = [(row, column) for row, column in model.structural.nonzero().tolist()]
    sufficient = [edges for edges in subsets(every) if change(edges) <= tolerance]
    return {edges for edges in sufficient if not any(other < edges for other in sufficient)}


def on_few_inputs(each: Program) -> ProgramModel:
    """So few that resample takes every pair of them."""
    model = load_program(each)
    compiled = model.compiled
    some = torch.randperm(len(compiled.inputs), generator=torch.Generator().manual_seed(0))[:12]
    few = {name: getattr(compiled, name)[some] for name in ("inputs", "lengths", "targets")}
    return replace(model, compiled=replace(compiled, **few))


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", ["follow_pointer", "hist", "seen_before", "majority", "fourth_or_own"])
def test_they_are_what_a_search_of_every_subset_finds(name: str, ablation: AblationName) -> None:
    """At both tolerances."""
    model = on_few_inputs(SHIPPED.get(name, fourth_or_own))
    truth = model.truth(ablation)
    for share in (TOLERANCE, STRICT):
        assert as_sets(truth.minimal[share]) == naive(model, ablation, share * model.compiled.gap)


def test_fewer_edges_than_are_necessary_may_suffice() -> None:
    """They are right, and so are the necessary ones, of which two are idle once each other has gone."""
    truth = load_program(SHIPPED["majority"]).truth("zero")
    (necessary,) = truth.circuits
    assert truth.proved
    assert (int(necessary.sum()), truth.is_minimal) == (7, False)
    assert {int(kept.sum()) for kept in truth.minimal[TOLERANCE]} == {5}
    assert as_sets(truth.right) == as_sets((necessary, *truth.minimal[TOLERANCE]))


def test_where_nothing_is_idle_the_necessary_edges_alone_are_right() -> None:
    truth = load_program(SHIPPED["x_proportion"]).truth("zero")
    assert truth.is_minimal
    assert as_sets(truth.right) == as_sets(truth.circuits) == as_sets(truth.minimal[TOLERANCE])


@pytest.mark.parametrize("name", ["x_proportion", "same_as_first", "detect_ab"])
def test_candidates_are_the_sets_that_are_all_effective(name: str) -> None:
    """As the engine has it: under zero on a way to the logits, under resample on one from the input, too."""
    model = load_program(SHIPPED[name])
    graph = model.masked.graph
    every = [(row, column) for row, column in model.structural.nonzero().tolist()]
    embeds = torch.tensor([node.kind == "embed" for node in graph.senders])
    for ablation in ABLATIONS:
        sources = embeds if ablation == "resample" else torch.ones_like(embeds)
        found = candidates(graph, every, sources)
        assert found is not None
        sets = [frozenset(edge for i, edge in enumerate(every) if each >> i & 1) for each in found]
        circuits = {edges: Circuit(graph, mask_of(model, edges)) for edges in subsets(every)}
        whole = {edges for edges, circuit in circuits.items() if circuit.effective(ablation) == circuit}
        assert len(sets) == len(set(sets))
        assert set(sets) == whole


def test_a_position_says_the_same_on_every_prompt_of_a_pair() -> None:
    """So under resample no set with an edge of it is tried."""
    model = load_program(SHIPPED["same_as_first"])
    graph = model.masked.graph
    every = [(row, column) for row, column in model.structural.nonzero().tolist()]
    found = candidates(graph, every, torch.tensor([node.name == "tok" for node in graph.senders]))
    of_pos = sum(1 << i for i, (_, column) in enumerate(every) if graph.senders[column].name == "pos")
    assert found
    assert of_pos
    assert not any(each & of_pos for each in found)


def test_too_many_sets_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is known of fewer edges, and the necessary ones alone are right."""
    model = load_program(SHIPPED["x_proportion"])
    known = model.truth("zero")
    monkeypatch.setattr(minimal, "MOST", 10)
    assert model.truth("zero").minimal  # all sets of so few edges are tried
    monkeypatch.setattr(minimal, "EDGES", 6)
    truth = model.truth("zero")
    assert (truth.minimal, truth.is_minimal) == ({}, None)
    assert as_sets(truth.right) == as_sets(truth.circuits) == as_sets(known.circuits)


def test_too_many_sets_are_counted_before_they_are_made() -> None:
    """Sixty edges from one sender into what reaches the logits would fill any memory."""
    graph = EdgeGraph(1, 30, 30, split_embed=True)
    into_the_logits = graph.exists[-1].nonzero()[:, 0].tolist()
    edges = [(len(graph.receivers) - 1, column) for column in into_the_logits]
    edges += [(row, 0) for row in range(len(graph.receivers) - 1)]
    assert candidates(graph, edges, torch.ones(len(graph.senders), dtype=torch.bool)) is None


def test_of_redundant_paths_every_minimal_set_is_right() -> None:
    """Those that some order of removal found, and those that none did."""
    one, two, three, four = torch.eye(4, dtype=torch.bool).view(4, 2, 2)
    truth = Truth(one | two | three | four, (one | two, three), 0.0, 1.0, {TOLERANCE: (three, one | four)})
    assert truth.is_minimal is None
    assert as_sets(truth.right) == as_sets((three, one | four))
    assert as_sets(replace(truth, minimal={}).right) == as_sets(truth.circuits)
