"""The full model of every supported architecture, tiny and random, held to Hugging Face."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from transformers import Conv1D

from bench.engine import blocks
from bench.models.bridge import graph_of_config, masked_model
from bench.models.tiny import decoder
from decoders import FAMILIES, GROUPED, Case, case_of, mask_gradient
from tiny_models import close, loss


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_hugging_faces(family: str) -> None:
    """As it comes; what differs is its float32 in RMSNorms, in eager softmaxes and nowhere else."""
    case = case_of(family)
    close(case.model.run(case.clean), case.hf(case.clean).logits, 1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_needs_no_weights(family: str) -> None:
    case = case_of(family)
    assert graph_of_config(case.hf.config) == case.model.graph


def test_logits_are_hugging_faces_in_float64(supported: Case) -> None:
    """All through, and at the longest prompt too."""
    for tokens in (supported.clean, torch.arange(supported.model.architecture.n_ctx)[None]):
        close(supported.model.run(tokens), supported.hf(tokens).logits)


def test_padding_on_the_right_is_never_read(supported: Case) -> None:
    """Hugging Face, told of the padding, says the same of what comes before."""
    lengths = torch.tensor([7, 4, 6])
    inside = torch.arange(7) < lengths[:, None]
    padded = torch.where(inside, supported.clean, 0)
    expected = supported.hf(padded, attention_mask=inside.long()).logits[inside]
    for tokens in (padded, supported.clean):
        close(supported.model.run(tokens, lengths=lengths)[inside], expected)
    soft, reference = supported.mask(), supported.reference("resample")
    close(supported.model.run(padded, soft, reference)[inside], supported.run(soft, reference)[inside])


def test_every_matrix_is_counted(supported: Case) -> None:
    """`matrices` has as many entries as the layers' linear maps."""
    linear = (nn.Linear, Conv1D)
    unembed = supported.hf.get_output_embeddings()
    maps = [m for m in supported.hf.modules() if isinstance(m, linear) and m is not unembed]
    assert sum(shape.numel() for shape in supported.model.matrices.values()) == sum(
        m.weight.numel() for m in maps
    )


def test_senders_are_the_slow_references(supported: Case) -> None:
    """Node by node; together with the biases of attention they are what the final norm reads."""
    senders = supported.model.senders(supported.clean)
    close(senders, supported.naive.senders(supported.clean))
    biases = sum(supported.model.weights[f"a{i}.b_O"] for i in range(supported.model.architecture.n_layers))
    states = supported.hf(supported.clean, output_hidden_states=True).hidden_states
    close(senders[0], states[0])
    first = senders[: 1 + supported.model.graph.n_heads + 1].sum(0) + supported.model.weights["a0.b_O"]
    close(first, states[1])
    close(blocks.logits(supported.model.architecture, supported.model.weights, senders.sum(0) + biases),
          supported.hf(supported.clean).logits)  # fmt: skip


# ---- contexts, precisions, senders


WINDOWED = {
    "mistral": partial(decoder, "Mistral", **GROUPED, sliding_window=8),
    "gemma2": partial(decoder, "Gemma2", **GROUPED, head_dim=8, sliding_window=8),
    "qwen2": partial(
        decoder, "Qwen2", **GROUPED, use_sliding_window=True, sliding_window=8, max_window_layers=1
    ),
}


@pytest.mark.parametrize("family", WINDOWED)
def test_a_sliding_window_bounds_the_prompt(family: str, exact: None) -> None:
    """Within it attention is whole and equals Hugging Face's; a longer prompt is refused."""
    hf = WINDOWED[family]()
    model = masked_model(hf)
    assert model.architecture.n_ctx == 8
    tokens = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(4))
    close(model.run(tokens[:, :8]), hf(tokens[:, :8]).logits)
    with pytest.raises(ValueError, match="a prompt of 9 tokens is longer than this model's context of 8"):
        model.run(tokens)


def test_a_window_that_is_off_bounds_nothing() -> None:
    """Qwen's configs name a window and say that it is not used."""
    assert masked_model(decoder("Qwen2", use_sliding_window=False, sliding_window=8)).architecture.n_ctx == 16


@pytest.mark.parametrize("family", FAMILIES)
def test_other_precisions(family: str) -> None:
    """float32 is close to Hugging Face's float32, bfloat16 roughly so; masked runs and gradients too."""
    case = case_of(family)
    single = case.model.to(dtype=torch.float32)
    close(single.run(case.clean), FAMILIES[family]().float()(case.clean).logits, 1e-4)
    half = case.model.to(dtype=torch.bfloat16)
    logits = half.run(case.clean)
    assert logits.dtype == torch.bfloat16
    scale = case.model.run(case.clean).abs().mean()
    assert (logits.float() - single.run(case.clean)).abs().mean() < 0.05 * scale
    mask, reference = case.mask().float(), half.senders(case.corrupted)
    expected = single.run(case.clean, mask, reference.float())
    assert (half.run(case.clean, mask, reference).float() - expected).abs().mean() < 0.05 * scale
    leaf = mask.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(half.run(case.clean, leaf, reference).float()), leaf)
    exact = mask_gradient(single.run, case.clean, mask, reference.float())
    assert (gradient - exact).norm() < 0.2 * exact.norm()


def test_frequencies_keep_their_precision() -> None:
    """Hugging Face rotates in float32 whatever the model's dtype; otherwise far positions turn wrongly."""
    model = masked_model(decoder("Llama", head_dim=64, max_position_embeddings=2048))
    half = model.to(dtype=torch.bfloat16)
    for part, whole in zip(
        blocks.rotation(half.architecture, half.weights, 2048),
        blocks.rotation(model.architecture, model.weights, 2048),
        strict=True,
    ):
        close(part.double(), whole, 0.01)


def test_only_position_embeddings_can_be_split_off(supported: Case) -> None:
    """Rotary models have none, and say so; GPT-2 has."""
    if not supported.model.architecture.rotary:
        close(
            supported.model.with_split_embed().senders(supported.clean)[:2].sum(0),
            supported.naive.senders(supported.clean)[0],
        )
        return
    with pytest.raises(ValueError, match="no position embedding to split off"):
        supported.model.with_split_embed()
