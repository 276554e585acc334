"""Tiny random decoders of every supported architecture; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bench.engine.masked_model import MaskedModel
from bench.models.bridge import masked_model
from bench.models.tiny import decoder
from naive_decoder import NaiveDecoder
from tiny_models import loss

LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 8,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 8}
GROUPED = {"num_key_value_heads": 2}

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
