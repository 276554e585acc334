"""Options of a config are supported as Hugging Face has them, or refused by name; models from folders."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM, OPTConfig, OPTForCausalLM, PreTrainedModel

import bench.models
from bench.errors import ModelError
from bench.models.bridge import masked_model
from bench.models.load import load_model
from bench.models.tiny import decoder
from decoders import case_of
from tiny_models import close

LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
OPTIONS = [
    ("GPT2", {"activation_function": "relu", "layer_norm_epsilon": 0.1, "n_inner": 20, "n_head": 2}),
    ("Llama", {"hidden_act": "relu", "rms_norm_eps": 0.1}),
    ("Llama", {"rope_parameters": LINEAR, "num_key_value_heads": 1}),
    ("Llama", {"mlp_bias": True}),
    ("Llama", {"is_causal": False}),
    ("Mistral", {"head_dim": 12, "hidden_act": "gelu"}),
    ("Qwen2", {"tie_word_embeddings": True, "rms_norm_eps": 0.1}),
    ("Qwen3", {"attention_bias": True, "rms_norm_eps": 0.1, "head_dim": 8}),
    ("Gemma2", {"hidden_activation": "gelu", "tie_word_embeddings": False, "rms_norm_eps": 0.1}),
    ("Gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    ("Gemma2", {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    ("Gemma2", {"attention_bias": True}),
    ("GPTNeoX", {"rotary_pct": 1.0, "tie_word_embeddings": True, "hidden_act": "gelu_new"}),
    ("GPTNeoX", {"layer_norm_eps": 0.1, "hidden_act": "relu"}),
    ("GPTNeoX", {"attention_bias": False}),
    ("Phi", {"layer_norm_eps": 0.1, "hidden_act": "gelu", "tie_word_embeddings": False}),
    ("Phi", {"qk_layernorm": True}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=str)
def test_options_are_supported_or_refused(kind: str, options: dict[str, Any], exact: None) -> None:
    """Either logits are Hugging Face's, or a ValueError says what is missing."""
    hf = decoder(kind, **({"head_dim": 8} if kind == "Gemma2" else {}), **options)
    tokens = torch.randint(0, 50, (2, 7), generator=torch.Generator().manual_seed(5))
    refusal = ""
    try:
        logits = masked_model(hf).run(tokens)
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert type(hf).__name__ in refusal
        assert "not supported" in refusal
    else:
        close(logits, hf(tokens).logits)


DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}


@pytest.mark.parametrize(
    ("kind", "options", "missing"),
    [
        ("Llama", {"rope_parameters": DYNAMIC}, "rotary embeddings of the kind 'dynamic'"),
        ("Llama", {"hidden_act": "gelu_fast"}, "the activation 'gelu_fast'"),
        ("GPT2", {"activation_function": "quick_gelu"}, "the activation 'quick_gelu'"),
        ("GPT2", {"scale_attn_weights": False}, "does not scale attention"),
    ],
    ids=str,
)
def test_what_is_missing_is_named(kind: str, options: dict[str, Any], missing: str) -> None:
    """The architecture and what of it is not supported, in one line."""
    hf = decoder(kind, **options)
    with pytest.raises(ValueError, match=rf"^this {type(hf).__name__} [^\n]*{missing}[^\n]* not supported$"):
        masked_model(hf)


def opt() -> PreTrainedModel:
    return OPTForCausalLM(OPTConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, ffn_dim=16,
                                    num_attention_heads=2, max_position_embeddings=16,
                                    word_embed_proj_dim=16))  # fmt: skip


def bloom() -> PreTrainedModel:
    return BloomForCausalLM(BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2))


@pytest.mark.parametrize("make", [opt, bloom])
def test_other_architectures_are_named(make: Callable[[], PreTrainedModel]) -> None:
    """With those that are supported."""
    hf = make()
    name = type(hf).__name__
    with pytest.raises(ValueError, match=f"^the architecture {name} is not supported yet; supported: GPT2LM"):
        masked_model(hf)


@pytest.mark.parametrize("family", ["llama_tied", "qwen3", "gemma2"])
def test_norms_fold_in_float32(family: str) -> None:
    """In bfloat16 every weight is that of float32, rounded once."""
    halved: Any = copy.deepcopy(case_of(family).hf)
    halved = halved.to(torch.bfloat16)
    ours, wide = masked_model(halved), masked_model(halved.to(torch.float32))
    for name, weight in ours.weights.items():
        assert weight.dtype == torch.bfloat16 or name == "rotary.inv_freq"
        assert weight.equal(wide.weights[name].to(weight.dtype)), name


# ---- from a folder


def saved(model: PreTrainedModel, folder: Path) -> str:
    """An ordinary model directory, with the tokenizer of the shipped model."""
    model.save_pretrained(folder)
    for file in (Path(bench.models.__file__).parent / "embedded").glob("tokenizer*"):
        shutil.copy(file, folder)
    return str(folder)


@pytest.mark.parametrize("family", ["llama_tied", "gemma2", "phi"])
def test_a_folder_is_loaded(family: str, tmp_path: Path) -> None:
    """Saved and loaded, in float32, logits are as before."""
    case = case_of(family)
    loaded = load_model(saved(case.hf, tmp_path))
    assert loaded.masked.dtype == torch.float32
    close(loaded.masked.run(case.clean).double(), case.model.run(case.clean), 1e-4)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (opt, "the architecture OPTForCausalLM is not supported yet; supported: GPT2LMHeadModel, "),
        (partial(decoder, "Llama", rope_parameters=DYNAMIC), "rotary embeddings of the kind 'dynamic'"),
        (partial(decoder, "Llama", hidden_act="gelu_fast"), "the activation 'gelu_fast', which is not"),
    ],
    ids=["architecture", "rope", "activation"],
)
def test_a_folder_that_cannot_be_supported(
    make: Callable[[], PreTrainedModel], named: str, tmp_path: Path
) -> None:
    """One line for the user, which names what is missing."""
    with pytest.raises(ModelError) as refusal:
        load_model(saved(make(), tmp_path))
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)
