"""What removed edges carry, where it is no plain case of the masked forward."""

from __future__ import annotations

import pytest
import torch

from bench.conformance.prompts import batches_of, ragged_examples
from bench.discovery.batches import make_batches
from bench.engine import blocks
from bench.engine.ablation import ABLATIONS, Reference, make_reference, mean_activations, without_bias
from bench.engine.masked_model import MaskedModel
from problems import random_examples
from tiny_models import TRACR, close, random_model


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
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    assert Reference(ABLATIONS["zero"]).of(tiny, batch.corrupted) is None


def test_nothing_is_left_of_the_empty_circuit(tiny: MaskedModel) -> None:
    """Not even a bias reaches the logits' norm: it reads zeros."""
    (batch,) = make_batches(tiny, random_examples())
    none = torch.zeros(tiny.graph.exists.shape, dtype=tiny.dtype)
    logits = tiny.run(batch.clean, none, without_bias(tiny))
    silent = torch.zeros(*batch.clean.shape, tiny.architecture.d_model, dtype=tiny.dtype)
    torch.testing.assert_close(logits, blocks.logits(tiny.architecture, tiny.weights, silent))


@pytest.mark.parametrize("kind", ["causal", "both ways"])
@pytest.mark.parametrize("per_batch", [3, 64])
def test_a_mean_is_over_all_tokens_and_no_padding(tiny: MaskedModel, kind: str, per_batch: int) -> None:
    """Prompt by prompt, each cut to its length."""
    model = tiny if kind == "causal" else random_model(TRACR)
    examples = ragged_examples(7, model.architecture.d_vocab)
    prompts = [
        torch.as_tensor(row[:n])[None] for row, n in zip(examples.clean, examples.lengths, strict=True)
    ]
    expected = torch.cat([model.senders(prompt)[:, 0] for prompt in prompts], 1).mean(1)
    batches = batches_of(model, examples, per_batch)
    reference = make_reference(model, "mean", batches, one_length=False)
    assert reference.policy == "mean_over_positions"
    assert reference.constant is not None
    close(reference.constant[:, 0, 0], expected)


def test_a_mean_of_many_batches_in_half_precision_is_no_less_exact(tiny: MaskedModel) -> None:
    """Summed in bfloat16 it would stop growing: each prompt adds less than the sum's last bit."""
    half = tiny.to(dtype=torch.bfloat16)
    (batch,) = batches_of(half, random_examples(2), 2)
    pairs = [(batch.clean, batch.lengths)]
    once, often = (mean_activations(half, pairs * n, per_position=False) for n in (1, 2000))
    torch.testing.assert_close(often, once)


def test_what_is_resampled_hangs_on_no_padding() -> None:
    """Where attention goes both ways, each corrupted prompt is read to its end and no further."""
    model = random_model(TRACR)
    (batch,) = make_batches(model, ragged_examples(7, model.architecture.d_vocab))
    together = Reference(ABLATIONS["resample"]).of(model, batch.corrupted, batch.lengths)
    assert together is not None
    for i, length in enumerate(batch.lengths.tolist()):
        close(together[:, i, :length], model.senders(batch.corrupted[[i], :length])[:, 0])


@pytest.mark.parametrize("per_batch", [3, 64])
def test_a_mean_per_position_is_over_all_prompts(tiny: MaskedModel, per_batch: int) -> None:
    examples = random_examples(7)
    expected = tiny.senders(torch.as_tensor(examples.clean)).mean(1)
    reference = make_reference(tiny, "mean", batches_of(tiny, examples, per_batch), one_length=True)
    assert reference.policy == "mean_per_position"
    assert reference.constant is not None
    close(reference.constant[:, 0], expected)
