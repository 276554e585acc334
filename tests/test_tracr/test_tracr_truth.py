"""True circuits held to slow and obvious references: loops over edges, over subsets, over messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.engine.ablation import AblationName
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.models.tracr import ProgramModel, load_program
from bench.truth.verify import ABLATIONS
from programs import sampled
from tracr_ground_truth import find_programs
from tracr_ground_truth.data import MAX_PAIRS, pairs
from tracr_ground_truth.truth import Truth, prove

pytest.importorskip("tracr")
SHIPPED = find_programs()[0]
REDUNDANT = [name for name, each in SHIPPED.items() if each.redundant]
FEW = ("input_length", "hist", "parity")
SMALL = 1e-4
TOO_LARGE = ("cellular_automaton", "state_machine", "eleven_jumps", "shuffle_dyck2", "x_first_by_vote")
"""For the naive loop, that is; `make verify` proves them like all others."""
Edges = set[tuple[int, int]]
Run = Callable[[Tensor], Tensor]


def cases_of(model: ProgramModel, ablation: AblationName) -> list[tuple[int, int]]:
    """All ordered pairs of one length, or the truth's sample; under zero each input with itself."""
    rows = model.compiled.lengths.tolist()
    if ablation == "zero":
        return [(i, i) for i in range(len(rows))]
    every = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j and rows[i] == rows[j]]
    if len(every) <= MAX_PAIRS:
        return every
    clean, corrupted = pairs(model.compiled.lengths.numpy(), MAX_PAIRS)
    return list(zip(clean.tolist(), corrupted.tolist(), strict=True))


@torch.no_grad()
def slow_run(model: ProgramModel, ablation: AblationName, chosen: list[tuple[int, int]] | None = None) -> Run:
    """Outputs under a mask in float64, one length at a time and cut to it, so that nothing is padding.

    Where the program says None there is no output.
    """
    compiled, masked = model.compiled, model.masked.to(dtype=torch.float64)
    chosen = cases_of(model, ablation) if chosen is None else chosen
    clean, corrupted = map(list, zip(*chosen, strict=True))
    batches = []
    for length in compiled.lengths[torch.tensor(clean)].unique().tolist():
        here = [at for at, i in enumerate(clean) if compiled.lengths[i] == length]
        for part in torch.tensor(here).split(512):
            ids, other = (compiled.inputs[torch.tensor(of)[part], :length] for of in (clean, corrupted))
            says = ~compiled.targets[torch.tensor(clean)[part], :length].isnan().any(-1)
            batches.append((ids, masked.senders(other) if ablation == "resample" else None, says))

    @torch.no_grad()
    def run(kept: Tensor) -> Tensor:
        return torch.cat(
            [masked.run(ids, kept.double(), reference)[says] for ids, reference, says in batches]
        )

    return run


def without(kept: Tensor, *edges: tuple[int, int]) -> Tensor:
    """The mask with some edges removed."""
    left = kept.clone()
    for edge in edges:
        left[edge] = False
    return left


def as_edges(mask: Tensor) -> Edges:
    return {(row, column) for row, column in mask.nonzero().tolist()}


def noticed(run: Run, kept: Tensor, edges: Edges, tolerance: float) -> Edges:
    """The edges whose removal, each alone, changes an output by more than the tolerance."""
    full = run(kept)
    return {e for e in edges if (run(without(kept, e)) - full).abs().max() > tolerance}


def hold_up(model: ProgramModel, ablation: AblationName, sparing: bool = False) -> None:
    """A truth beside loops over the full graph; `sparing` tries other edges on an eighth of the cases."""
    truth, graph, tolerance = model.truth(ablation), model.masked.graph, model.compiled.tolerance
    run = slow_run(model, ablation)
    full = run(graph.exists)
    assert (run(truth.structural) - full).abs().max() <= SMALL
    assert truth.proved
    assert truth.error <= truth.tolerance == tolerance
    for circuit in truth.circuits:
        assert as_edges(circuit) <= as_edges(truth.structural) <= as_edges(graph.exists)
        assert (run(circuit) - full).abs().max() <= tolerance
    inside, every = as_edges(truth.structural), as_edges(graph.exists)
    if sparing:
        some = slow_run(model, ablation, cases_of(model, ablation)[::8])
        assert not noticed(some, graph.exists, every - inside, tolerance)
        every = inside
    needed = noticed(run, graph.exists, every, tolerance)
    if truth.redundant:
        assert model.program.redundant
        for circuit in truth.circuits:
            assert noticed(run, circuit, as_edges(circuit), tolerance) == as_edges(circuit)
    else:
        assert needed == as_edges(truth.circuits[0])


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", FEW)
def test_truth_is_what_single_removals_say(name: str, ablation: AblationName) -> None:
    hold_up(load_program(SHIPPED[name]), ablation)


@pytest.mark.slow
@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", sampled(set(SHIPPED) - set(TOO_LARGE)))
def test_every_truth_is_what_single_removals_say(name: str, ablation: AblationName) -> None:
    hold_up(load_program(SHIPPED[name]), ablation, sparing=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "x_proportion",
        "pair_balance",
        *(pytest.param(name, marks=pytest.mark.every) for name in ("reverse", "sort")),
    ],
)
def test_the_sample_of_pairs_is_enough(name: str) -> None:
    """All pairs of inputs give the circuit that the sampled ones give."""
    model = load_program(SHIPPED[name])
    n = len(model.compiled.inputs)
    every = [(i, j) for i in range(n) for j in range(n) if i != j]
    assert len(every) > MAX_PAIRS
    run, truth = slow_run(model, "resample", every), model.truth("resample")
    found = noticed(run, model.masked.graph.exists, as_edges(model.structural), model.compiled.tolerance)
    assert found == as_edges(truth.circuits[0])


@pytest.mark.parametrize(
    ("name", "structural", "zero", "resample"), [("x_proportion", 7, 5, 3), ("reverse", 15, None, 2)]
)
def test_sizes_that_the_specification_names(
    name: str, structural: int, zero: int | None, resample: int
) -> None:
    model = load_program(SHIPPED[name])
    truths = {ablation: model.truth(ablation) for ablation in ABLATIONS}
    assert model.structural.sum() == structural
    assert all(truth.structural.equal(model.structural) for truth in truths.values())
    assert truths["resample"].circuits[0].sum() == resample
    if zero is not None:
        assert truths["zero"].circuits[0].sum() == zero


def test_published_circuits() -> None:
    """They are circuits of the compiled graphs; the one of x_proportion is our structural one."""
    published = [(p, edges) for p in SHIPPED.values() for edges in p.published.values()]
    assert {"x_proportion", "reverse"} <= {each.name for each, _ in published}
    for each, edges in published:
        model = load_program(each)
        circuit = Circuit.of(model.masked.graph, edges)
        assert len(circuit) == len(edges)
        if each.name == "x_proportion":
            assert circuit.kept.equal(model.structural)


@torch.no_grad()
def heard(model: ProgramModel) -> Edges:
    """Edges over which, on some input, something arrives that the receiver can pass on.

    At q and k that is a change of an attention score, at v of the head's output, at an MLP of a hidden
    unit that writes, at the logits of an output.
    """
    compiled, graph = model.compiled, model.masked.graph
    weights = {name: weight.double() for name, weight in compiled.weights.items()}
    found: Edges = set()
    for length in compiled.lengths.unique().tolist():
        ids = compiled.inputs[compiled.lengths == length, :length]
        said = model.masked.senders(ids).double()
        for row, node in enumerate(graph.receivers):
            width = int(graph.widths[row])
            stream = said[:width].sum(0)
            for column in range(width):
                message = said[column]
                if node.kind == "logits":
                    arrived = message @ weights["logits.W_U"]
                elif node.kind == "mlp":
                    writes = weights[f"{node.name}.W_out"].abs().sum(1) > 0
                    arrived = (message @ weights[f"{node.name}.W_in"])[..., writes]
                else:
                    W, b, W_O = (weights[f"a{node.layer}.{part}"] for part in ("W_QKV", "b_QKV", "W_O"))
                    assert node.head is not None
                    at = {port: i * graph.n_heads + node.head for i, port in enumerate("qkv")}
                    if node.port == "v":
                        arrived = message @ W[at["v"]] @ W_O[node.head]
                    else:
                        other = at["k" if node.port == "q" else "q"]
                        arrived = message @ W[at[str(node.port)]] @ (stream @ W[other] + b[other]).mT
                if (arrived.abs() > SMALL).any():
                    found.add((row, column))
    return found


@pytest.mark.parametrize("name", ["x_proportion", "reverse", "ends_agree", "bracket_depth", "input_length"])
def test_structural_edges_are_those_that_are_heard(name: str) -> None:
    """Nothing arrives over any other edge; and whatever is necessary is heard."""
    model = load_program(SHIPPED[name])
    assert as_edges(model.truth("zero").circuits[0]) <= heard(model) <= as_edges(model.structural)


@pytest.mark.slow
@pytest.mark.parametrize("name", sampled(SHIPPED))
def test_everything_heard_is_structural(name: str) -> None:
    assert heard(load_program(SHIPPED[name])) <= as_edges(load_program(SHIPPED[name]).structural)


GRAPH = EdgeGraph(1, 1, 1, split_embed=True)
EVERY = sorted(as_edges(GRAPH.exists))
TERMS = st.lists(st.frozensets(st.sampled_from(EVERY[:7]), max_size=4), min_size=1, max_size=4)


def mask_of(edges: set[tuple[int, int]] | frozenset[tuple[int, int]]) -> Tensor:
    return without(GRAPH.exists, *(set(EVERY) - edges))


def proved_for(sufficient: Callable[[Edges], bool], structural: Edges) -> Truth:
    """`prove` on a made-up model whose one output is 1 where the kept edges suffice, otherwise 0."""
    return prove(
        lambda kept: torch.tensor([[float(sufficient(as_edges(kept)))]]), GRAPH, mask_of(structural), 0.5
    )


def minimal_sets(sufficient: Callable[[Edges], bool], candidates: Iterable[Edges]) -> list[Edges]:
    """The sufficient sets that have no sufficient proper subset."""
    found: list[Edges] = []
    for edges in sorted(candidates, key=len):
        if not any(smaller <= edges for smaller in found) and sufficient(edges):
            found.append(edges)
    return found


def subsets(edges: Edges) -> list[Edges]:
    return [set(some) for size in range(len(edges) + 1) for some in combinations(sorted(edges), size)]


def ways_to_the_logits(graph: EdgeGraph, edges: Edges) -> list[Edges]:
    """All sets of some edges without a dead end: every edge is on a way to the logits."""
    found: list[tuple[Edges, set[int]]] = [(set(), {len(graph.receivers) - 1})]
    for column in reversed(range(len(graph.senders))):
        own = graph.owners[:, column].nonzero()[:, 0].tolist()
        longer: list[tuple[Edges, set[int]]] = []
        for kept, read in found:
            for some in subsets({(row, at) for row, at in edges if at == column and row in read}):
                longer.append((kept | some, read | set(own) if some else read))
        found = longer
    return [kept for kept, _ in found]


def as_sets(truth: Truth) -> set[frozenset[tuple[int, int]]]:
    return {frozenset(as_edges(circuit)) for circuit in truth.circuits}


@pytest.mark.slow
@pytest.mark.parametrize("ablation", ["zero", "resample"])
def test_circuits_of_a_redundant_program_are_all_there_are(ablation: AblationName) -> None:
    """An exhaustive search; sets that fail on a few inputs are not tried on all."""
    model = load_program(SHIPPED["x_majority_twice"])
    graph, tolerance = model.masked.graph, model.compiled.tolerance
    every = as_edges(graph.exists)
    cases = cases_of(model, ablation)
    runs = [slow_run(model, ablation, some) for some in (cases[::97], cases[: MAX_PAIRS // 4])]
    full = [run(graph.exists) for run in runs]

    def sufficient(edges: Edges) -> bool:
        kept = without(graph.exists, *(every - edges))
        return all((run(kept) - said).abs().max() <= tolerance for run, said in zip(runs, full, strict=True))

    candidates = ways_to_the_logits(graph, as_edges(model.structural))
    assert len(candidates) > 1000
    wanted = minimal_sets(sufficient, candidates)
    assert as_sets(model.truth(ablation)) == set(map(frozenset, wanted))


@pytest.mark.parametrize("name", REDUNDANT)
def test_redundant_programs_have_several_circuits(name: str) -> None:
    """Under zero ablation; none contains another, and no edge of any can go."""
    model = load_program(SHIPPED[name])
    truth = model.truth("zero")
    assert truth.redundant
    run = slow_run(model, "zero")
    for circuit in truth.circuits:
        assert noticed(run, circuit, as_edges(circuit), truth.tolerance) == as_edges(circuit)
    assert not any(one < other for one in as_sets(truth) for other in as_sets(truth))


def test_a_vote_of_three_heads_has_a_circuit_for_every_two() -> None:
    model = load_program(SHIPPED["x_first_by_vote"])
    graph = model.masked.graph
    heads = [
        {sender for sender, _ in Circuit(graph, circuit).edges() if ".h" in sender}
        for circuit in model.truth("zero").circuits
    ]
    voters = set.union(*heads)
    assert len(voters) == 3
    assert sorted(map(sorted, heads)) == [sorted(two) for two in combinations(sorted(voters), 2)]


@given(TERMS)
def test_minimal_sets_suffice_and_none_contains_another(terms: list[Edges]) -> None:
    """Any one of some sets of edges suffices: what is proved are some of the smallest of them."""

    def sufficient(edges: Edges) -> bool:
        return any(term <= edges for term in terms)

    structural = set(EVERY[:8])
    truth = proved_for(sufficient, structural)
    every = set(map(frozenset, minimal_sets(sufficient, subsets(structural))))
    assert truth.proved
    assert as_sets(truth) <= every
    assert truth.redundant <= (len(every) > 1)
    if len(every) == 1:
        assert as_sets(truth) == every


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_every_one_of_some_equal_paths_is_found(n: int) -> None:
    core = {EVERY[12]}
    ways = [core | {EVERY[2 * i], EVERY[2 * i + 1]} for i in range(n)]
    truth = proved_for(lambda edges: any(way <= edges for way in ways), set(EVERY))
    assert as_sets(truth) == set(map(frozenset, ways))


def test_a_change_within_tolerance_is_none() -> None:
    """Of two edges whose removal changes the output by 0.4 and by 0.6, the second alone is necessary."""
    worth = torch.zeros(GRAPH.exists.shape)
    worth[EVERY[0]], worth[EVERY[1]] = 0.4, 0.6
    truth = prove(lambda kept: (worth * kept).sum().view(1, 1), GRAPH, mask_of(set(EVERY)), 0.5)
    assert as_sets(truth) == {frozenset({EVERY[1]})}
    assert truth.error == pytest.approx(0.4)


def test_a_circuit_that_fails_on_other_data_is_not_proved() -> None:
    """Whichever way the output moves there."""

    def on(worth: dict[tuple[int, int], float]) -> Run:
        return lambda kept: torch.tensor([[sum(w for edge, w in worth.items() if kept[edge])]])

    for there in (2.0, -2.0):
        fresh = on({EVERY[0]: 1.0, EVERY[1]: there})
        truth = prove(on({EVERY[0]: 1.0}), GRAPH, mask_of(set(EVERY)), 0.5, fresh)
        assert as_sets(truth) == {frozenset({EVERY[0]})}
        assert truth.error == 2
        assert not truth.proved


@pytest.mark.parametrize("worth", [1.0, -1.0])
def test_an_edge_that_only_lowers_or_only_raises_an_output_is_necessary(worth: float) -> None:
    truth = prove(
        lambda kept: torch.tensor([[worth * float(kept[EVERY[3]])]]), GRAPH, mask_of(set(EVERY)), 0.5
    )
    assert as_sets(truth) == {frozenset({EVERY[3]})}


def test_a_way_outside_the_structural_edges_is_no_proof() -> None:
    """When the weights were read wrongly, nothing is proved."""
    truth = proved_for(lambda edges: EVERY[0] in edges, set(EVERY[1:]))
    assert not truth.proved
    assert truth.error == 1
