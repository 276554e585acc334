"""Tiny random decoders of every carried architecture, as Hugging Face models; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 8,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 8}
GROUPED = {"num_key_value_heads": 2}


def decoder(kind: str, /, **options: Any) -> PreTrainedModel:
    """A random decoder in float64: two layers, four heads, width 32, 50 tokens.

    `kind` names the Hugging Face classes (``Llama``); `options` are its config's. Attention is "eager",
    which alone knows Gemma-2's soft cap.
    """
    shape = {
        "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 16,
    }  # fmt: skip
    if kind != "GPTNeoX":
        shape["num_key_value_heads"] = 4
    if kind == "GPT2":
        shape = {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 16}
    silent = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    config = getattr(transformers, f"{kind}Config")(**(shape | silent | options))
    head = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    model: PreTrainedModel = getattr(transformers, kind + head)(config)
    model.set_attn_implementation("eager")
    model = model.to(torch.float64).eval()
    for module in model.modules():
        if hasattr(module, "scalar_embed_scale"):  # Gemma-2's root of d_model, kept in float32
            module.embed_scale.fill_(module.scalar_embed_scale)
    return randomised(model)


def randomised(model: PreTrainedModel) -> PreTrainedModel:
    """Every weight drawn anew, norms' around what stands for 1, so that none of them is special."""
    generator = torch.Generator().manual_seed(0)
    added_to_one = type(model).__name__.startswith("Gemma")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = ("norm" in name or "ln_" in name) and name.endswith("weight")
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(float(norm and not added_to_one) + 0.25 * noise)
    return model


FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "gpt2": partial(decoder, "GPT2"),
    "gpt2_untied": partial(decoder, "GPT2", tie_word_embeddings=False),
    "llama": partial(decoder, "Llama", **GROUPED),
    "llama_tied": partial(decoder, "Llama", tie_word_embeddings=True, head_dim=12),
    "llama3_rope": partial(decoder, "Llama", **GROUPED, rope_parameters=LLAMA3),
    "llama_bias": partial(decoder, "Llama", **GROUPED, attention_bias=True),
    "mistral": partial(decoder, "Mistral", **GROUPED, sliding_window=None),
    "qwen2": partial(decoder, "Qwen2", **GROUPED),
    "qwen2_yarn": partial(decoder, "Qwen2", **GROUPED, rope_parameters=YARN, max_position_embeddings=32),
    "qwen3": partial(decoder, "Qwen3", **GROUPED, head_dim=12),
    "gemma2": partial(decoder, "Gemma2", **GROUPED, head_dim=12, query_pre_attn_scalar=10),
    "neox": partial(decoder, "GPTNeoX", rotary_pct=0.5),
    "neox_sequential": partial(decoder, "GPTNeoX", rotary_pct=0.25, use_parallel_residual=False),
    "phi": partial(decoder, "Phi", partial_rotary_factor=0.5),
    "phi_grouped": partial(decoder, "Phi", **GROUPED, partial_rotary_factor=0.5),
}
"""A maker per family, and per option that changes the computation."""
