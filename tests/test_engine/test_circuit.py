"""Circuits: set algebra, the effective part (judged by intervention), saving and loading."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.discovery.batches import make_batches
from bench.engine.ablation import ABLATIONS, AblationName, make_reference
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.engine.masked_model import MaskedModel
from bench.errors import DamagedFile, UnwritableFolder
from problems import random_examples

GRAPH = EdgeGraph(n_layers=2, n_heads=4, n_kv_heads=4)


def random_circuit(share: float, seed: int, graph: EdgeGraph = GRAPH) -> Circuit:
    generator = torch.Generator().manual_seed(seed)
    return Circuit(graph, graph.exists & (torch.rand(graph.exists.shape, generator=generator) < share))


@given(st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_algebra(share: float, seed: int) -> None:
    """A circuit and its complement share nothing and are everything."""
    circuit = random_circuit(share, seed)
    rest = circuit.complement()
    assert circuit | rest == Circuit.full(GRAPH)
    assert circuit & rest == Circuit.empty(GRAPH)
    assert rest.complement() == circuit
    assert len(circuit) + len(rest) == GRAPH.n_edges
    assert Circuit.of(GRAPH, circuit) == circuit
    assert circuit.sparsity == pytest.approx(1 - len(circuit) / GRAPH.n_edges)


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("share", [0.03, 0.08, 0.3, 0.7])
def test_effective_circuit_gives_the_circuits_logits(
    tiny: MaskedModel, ablation: AblationName, share: float
) -> None:
    """Dropping what `effective` drops changes no logit; what it keeps is a subset."""
    batches = make_batches(tiny, random_examples())
    reference = make_reference(tiny, ablation, batches, one_length=True)
    for seed in range(5):
        circuit = random_circuit(share, seed)
        effective = circuit.effective(ablation)
        assert effective | circuit == circuit
        for batch in batches:
            activations = reference.of(tiny, batch.corrupted)
            whole, part = (
                tiny.run(batch.clean, c.kept.double().requires_grad_(), activations)
                for c in (circuit, effective)
            )
            torch.testing.assert_close(part, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_effective_circuit_of_edges_and_weights(tiny: MaskedModel, ablation: AblationName) -> None:
    """With weights masked an unfed sender is not its reference any more: its edges count."""
    (batch,) = make_batches(tiny, random_examples())
    activations = make_reference(tiny, ablation, [batch], one_length=True).of(tiny, batch.corrupted)
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.rand(tiny.weights[name].shape, generator=generator) < 0.5 for name in tiny.matrices
    }
    for share in (0.05, 0.2):
        circuit = Circuit(GRAPH, random_circuit(share, 3).kept, weights)
        whole, part = (
            tiny.run(batch.clean, c.kept.double().requires_grad_(), activations, weights)
            for c in (circuit, circuit.effective(ablation))
        )
        torch.testing.assert_close(part, whole, rtol=0, atol=1e-12)


def test_effective_drops_dead_ends() -> None:
    """An edge into a head that nobody reads goes always; one out of an unfed head only under resample."""
    unread = Circuit.of(GRAPH, ["embed->a0.h0.q", "embed->logits"])
    unfed = Circuit.of(GRAPH, ["a0.h1->m1", "m1->logits", "embed->logits"])
    for ablation in ABLATIONS:
        assert list(unread.effective(ablation)) == ["embed->logits"]
    assert list(unfed.effective("resample")) == ["embed->logits"]
    assert unfed.effective("zero") == unfed
    assert unfed.effective("mean") == unfed


def test_nodes_kept_counts_heads_and_mlps() -> None:
    circuit = Circuit.of(GRAPH, ["embed->a0.h0.q", "a0.h1->m1", "embed->logits"])
    assert circuit.nodes_kept == 3  # a0.h0, a0.h1, m1; neither the embedding nor the logits


def test_complement_leaves_whole_what_was_not_pruned() -> None:
    """A circuit of weights alone keeps its edges in the complement; unnamed weights stay whole."""
    mask = torch.tensor([[True, False], [False, False]])
    weights_only = Circuit(GRAPH, GRAPH.exists.clone(), {"a0.W_O": mask})
    assert weights_only.complement().kept.equal(GRAPH.exists)
    assert weights_only.complement().weights["a0.W_O"].equal(~mask)
    assert weights_only.weight_density({"a0.W_O": torch.Size([4]), "m0.W_in": torch.Size([2, 2])}) == 5 / 8
    assert not Circuit(GRAPH, weights_only.kept, {"a0.W_O": torch.ones(2, 2).bool()}).complement().kept.any()
    edges_only = Circuit(GRAPH, random_circuit(0.5, 0).kept, {"a0.W_O": torch.ones(2, 2).bool()})
    assert edges_only.complement().weights == {}
    both = Circuit(GRAPH, random_circuit(0.5, 0).kept, {"a0.W_O": mask})
    assert len(both.complement()) == GRAPH.n_edges - len(both)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_weights_that_are_not_effective_may_go(tiny: MaskedModel, ablation: AblationName) -> None:
    """Those of heads and MLPs that no effective edge leaves, found head by head, change nothing."""
    circuit = random_circuit(0.1, 5)
    live = {sender for sender, _ in circuit.effective(ablation).edges()}
    masks = {name: torch.ones(shape) for name, shape in tiny.matrices.items()}
    for name, mask in masks.items():
        node, part = name.split(".")
        for head in range(4):
            if node.startswith("a") and f"{node}.h{head}" not in live:
                mask[[head, 4 + head, 8 + head] if part == "W_QKV" else head] = 0
        if node.startswith("m") and node not in live:
            mask.zero_()
    left = sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())
    assert 0.05 < left < 0.95
    assert circuit.effective_weight_density(ablation, tiny.matrices) == left
    halved = {name: torch.arange(mask.numel()).view_as(mask) % 2 == 0 for name, mask in masks.items()}
    half = Circuit(GRAPH, circuit.kept, halved)
    kept = sum(int(mask[halved[name]].sum()) for name, mask in masks.items())
    if ablation != "resample":  # with weights masked, unfed senders matter there too
        assert half.effective_weight_density(ablation, tiny.matrices) == kept / sum(
            m.numel() for m in masks.values()
        )
    (batch,) = make_batches(tiny, random_examples())
    activations = make_reference(tiny, ablation, [batch], one_length=True).of(tiny, batch.corrupted)
    edges = circuit.effective(ablation).kept.double().requires_grad_()
    whole, without = (tiny.run(batch.clean, edges, activations, w) for w in (None, masks))
    torch.testing.assert_close(without, whole, rtol=1e-9, atol=1e-9)


def test_weight_masks_take_a_bit_an_entry(tmp_path: Path) -> None:
    mask = torch.rand(100, 1001, generator=torch.Generator().manual_seed(0)) > 0.9
    circuit = Circuit(GRAPH, GRAPH.exists.clone(), {"m0.W_in": mask})
    circuit.save(tmp_path / "c.safetensors")
    assert (tmp_path / "c.safetensors").stat().st_size < mask.numel() / 8 + 2000
    assert Circuit.load(tmp_path / "c.safetensors") == circuit
    from bench.files import load_tensors, save_tensors

    tensors, header = load_tensors(tmp_path / "c.safetensors")
    cut = {**tensors, "weights.m0.W_in": tensors["weights.m0.W_in"][:-1]}
    save_tensors(tmp_path / "c.safetensors", cut, header)
    with pytest.raises(DamagedFile, match="not a complete circuit"):
        Circuit.load(tmp_path / "c.safetensors")


def test_saved_and_loaded_alike(tmp_path: Path) -> None:
    circuit = Circuit(GRAPH, random_circuit(0.2, 1).kept, {"m0.W_in": torch.rand(3, 4) > 0.5})
    circuit.save(tmp_path / "deep" / "c.safetensors")
    loaded = Circuit.load(tmp_path / "deep" / "c.safetensors")
    assert loaded == circuit
    assert loaded.edges() == circuit.edges()
    assert loaded.edges()[0][0] == "embed"
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "c.safetensors"]


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_damaged_file_is_named(tmp_path: Path, keep: int) -> None:
    """Truncated anywhere, the file and the mend are named in one line."""
    path = tmp_path / "c.safetensors"
    random_circuit(0.2, 1).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedFile, match=r"^.*c\.safetensors cannot be read.*move it away[^\n]*$"):
        Circuit.load(path)


def test_foreign_and_inconsistent_files_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from bench.files import save_tensors

    path = tmp_path / "x.safetensors"
    save_file({"edges": torch.zeros(2)}, path)
    with pytest.raises(DamagedFile, match="not written by circuitmark"):
        Circuit.load(path)
    save_tensors(path, {"edges": torch.zeros(2, 2, dtype=torch.bool)}, {"format": "circuitmark-circuit-1",
                 "graph": {"n_layers": 1, "n_heads": 1, "n_kv_heads": 1}, "weights": {}})  # fmt: skip
    with pytest.raises(DamagedFile, match="not a complete circuit"):
        Circuit.load(path)


def test_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UnwritableFolder, match=r"cannot write .*taken.*--out"):
        Circuit.empty(GRAPH).save(tmp_path / "taken" / "c.safetensors")


def test_wrong_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="not an edge of this graph"):
        Circuit(GRAPH, torch.ones_like(GRAPH.exists))
    with pytest.raises(ValueError, match="bool mask"):
        Circuit(GRAPH, torch.zeros(2, 2, dtype=torch.bool))


def test_nodes_of_a_layer_whose_heads_are_coupled_are_their_own() -> None:
    """Coupled heads go together where it is asked what can matter, not where edges and nodes are named."""
    graph = EdgeGraph(2, 4, 2, coupled_heads=True)
    assert Circuit.of(graph, ["embed->a0.h1.q"]).nodes() == ("a0.h1",)
    assert Circuit.of(graph, ["embed->a0.h1.k"]).nodes() == ("a0.h2", "a0.h3")
    one = torch.tensor([node.name == "a0.h0" for node in graph.senders])
    entering = {edge for edge in Circuit.of_nodes(graph, one).edges() if edge[1].startswith("a0")}
    assert entering == {("embed", "a0.h0.q"), ("embed", "a0.h0.k"), ("embed", "a0.h0.v")}
