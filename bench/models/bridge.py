"""From TransformerLens's TransformerBridge to a MaskedModel: the one place that knows its inside.

TransformerBridge names the weights of every architecture alike, so we read them from it. We stay
out of its compatibility mode, which re-centres weights and thereby the logits.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.masked_model import ACTIVATIONS, Architecture, MaskedModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SUPPORTED = ("GPT2LMHeadModel",)


def bridge_of(model: PreTrainedModel) -> Any:
    """A TransformerBridge around a copy of a Hugging Face model; no tokenizer, no download."""
    # The public way, boot_transformers, asks for a tokenizer, which random-weight models lack.
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    return build_bridge_from_module(copy.deepcopy(model), type(model).__name__, hf_config=model.config)


def masked_model(model: PreTrainedModel) -> MaskedModel:
    """The MaskedModel of a Hugging Face decoder, in the dtype of its weights.

    Raises:
        ValueError: the architecture is not carried; the message names it.
    """
    name = type(model).__name__
    if name not in SUPPORTED:
        raise ValueError(f"the architecture {name} is not carried yet; carried: {', '.join(SUPPORTED)}")
    bridge = bridge_of(model)
    cfg = bridge.cfg
    if cfg.act_fn not in ACTIVATIONS:
        raise ValueError(f"the activation '{cfg.act_fn}' of {name} is not carried")
    if getattr(cfg, "scale_attn_by_inverse_layer_idx", False):
        raise ValueError(f"{name} scales attention by its layer's number, which is not carried")
    architecture = Architecture(
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        n_kv_heads=cfg.n_key_value_heads or cfg.n_heads,
        d_model=cfg.d_model,
        d_head=cfg.d_head,
        n_ctx=cfg.n_ctx,
        d_vocab=bridge.W_U.shape[1],
        activation=cfg.act_fn,
        eps=cfg.eps,
    )
    with torch.no_grad():
        return MaskedModel(architecture, _weights(bridge))


def _weights(bridge: Any) -> dict[str, Tensor]:
    def norm(block: Any, name: str) -> dict[str, Tensor]:
        return {f"{name}.w": block.weight, f"{name}.b": block.bias}

    weights = {"embed.W_E": bridge.W_E, "embed.W_pos": bridge.W_pos}
    for layer, block in enumerate(bridge.blocks):
        a, m = f"a{layer}", f"m{layer}"
        weights |= {
            f"{a}.W_QKV": torch.cat([bridge.W_Q[layer], bridge.W_K[layer], bridge.W_V[layer]]),
            f"{a}.b_QKV": torch.cat([bridge.b_Q[layer], bridge.b_K[layer], bridge.b_V[layer]]),
            f"{a}.W_O": bridge.W_O[layer],
            f"{a}.b_O": bridge.b_O[layer],
            f"{m}.W_in": bridge.W_in[layer],
            f"{m}.b_in": bridge.b_in[layer],
            f"{m}.W_out": bridge.W_out[layer],
            f"{m}.b_out": bridge.b_out[layer],
            **norm(block.ln1, f"{a}.norm"),
            **norm(block.ln2, f"{m}.norm"),
        }
    weights |= {"logits.W_U": bridge.W_U, "logits.b_U": bridge.b_U, **norm(bridge.ln_final, "logits.norm")}
    return {name: _fast_layout(name, tensor.detach().clone()) for name, tensor in weights.items()}


def _fast_layout(name: str, weight: Tensor) -> Tensor:
    """Memory order in which the product with few rows is fast on CPU; values and shape stay."""
    if name.endswith((".W_in", ".W_U")):
        return weight.T.contiguous().T
    return weight.contiguous()
