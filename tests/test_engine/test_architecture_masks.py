"""Masks, circuits and gradients of every supported architecture, held to two slow references.

`naive_decoder.py` masks all of them, `bridge_oracle.py` those whose edges bridge has hooks for.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.engine.circuit import Circuit
from bench.engine.masked_model import MaskedModel
from bridge_oracle import BridgeOracle
from decoders import FAMILIES, REFERENCES, Case, case_of, mask_gradient
from tiny_models import close, less, loss


def test_all_ones_equals_the_full_model(supported: Case) -> None:
    for kind in REFERENCES:
        for differentiable in (False, True):
            logits = supported.run(supported.ones(), supported.reference(kind), differentiable)
            close(logits, supported.hf(supported.clean).logits)


def test_all_zeros_equals_the_corrupted_run_under_resample(supported: Case) -> None:
    for differentiable in (False, True):
        logits = supported.run(supported.ones() * 0, supported.reference("resample"), differentiable)
        close(logits, supported.hf(supported.corrupted).logits)


@pytest.mark.parametrize("kind", REFERENCES)
def test_soft_masks_and_their_gradients(supported: Case, kind: str) -> None:
    """Values and gradients are the slow loop's."""
    mask, reference = supported.mask(), supported.reference(kind)
    expected = supported.naive.masked(supported.clean, mask, reference)
    close(supported.run(mask, reference), expected)
    close(supported.run(mask, reference, differentiable=True), expected)
    close(mask_gradient(supported.model.run, supported.clean, mask, reference),
          mask_gradient(supported.naive.masked, supported.clean, mask, reference))  # fmt: skip


def test_blocks_computed_anew_give_the_same(supported: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what the receivers read is not kept for the backward pass."""
    mask, reference = supported.mask(), supported.reference("resample")
    kept = (
        supported.run(mask, reference),
        mask_gradient(supported.model.run, supported.clean, mask, reference),
    )
    monkeypatch.setattr(supported.model, "keep_bytes", 0)
    close(supported.run(mask, reference, differentiable=True), kept[0])
    close(mask_gradient(supported.model.run, supported.clean, mask, reference), kept[1])


HOOKED = [name for name in FAMILIES if not name.startswith(("gemma2", "phi"))]
"""The families of which bridge can replace every receiver's input."""


@pytest.mark.parametrize("family", HOOKED)
def test_soft_masks_and_their_gradients_by_bridge(family: str, exact: None) -> None:
    """The same from TransformerBridge hooks, none of them silent."""
    case = case_of(family)
    oracle = BridgeOracle(case.hf, case.model.graph)
    close(case.model.senders(case.clean), oracle.senders(case.clean))
    for kind in ("resample", "zero"):
        mask, reference = case.mask(seed=1), case.reference(kind)
        close(case.run(mask, reference), oracle.masked(case.clean, mask, reference))
        close(mask_gradient(case.model.run, case.clean, mask, reference),
              mask_gradient(oracle.masked, case.clean, mask, reference))  # fmt: skip


@pytest.mark.parametrize("family", ["phi", "phi_grouped"])
def test_bridge_has_no_hook_for_phis_mlp(family: str) -> None:
    """So these are held to the slow loop alone: bridge hooks the norm before an MLP, and here is none."""
    case = case_of(family)
    with pytest.raises(AssertionError, match=r"silent hooks: \['blocks\.0\.hook_mlp_in'"):
        BridgeOracle(case.hf, case.model.graph).senders(case.clean)


@pytest.mark.parametrize("kind", ["resample", "zero"])
def test_sparse_masks(supported: Case, kind: str) -> None:
    """A sender whose column is empty is skipped without a gradient; logits stay the slow loop's."""
    reference = supported.reference(kind)
    for seed, density in enumerate((0.05, 0.15, 0.3, 0.6, 1.0)):
        mask = supported.mask(density, seed)
        expected = supported.naive.masked(supported.clean, mask, reference)
        close(supported.run(mask, reference), expected)
        close(supported.run(mask, reference, differentiable=True), expected)


def test_every_single_edge(supported: Case) -> None:
    """Each mask of one edge, and of all but one sender's: skipping changes nothing."""
    reference = supported.reference("resample")
    for row, column in supported.model.graph.exists.nonzero()[::5].tolist():
        mask = supported.ones() * 0
        mask[row, column] = 1.0
        close(supported.run(mask, reference), supported.run(mask, reference, differentiable=True))
    for column in range(len(supported.model.graph.senders)):
        mask = supported.ones()
        mask[:, column] = 0.0
        close(supported.run(mask, reference), supported.run(mask, reference, differentiable=True))


def test_edge_gradients_are_those_of_the_mask_at_all_ones(supported: Case) -> None:
    """Towards z - ref, for each ablation."""
    for kind in REFERENCES:
        reference = supported.reference(kind)
        gradients = supported.model.edge_gradients(supported.clean, loss, less(reference))
        close(gradients, mask_gradient(supported.naive.masked, supported.clean, supported.ones(), reference))


def test_edge_gradients_elsewhere(supported: Case) -> None:
    """At other embeddings than the prompt's, the full gradient is a run's from there."""
    model = supported.model
    inputs = 0.3 * model.embed(supported.clean) + 0.7 * model.embed(supported.corrupted)
    at_prompt = model.edge_gradients(supported.clean, loss, lambda z: z, model.embed(supported.clean))
    close(at_prompt, model.edge_gradients(supported.clean, loss, lambda z: z))
    seen: list[Tensor] = []

    def towards(senders: Tensor) -> Tensor:
        seen.append(senders.clone())
        return senders

    assert not torch.allclose(model.edge_gradients(supported.clean, loss, towards, inputs), at_prompt)
    close(seen[0][:1], inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supported.naive, "_embed", lambda tokens: inputs[0])
        close(seen[0], supported.naive.senders(supported.clean))


def test_edge_gradients_where_a_group_writes_something_else(supported: Case) -> None:
    """Each group in turn: gradients are those of a slow run in which it writes constants."""
    model, naive = supported.model, supported.naive
    clean, other = model.senders(supported.clean), model.senders(supported.corrupted)
    away = other - clean
    for group in model.graph.groups[1:]:
        written = 0.3 * clean[group] + 0.7 * other[group]
        found = model.edge_gradients(supported.clean, loss, lambda z: away, replaced=(group, written))
        with pytest.MonkeyPatch.context() as patch:
            columns = range(group.start, group.stop)
            patch.setattr(naive, "replaced", dict(zip(columns, written, strict=True)))
            # a removed edge carries what is away from the run's own value; a mask of ones changes nothing
            towards = naive.senders(supported.clean).detach() + away
            expected = mask_gradient(naive.masked, supported.clean, supported.ones(), towards)
        close(found, -expected)


@pytest.mark.parametrize("family", ["gemma2", "llama_bias", "qwen3", "neox", "phi"])
def test_weight_masks(family: str, exact: None) -> None:
    """Masking a weight is running the model whose weight was multiplied, and gives it a gradient."""
    case = case_of(family)
    edges, reference = case.mask(), case.reference("resample")
    for weight in [n for n in case.model.weights if n.startswith(("a1.", "m1.", "logits."))]:
        value = case.model.weights[weight]
        mask = torch.rand(value.shape, dtype=value.dtype, generator=torch.Generator().manual_seed(3))
        leaf = mask.clone().requires_grad_()
        logits = case.model.run(case.clean, edges, reference, {weight: leaf})
        multiplied = MaskedModel(case.model.architecture, case.model.weights | {weight: value * mask})
        close(logits, multiplied.run(case.clean, edges, reference))
        (gradient,) = torch.autograd.grad(loss(logits), leaf)
        assert bool(gradient.any()) == bool(value.any()), weight


# ---- circuits


@pytest.mark.parametrize("family", ["gemma2", "llama", "neox", "phi_grouped"])
def test_the_effective_circuit_computes_the_same(family: str, exact: None) -> None:
    """Where heads share a post-norm, or KV heads, or read what the MLP reads; and it is smaller."""
    case = case_of(family)
    graph = case.model.graph
    removed = 0
    for seed in range(12):
        density = (0.05, 0.15, 0.3, 0.6)[seed % 4]
        circuit = Circuit(graph, (case.mask(density, seed) > 0) & graph.exists)
        for kind in ("resample", "zero", "mean"):
            effective = circuit.effective(kind)
            assert not (effective.kept & ~circuit.kept).any()
            assert effective.effective(kind) == effective
            removed += len(circuit) - len(effective)
            reference = case.reference(kind)
            close(case.run(effective.kept.double(), reference), case.run(circuit.kept.double(), reference))
    assert removed > 50


def test_what_an_edge_is_fed_by_and_leads_to(supported: Case) -> None:
    """`owners` says which receivers a sender's output depends on: no fewer, no more."""
    graph, corrupted = supported.model.graph, supported.reference("resample")
    heads = graph.head_columns(0)
    rows = graph.attention_rows(0)
    for column in range(heads.start, heads.stop):
        base = supported.ones() * 0
        base[-1, column] = 1.0  # this head alone is heard, by the logits
        silent = supported.run(base, corrupted)
        for row in range(rows.start, rows.stop):
            fed = base.clone()
            fed[row, 0] = 1.0
            matters = not torch.allclose(supported.run(fed, corrupted), silent, rtol=0, atol=1e-9)
            assert matters == bool(graph.owners[row, column]), graph.edge_name(row, 0)


def test_gemmas_heads_are_coupled_and_no_others() -> None:
    assert [name for name in FAMILIES if case_of(name).model.graph.coupled_heads] == ["gemma2"]
    assert case_of("gemma2").model.graph.description.endswith("heads=coupled")
