"""From TransformerLens's TransformerBridge to a MaskedModel: the only module that knows its internals.

TransformerBridge names the weights of every architecture alike, so we read them from it. We avoid
its compatibility mode, which re-centres weights and thereby the logits.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.engine.architecture import ACTIVATIONS, Architecture
from bench.engine.graph import EdgeGraph
from bench.engine.masked_model import MaskedModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SUPPORTED = {
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gpt_neox": "GPTNeoXForCausalLM",
    "phi": "PhiForCausalLM",
}
"""Architectures by their configs' ``model_type``."""
ROTATIONS = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary embedding whose frequencies do not depend on the prompt."""


def bridge_of(model: PreTrainedModel, copied: bool = True) -> Any:
    """A TransformerBridge around a copy of a Hugging Face model, or around the model, which it modifies.

    It needs no tokenizer and no download.
    """
    # The public function, boot_transformers, needs a tokenizer, which random-weight models lack.
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    inner = copy.deepcopy(model) if copied else model
    return build_bridge_from_module(inner, type(model).__name__, hf_config=model.config)


def masked_model(model: PreTrainedModel, copied: bool = True) -> MaskedModel:
    """The MaskedModel of a Hugging Face decoder, in the dtype of its weights.

    Without a copy it takes less memory, but `model` itself cannot be used afterwards.

    Raises:
        ValueError: the architecture is not supported; the message names it or the unsupported part.
    """
    name = type(model).__name__
    check_supported(name, model.config)
    rotary = getattr(model.base_model, "rotary_emb", None)
    bridge = bridge_of(model, copied)
    with torch.no_grad():
        weights = _weights(bridge)
        if name.startswith("Gemma"):
            weights["embed.W_E"] = weights["embed.W_E"] * model.config.hidden_size**0.5
        if rotary is not None:
            weights["rotary.inv_freq"] = rotary.inv_freq.detach().clone()
        return MaskedModel(_architecture(model.config, bridge, rotary), weights)


def graph_of_config(config: Any) -> EdgeGraph:
    """The graph of a supported decoder from Hugging Face's config alone: the same as its `masked_model`'s."""
    kind, heads = config.model_type, config.num_attention_heads
    return EdgeGraph(
        config.num_hidden_layers,
        heads,
        getattr(config, "num_key_value_heads", None) or heads,
        parallel=bool(getattr(config, "use_parallel_residual", kind == "phi")),
        coupled_heads=kind == "gemma2",
    )


def not_supported(name: str) -> str:
    """Says that an architecture is not supported, and which ones are."""
    return f"the architecture {name} is not supported yet; supported: {', '.join(SUPPORTED.values())}"


def check_supported(name: str, config: Any) -> None:
    """Checks an architecture by its config alone.

    Args:
        name: of its Hugging Face class.
        config: Hugging Face's.

    Raises:
        ValueError: it is not supported; the message names it or the unsupported part.
    """
    if name not in SUPPORTED.values():
        raise ValueError(not_supported(name))
    missing = _unsupported(config)
    if missing:
        raise ValueError(f"this {name} {missing}, which is not supported")


def _architecture(config: Any, bridge: Any, rotary: Any) -> Architecture:
    cfg, block = bridge.cfg, bridge.blocks[0]
    names = set(dict(block.named_children()))
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    return Architecture(
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        n_kv_heads=cfg.n_key_value_heads or cfg.n_heads,
        d_model=cfg.d_model,
        d_head=cfg.d_head,
        n_ctx=min(cfg.n_ctx, window or cfg.n_ctx),  # within the window attention is full
        d_vocab=bridge.W_U.shape[1],
        activation=cfg.act_fn,
        d_mlp=bridge.blocks[0].mlp.W_in.shape[1],
        norm="rms" if cfg.normalization_type == "RMS" else "layer",
        eps=_eps(block),
        parallel=_parallel(config, cfg),
        gated=bool(cfg.gated_mlp),
        rotary=0 if rotary is None else 2 * len(rotary.inv_freq),
        rotary_scale=float(getattr(rotary, "attention_scaling", 1.0)),
        qk_norm="q_norm" in dict(block.attn.named_children()),
        post_norm="ln1_post" in names,
        scale=getattr(block.attn.original_component, "scaling", None),
        score_cap=getattr(config, "attn_logit_softcapping", None),
        logit_cap=getattr(config, "final_logit_softcapping", None),
    )


def _unsupported(config: Any) -> str | None:
    """What a model of this config does that the masked forward or the bridge does not support, in words."""
    kind = config.model_type
    activation = getattr(config, "activation_function", None) or getattr(
        config, "hidden_activation", getattr(config, "hidden_act", None)
    )
    if activation not in ACTIVATIONS:
        return f"has the activation '{activation}'"
    scaled = getattr(config, "scale_attn_weights", True)
    if not scaled or getattr(config, "scale_attn_by_inverse_layer_idx", False):
        return "does not scale attention by the root of d_head"
    if getattr(config, "is_causal", True) is False:
        return "attends to later tokens"
    if getattr(config, "qk_layernorm", False):
        return "has a LayerNorm on queries and keys"
    if kind == "gpt_neox" and not getattr(config, "attention_bias", True):
        return "has no attention bias"
    if kind == "gemma2" and getattr(config, "attention_bias", False):
        return "has an attention bias before a norm"
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    rotation = rope.get("rope_type", "default")
    if rotation not in ROTATIONS:
        return f"has rotary embeddings of the kind '{rotation}'"
    return None


def _parallel(config: Any, cfg: Any) -> bool:
    chosen = getattr(config, "use_parallel_residual", None)  # GPT-NeoX leaves it open
    return bool(cfg.parallel_attn_mlp) if chosen is None else bool(chosen)


def _eps(block: Any) -> float:
    norm = block.ln1.original_component
    return float(getattr(norm, "variance_epsilon", getattr(norm, "eps", 0.0)))


def _weights(bridge: Any) -> dict[str, Tensor]:
    cfg = bridge.cfg

    def norm(block: Any, name: str) -> dict[str, Tensor]:
        weight = _centred(block)
        bias = getattr(block.original_component, "bias", None)
        return {f"{name}.w": weight, **({} if bias is None else {f"{name}.b": bias})}

    def bias(part: Any, name: str, like: Tensor, *shape: int) -> Tensor:
        """A bias, or zeros where the checkpoint has none."""
        try:
            found: Tensor | None = getattr(part, name)
        except AttributeError:
            found = None
        return like.new_zeros(shape) if found is None else found

    weights = {"embed.W_E": bridge.W_E}
    if "pos_embed" in dict(bridge.named_children()):
        weights["embed.W_pos"] = bridge.W_pos
    for i, block in enumerate(bridge.blocks):
        attn, mlp = block.attn, block.mlp
        ports = [attn.W_Q, attn.W_K, attn.W_V]
        biases = [bias(attn, f"b_{p}", w, len(w), cfg.d_head) for p, w in zip("QKV", ports, strict=True)]
        W_O, W_in, W_out = attn.W_O, mlp.W_in, mlp.W_out
        parts = dict(block.named_children())
        weights |= {
            f"a{i}.W_QKV": torch.cat(ports),
            f"a{i}.b_QKV": torch.cat(biases),
            f"a{i}.W_O": W_O,
            f"a{i}.b_O": bias(attn, "b_O", W_O, cfg.d_model),
            f"m{i}.W_in": W_in,
            f"m{i}.b_in": bias(mlp, "b_in", W_in, W_in.shape[1]),
            f"m{i}.W_out": W_out,
            f"m{i}.b_out": bias(mlp, "b_out", W_out, cfg.d_model),
            **norm(block.ln1, f"a{i}.norm"),
            **norm(parts.get("ln2", block.ln1), f"m{i}.norm"),  # Phi's MLP shares attention's norm
        }
        if cfg.gated_mlp:
            gate = mlp.gate.original_component
            weights[f"m{i}.W_gate"] = mlp.W_gate
            weights[f"m{i}.b_gate"] = W_in.new_zeros(W_in.shape[1]) if gate.bias is None else gate.bias
        if "q_norm" in dict(attn.named_children()):
            weights |= {**norm(attn.q_norm, f"a{i}.q_norm"), **norm(attn.k_norm, f"a{i}.k_norm")}
        if "ln1_post" in parts:
            weights |= {**norm(block.ln1_post, f"a{i}.post"), **norm(block.ln2_post, f"m{i}.post")}
    weights |= {"logits.W_U": bridge.W_U, "logits.b_U": bridge.b_U, **norm(bridge.ln_final, "logits.norm")}
    if cfg.normalization_type == "RMS":
        weights = _folded(weights)
    dtype = bridge.W_E.dtype
    return {
        name: _fast_layout(name, tensor.detach().to(dtype, copy=True)) for name, tensor in weights.items()
    }


def _folded(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with each RMSNorm's multiplied into the projections after it.

    In float32 at least, and rounded once: in bfloat16 a product has only eight bits.
    """
    folded = {name: weight for name, weight in weights.items() if not name.endswith(".norm.w")}
    for name, weight in folded.items():
        node, _, part = name.partition(".")
        if part in ("W_QKV", "W_in", "W_gate", "W_U"):
            folded[name] = (weight * weights[f"{node}.norm.w"][:, None]).to(weight.dtype)
    return folded


def _centred(block: Any) -> Tensor:
    """A norm's weight, in float32 at least; Gemma stores it minus 1."""
    original = block.original_component
    weight: Tensor = original.weight.to(torch.promote_types(original.weight.dtype, torch.float32))
    return 1 + weight if type(original).__name__.startswith("Gemma") else weight


def _fast_layout(name: str, weight: Tensor) -> Tensor:
    """The weight in the memory order in which products with few rows are fast on CPU; its shape stays."""
    if name.endswith((".W_in", ".W_gate", ".W_U")):
        return weight.T.contiguous().T
    return weight.contiguous()
