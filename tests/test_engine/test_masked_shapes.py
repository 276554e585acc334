"""The masked forward on shapes that bridge cannot mask, against a naive loop over heads.

Bidirectional, without LayerNorm, grouped-query, parallel, and any of these together.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.engine.architecture import ACTIVATIONS, Architecture
from bench.engine.masked_model import MaskedModel
from tiny_models import INSIDE, LENGTHS, PROMPTS, TRACR, close, loss, random_model, seeded, tiny

SHAPES = {
    "tracr": TRACR,
    "tracr_joint": replace(TRACR, split_embed=False),
    "grouped": replace(TRACR, n_heads=6, n_kv_heads=3, causal=True, norm="layer", split_embed=False),
    "multi_query": replace(TRACR, n_heads=3, n_kv_heads=1, causal=True, norm="layer"),
    "parallel": replace(TRACR, n_layers=3, parallel=True, causal=True, norm="layer"),
    "grouped_parallel": replace(TRACR, n_heads=4, parallel=True),
}


def naive(model: MaskedModel, tokens: Tensor, mask: Tensor, reference: Tensor) -> Tensor:
    """One example's logits, ``[pos, vocab]``: node after node, head after head.

    `reference` is ``[senders, pos, d_model]``.
    """
    arch, w = model.architecture, model.weights
    rows = {node.name: mask[row] for row, node in enumerate(model.graph.receivers)}
    token, position = w["embed.W_E"][tokens], w["embed.W_pos"][: len(tokens)]
    senders = [token, position] if arch.split_embed else [token + position]
    constant = torch.zeros(arch.d_model, dtype=model.dtype)

    def read(name: str, norm: str) -> Tensor:
        terms = zip(rows[name], senders, reference, strict=False)  # the senders so far
        x: Tensor = constant + sum(m * z + (1 - m) * ref for m, z, ref in terms)
        if arch.norm == "none":
            return x
        return F.layer_norm(x, (arch.d_model,), w[f"{norm}.w"], w[f"{norm}.b"], arch.eps)

    def mlp(m: str) -> Tensor:
        hidden = ACTIVATIONS[arch.activation](read(m, f"{m}.norm") @ w[f"{m}.W_in"] + w[f"{m}.b_in"])
        return hidden @ w[f"{m}.W_out"] + w[f"{m}.b_out"]

    def head(a: str, h: int) -> Tensor:
        def project(port: str, reader: int, block: int) -> Tensor:
            x = read(f"{a}.h{reader}.{port}", f"{a}.norm")
            return x @ w[f"{a}.W_QKV"][block] + w[f"{a}.b_QKV"][block]

        kv = h * arch.n_kv_heads // arch.n_heads
        q = project("q", h, h)
        k = project("k", kv, arch.n_heads + kv)
        v = project("v", kv, arch.n_heads + arch.n_kv_heads + kv)
        scores = q @ k.T / math.sqrt(arch.d_head)
        if arch.causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
        return scores.softmax(-1) @ v @ w[f"{a}.W_O"][h]

    for layer in range(arch.n_layers):
        early = mlp(f"m{layer}") if arch.parallel else None
        senders += [head(f"a{layer}", h) for h in range(arch.n_heads)]
        constant = constant + w[f"a{layer}.b_O"]
        senders.append(mlp(f"m{layer}") if early is None else early)
    return read("logits", "logits.norm") @ w["logits.W_U"] + w["logits.b_U"]


def naive_batch(
    model: MaskedModel, tokens: Tensor, mask: Tensor, reference: Tensor | None, lengths: Tensor
) -> list[Tensor]:
    """The naive logits of every example, its padding cut off."""
    if reference is None:
        reference = torch.zeros(mask.shape[1], *tokens.shape, model.architecture.d_model, dtype=model.dtype)
    reference = reference.expand(-1, *tokens.shape, -1)
    return [
        naive(model, row[:length], mask, reference[:, i, :length])
        for i, (row, length) in enumerate(zip(tokens, lengths.tolist(), strict=True))
    ]


def assert_naive(model: MaskedModel, mask: Tensor, reference: Tensor | None, differentiable: bool) -> None:
    """Both agree on the clean prompts under a mask; padding is not compared."""
    leaf = mask.clone().requires_grad_(differentiable)
    with torch.set_grad_enabled(differentiable):
        logits = model.run(PROMPTS[0], leaf, reference, lengths=LENGTHS)
    close(logits[INSIDE], torch.cat(naive_batch(model, PROMPTS[0], mask, reference, LENGTHS)))


@pytest.mark.parametrize("ablation", ["resample", "zero"])
@pytest.mark.parametrize("shape", SHAPES)
def test_other_shapes_equal_a_naive_loop(shape: str, ablation: str) -> None:
    """Full run, soft and sparse masks, with padding of several lengths, on every kind of shape."""
    model = random_model(SHAPES[shape])
    clean, corrupted = PROMPTS
    removed = model.senders(corrupted, LENGTHS) if ablation == "resample" else None
    soft = torch.rand(model.graph.exists.shape, generator=seeded("mask"), dtype=torch.float64)
    ones, zeros = torch.ones_like(soft), torch.zeros_like(soft)
    later_heads = torch.tensor([node.head not in (0, 1) for node in model.graph.senders])
    for mask in (ones, zeros, soft, soft * later_heads, (soft < 0.5).double(), (soft < 0.1).double()):
        assert_naive(model, mask, removed, differentiable=True)
        assert_naive(model, mask, removed, differentiable=False)
    full = model.run(clean, lengths=LENGTHS)
    close(full[INSIDE], torch.cat(naive_batch(model, clean, ones, None, LENGTHS)))
    if removed is not None:
        empty = model.run(clean, zeros, removed, lengths=LENGTHS)
        close(empty[INSIDE], model.run(corrupted, lengths=LENGTHS)[INSIDE])


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_of_other_shapes_equal_the_naive_loops(shape: str) -> None:
    """To the mask, and those of `edge_gradients`, with padding."""
    model = random_model(SHAPES[shape])
    clean, corrupted = PROMPTS
    removed = model.senders(corrupted, LENGTHS)

    def inside_loss(logits: Tensor) -> Tensor:
        return loss(logits[INSIDE])

    ones = torch.ones(model.graph.exists.shape, dtype=torch.float64)
    soft = torch.rand(ones.shape, generator=seeded("mask"), dtype=torch.float64)
    for mask in (soft.requires_grad_(), ones.requires_grad_()):
        logits = model.run(clean, mask, removed, lengths=LENGTHS)
        (actual,) = torch.autograd.grad(inside_loss(logits), mask)
        expected = torch.cat(naive_batch(model, clean, mask, removed, LENGTHS))
        (wanted,) = torch.autograd.grad(loss(expected), mask)
        close(actual, wanted)
    tapped = model.edge_gradients(clean, inside_loss, lambda z: z - removed, lengths=LENGTHS)
    close(tapped, wanted)


def test_padding_is_never_read() -> None:
    """Under causal attention by itself, in a bidirectional model by `lengths`."""
    case, model = tiny(), random_model(TRACR)
    prompts = PROMPTS[0], torch.where(INSIDE, PROMPTS[0], 0)
    told, told_of_other = (model.run(tokens, lengths=LENGTHS)[INSIDE] for tokens in prompts)
    untold, untold_of_other = (model.run(tokens)[INSIDE] for tokens in prompts)
    close(told, told_of_other)
    assert not torch.allclose(untold, untold_of_other)
    case.agree(case.model.run(case.clean[:, :4]), case.model.run(case.clean)[:, :4])


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    n_kv_heads = draw(st.integers(1, 3))
    return replace(
        TRACR,
        n_layers=draw(st.integers(1, 3)),
        n_heads=n_kv_heads * draw(st.integers(1, 2)),
        n_kv_heads=n_kv_heads,
        norm=draw(st.sampled_from(["none", "layer"])),
        causal=draw(st.booleans()),
        parallel=draw(st.booleans()),
        split_embed=draw(st.booleans()),
    )


@given(architectures(), st.floats(0, 1), st.booleans(), st.booleans(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_any_shape_and_any_binary_mask(
    arch: Architecture, density: float, resample: bool, differentiable: bool, seed: int
) -> None:
    """The naive loop agrees on every combination of options, however sparse the mask."""
    model = random_model(arch)
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(model.graph.exists.shape, generator=generator) < density
    mask &= torch.rand(mask.shape[1], generator=generator) < 0.5  # empty columns
    removed = model.senders(PROMPTS[1], LENGTHS) if resample else None
    assert_naive(model, mask.double(), removed, differentiable)
