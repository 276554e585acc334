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
    config = model.config
    unlike = getattr(config, "scale_attn_by_inverse_layer_idx", False)
    if unlike or not getattr(config, "scale_attn_weights", True):
        raise ValueError(f"this {name} does not scale attention by the root of d_head, which is not carried")
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

    # each of these stacks all layers anew when it is asked for
    q, k, v, o = bridge.W_Q, bridge.W_K, bridge.W_V, bridge.W_O
    b_q, b_k, b_v, b_o = bridge.b_Q, bridge.b_K, bridge.b_V, bridge.b_O
    w_in, b_in, w_out, b_out = bridge.W_in, bridge.b_in, bridge.W_out, bridge.b_out
    weights = {"embed.W_E": bridge.W_E, "embed.W_pos": bridge.W_pos}
    for i, block in enumerate(bridge.blocks):
        weights |= {
            f"a{i}.W_QKV": torch.cat([q[i], k[i], v[i]]),
            f"a{i}.b_QKV": torch.cat([b_q[i], b_k[i], b_v[i]]),
            f"a{i}.W_O": o[i],
            f"a{i}.b_O": b_o[i],
            f"m{i}.W_in": w_in[i],
            f"m{i}.b_in": b_in[i],
            f"m{i}.W_out": w_out[i],
            f"m{i}.b_out": b_out[i],
            **norm(block.ln1, f"a{i}.norm"),
            **norm(block.ln2, f"m{i}.norm"),
        }
    weights |= {"logits.W_U": bridge.W_U, "logits.b_U": bridge.b_U, **norm(bridge.ln_final, "logits.norm")}
    return {name: _fast_layout(name, tensor.detach().clone()) for name, tensor in weights.items()}


def _fast_layout(name: str, weight: Tensor) -> Tensor:
    """Memory order in which the product with few rows is fast on CPU; values and shape stay."""
    if name.endswith((".W_in", ".W_U")):
        return weight.T.contiguous().T
    return weight.contiguous()
