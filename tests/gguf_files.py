"""A small model as a GGUF file, and what tests ask of a model that was loaded from one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from bench.models.load import load_model
from bench.models.tiny import decoder

TEXT = "the other, then theirs"
VOCABULARY = ["<|endoftext|>", *map(chr, range(33, 127)), "\u0120", "th", "the", "\u0120the"]
TOKENS = torch.randint(0, len(VOCABULARY), (2, 9), generator=torch.Generator().manual_seed(0))
PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def tiny_llama() -> LlamaForCausalLM:
    """Two layers, width 32, 4 heads that share 2 keys, every weight random, in float32."""
    sizes = {"vocab_size": len(VOCABULARY), "num_key_value_heads": 2, "intermediate_size": 64}
    model: LlamaForCausalLM = decoder("Llama", **sizes).float()
    return model


def write_gguf(
    file: Path,
    model: LlamaForCausalLM,
    kind: str = "F32",
    without: str = "",
    more: dict[str, Any] | None = None,
) -> LlamaForCausalLM:
    """Writes a model as llama.cpp does, and returns it with the weights as they were rounded."""
    gguf = pytest.importorskip("gguf")
    config: Any = model.config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([3] + [1] * (len(VOCABULARY) - 1))
    writer.add_token_merges(["t h", "th e", "\u0120 the"])
    writer.add_eos_token_id(0)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    type_ = gguf.GGMLQuantizationType[kind]
    weights: dict[str, Any] = {}
    for name, weight in model.state_dict().items():
        values, named = weight.numpy(), _gguf_name(name)
        raw = values if values.ndim == 1 else gguf.quants.quantize(values, type_)
        weights[name] = torch.from_numpy(gguf.quants.dequantize(raw, type_) if values.ndim > 1 else values)
        if name == without:
            continue
        n_heads = heads.get(named.split(".")[-2])
        if n_heads:  # llama.cpp turns neighbouring pairs of a head's values, transformers its two halves
            raw = raw.reshape(n_heads, 2, -1, *raw.shape[1:]).swapaxes(1, 2).reshape(raw.shape)
        writer.add_tensor(named, np.ascontiguousarray(raw), raw_dtype=type_ if values.ndim > 1 else None)
    for name, values in (more or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.load_state_dict(weights)
    return model


def _gguf_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in OUTER:
        return f"{OUTER[stem]}.{kind}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{PARTS[part]}.{kind}"


def logits(name: Path | str) -> torch.Tensor:
    return load_model(str(name)).masked.run(TOKENS)


def left_in(folder: Path) -> list[str]:
    """What a folder holds, hidden names too; nothing when it is not there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def no_reading(file: Path) -> Any:
    raise AssertionError("it is in the cache")
