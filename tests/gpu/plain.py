"""A plain forward to divide by: Hugging Face's where it is installed, else one of torch.nn.functional."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.engine.architecture import ACTIVATIONS, Architecture
from bench.engine.blocks import rotate, rotation
from bench.engine.masked_model import MaskedModel


def functional(model: MaskedModel, tokens: Tensor) -> Tensor:
    """Logits of a GPT-2 or a Llama, from fused projections, as a fast implementation has them.

    Nothing of it is masked: no sender is kept apart, and a layer's heads are one matrix.
    """
    arch, w = model.architecture, model.weights
    x = w["embed.W_E"][tokens]
    if not arch.rotary:
        x = x + w["embed.W_pos"][: tokens.shape[1]]
    batch, pos, width = x.shape
    counts = [arch.n_heads, arch.n_kv_heads, arch.n_kv_heads]

    def norm(name: str, x: Tensor) -> Tensor:
        if arch.norm == "rms":
            return F.rms_norm(x, (width,), None, arch.eps)
        return F.layer_norm(x, (width,), w[f"{name}.w"], w[f"{name}.b"], arch.eps)

    for i in range(arch.n_layers):
        W = w[f"a{i}.W_QKV"].transpose(0, 1).reshape(width, -1)
        qkv = torch.addmm(w[f"a{i}.b_QKV"].flatten(), norm(f"a{i}.norm", x).view(-1, width), W)
        q, k, v = qkv.view(batch, pos, -1, arch.d_head).transpose(1, 2).split(counts, 1)
        if arch.rotary:
            turn = rotation(arch, w, pos)
            q, k = rotate(q, *turn), rotate(k, *turn)
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=len({*counts}) > 1)
        x = x + z.transpose(1, 2).reshape(batch, pos, -1) @ w[f"a{i}.W_O"].flatten(0, 1) + w[f"a{i}.b_O"]
        normed = norm(f"m{i}.norm", x)
        hidden = normed @ w[f"m{i}.W_in"] + w[f"m{i}.b_in"]
        activate = ACTIVATIONS[arch.activation]
        if arch.gated:
            hidden = activate(normed @ w[f"m{i}.W_gate"] + w[f"m{i}.b_gate"]) * hidden
        else:
            hidden = activate(hidden)
        x = x + hidden @ w[f"m{i}.W_out"] + w[f"m{i}.b_out"]
    return norm("logits.norm", x) @ w["logits.W_U"] + w["logits.b_U"]


def plain_forward(model: MaskedModel) -> tuple[Callable[[Tensor], Tensor], str]:
    """A forward of the model's shape, and whose it is."""
    if importlib.util.find_spec("transformers") is None:
        return lambda tokens: functional(model, tokens), "torch.nn.functional"
    hf = _hugging_face(model.architecture).to(model.device, model.dtype).eval()
    return lambda tokens: hf(tokens).logits, f"transformers ({hf.config._attn_implementation})"


def _hugging_face(arch: Architecture) -> Any:
    """Of the same shape, with weights of its own: how long it takes does not hang on them."""
    import transformers as hf

    if not arch.rotary:
        shape: dict[str, Any] = {"n_layer": arch.n_layers, "n_head": arch.n_heads, "n_embd": arch.d_model}
        return hf.GPT2LMHeadModel(hf.GPT2Config(**shape, vocab_size=arch.d_vocab, n_positions=arch.n_ctx))
    config = hf.LlamaConfig(
        vocab_size=arch.d_vocab, hidden_size=arch.d_model, intermediate_size=arch.d_mlp,
        num_hidden_layers=arch.n_layers, num_attention_heads=arch.n_heads,
        num_key_value_heads=arch.n_kv_heads, head_dim=arch.d_head,
    )  # fmt: skip
    return hf.LlamaForCausalLM(config)
