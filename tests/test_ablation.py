"""What removed edges carry, where it is no plain case of the masked forward."""

from __future__ import annotations

import torch

from bench import blocks
from bench.ablation import Reference, without_bias
from bench.masked_model import MaskedModel
from bench.problem import make_batches, make_reference
from problems import random_examples


def test_zero_with_bias_takes_a_heads_share_of_the_bias_along(tiny: MaskedModel) -> None:
    """Every head is taken to write its output plus b_O / n_heads; what is removed of it is removed whole.

    Only the logits' edges are masked, so that their input can be written down from the definition.
    """
    graph, arch = tiny.graph, tiny.architecture
    (batch,) = make_batches(tiny, random_examples())
    kept = graph.exists.clone()
    kept[-1] = torch.rand(len(graph.senders), generator=torch.Generator().manual_seed(0)) < 0.5
    written = tiny.senders(batch.clean)
    for layer in range(arch.n_layers):
        bias = tiny.weights[f"a{layer}.b_O"]
        assert bias.abs().max() > 0
        written[graph.head_columns(layer)] += bias / arch.n_heads
    expected = blocks.logits(arch, tiny.weights, written[kept[-1]].sum(0))
    reference = make_reference(tiny, "zero_with_bias", [batch], one_length=True)
    assert reference.policy == "zero_with_bias"
    removed = reference.of(tiny, batch.corrupted)
    logits = tiny.run(batch.clean, kept.to(tiny.dtype), removed)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)
    assert Reference("zero").of(tiny, batch.corrupted) is None


def test_nothing_is_left_of_the_empty_circuit(tiny: MaskedModel) -> None:
    """Not even a bias reaches the logits' norm: it reads zeros."""
    (batch,) = make_batches(tiny, random_examples())
    none = torch.zeros(tiny.graph.exists.shape, dtype=tiny.dtype)
    logits = tiny.run(batch.clean, none, without_bias(tiny))
    silent = torch.zeros(*batch.clean.shape, tiny.architecture.d_model, dtype=tiny.dtype)
    torch.testing.assert_close(logits, blocks.logits(tiny.architecture, tiny.weights, silent))
