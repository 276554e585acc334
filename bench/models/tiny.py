"""Tiny random decoders of the supported architectures, for fast problems without downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

N_TOKENS = 50
"""Vocabulary size of each."""


def decoder(kind: str, /, **options: Any) -> PreTrainedModel:
    """A random decoder in float64: two layers, four heads, width 32, 50 tokens.

    Attention is "eager", the only kind that has Gemma-2's soft cap.

    Args:
        kind: names the Hugging Face classes (``Llama``).
        options: of their config.
    """
    import transformers

    shape = {
        "vocab_size": N_TOKENS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 16,
    }  # fmt: skip
    if kind != "GPTNeoX":
        shape["num_key_value_heads"] = 4
    if kind == "GPT2":
        shape = {"vocab_size": N_TOKENS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 16}
    silent = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    config = getattr(transformers, f"{kind}Config")(**(shape | silent | options))
    head = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    model: Any = getattr(transformers, kind + head)(config)
    model.set_attn_implementation("eager")
    model = model.to(torch.float64).eval()
    for module in model.modules():
        if hasattr(module, "scalar_embed_scale"):  # Gemma-2's root of d_model, kept in float32
            module.embed_scale.fill_(module.scalar_embed_scale)
    return _randomised(model)


def _randomised(model: PreTrainedModel) -> PreTrainedModel:
    """Every weight drawn at random, norms' around what stands for 1, so that none of them is special."""
    generator = torch.Generator().manual_seed(0)
    added_to_one = type(model).__name__.startswith("Gemma")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = ("norm" in name or "ln_" in name) and name.endswith("weight")
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(float(norm and not added_to_one) + 0.25 * noise)
    return model
