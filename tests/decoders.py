"""Tiny random decoders of every supported architecture; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

from bench.engine.masked_model import MaskedModel
from bench.models.bridge import masked_model
from naive_decoder import NaiveDecoder
from tiny_models import loss

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
    model: Any = getattr(transformers, kind + head)(config)
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

REFERENCES = ["resample", "zero", "mean"]


@dataclass
class Case:
    """One decoder as Hugging Face, as MaskedModel and as slow reference, with two sets of prompts."""

    hf: PreTrainedModel
    model: MaskedModel
    naive: NaiveDecoder
    clean: Tensor
    corrupted: Tensor

    def reference(self, kind: str) -> Tensor | None:
        """What a removed edge carries; from the slow reference."""
        if kind == "zero":
            return None
        with torch.no_grad():
            senders = self.naive.senders(self.corrupted)
        return senders.mean((1, 2), keepdim=True) if kind == "mean" else senders

    def mask(self, density: float | None = None, seed: int = 0) -> Tensor:
        """Uniform in [0, 1]; with a density, ones and zeros, and half of the senders without a reader."""
        generator = torch.Generator().manual_seed(seed)
        soft = torch.rand(self.model.graph.exists.shape, generator=generator, dtype=torch.float64)
        if density is None:
            return soft
        heard = torch.rand(soft.shape[1], generator=generator) < 0.5
        return ((soft < density) & heard).double()

    def ones(self) -> Tensor:
        return torch.ones(self.model.graph.exists.shape, dtype=torch.float64)

    def run(self, mask: Tensor, reference: Tensor | None, differentiable: bool = False) -> Tensor:
        with torch.set_grad_enabled(differentiable):
            leaf = mask.clone().requires_grad_(differentiable)
            return self.model.run(self.clean, leaf, reference).detach()


@cache
def case_of(family: str) -> Case:
    hf = FAMILIES[family]()
    model = masked_model(hf)
    clean, corrupted = torch.randint(0, 50, (2, 3, 7), generator=torch.Generator().manual_seed(2))
    return Case(hf, model, NaiveDecoder(hf, model.graph), clean, corrupted)


def mask_gradient(run: Callable[[Tensor, Tensor, Tensor | None], Tensor], tokens: Tensor, mask: Tensor,
                  reference: Tensor | None) -> Tensor:  # fmt: skip
    leaf = mask.clone().requires_grad_()
    return torch.autograd.grad(loss(run(tokens, leaf, reference)), leaf)[0]
