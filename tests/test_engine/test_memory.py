"""The memory formula counts what there is; what does not fit is refused before it is read."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import torch
from memory import SHAPES

from bench.engine.memory import (
    copied_per_head,
    parameters,
    refuse_copies,
    refuse_too_large,
    refuse_too_little,
    step_bytes,
)
from bench.errors import ModelError
from bench.models.bridge import masked_model
from bench.models.tiny import decoder


@pytest.mark.parametrize("kind", ["Llama", "GPTNeoX", "Qwen3"])
def test_parameters_are_those_of_the_matrices(kind: str) -> None:
    model = masked_model(decoder(kind))
    counted = parameters(model.architecture)
    assert counted["attention"] + counted["mlp"] == sum(shape.numel() for shape in model.matrices.values())
    assert counted["embed"] == model.weights["embed.W_E"].numel()
    assert counted["unembed"] == model.weights["logits.W_U"].numel()


def test_computing_anew_takes_less_and_more_tokens_take_more() -> None:
    arch = masked_model(decoder("Llama")).architecture
    kept, anew = (sum(step_bytes(arch, 4, 16, 4, keep).values()) for keep in (2**31, 0))
    assert anew < kept < sum(step_bytes(arch, 8, 16, 4).values())
    assert sum(step_bytes(arch, 4, 16, 2).values()) < kept


def test_a_model_that_does_not_fit_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=5_000_000_000))
    refuse_too_large("small", 600_000_000, torch.float32, "cpu")
    with pytest.raises(ModelError, match=r"'large' needs about 8\.0 GB of main memory.* 5\.0 GB are free"):
        refuse_too_large("large", 1_000_000_000, torch.float32, "cpu")
    refuse_too_large("large", 1_000_000_000, torch.bfloat16, "cpu")


@pytest.mark.parametrize("kind", ["Llama", "Qwen3"])
def test_copies_are_those_of_the_tensors(kind: str) -> None:
    """Other weights are the same tensors."""
    model = masked_model(decoder(kind, num_key_value_heads=2))
    assert model.architecture.n_kv_heads < model.architecture.n_heads
    counted = model.with_kv_per_head()
    for name, weight in counted.weights.items():
        copied = weight.data_ptr() != model.weights[name].data_ptr()
        assert copied == name.endswith("_QKV"), name
    sizes = [weight.numel() for name, weight in counted.weights.items() if name.endswith(".W_QKV")]
    assert copied_per_head(model.architecture) == sum(sizes)


def test_copies_that_do_not_fit_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three matrices of 2,048 by 2,048 numbers in each of 22 layers."""
    arch = SHAPES["TinyLlama 1.1B"]
    free = 1_200_000_000
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**8, 10**12))
    cpu, card = torch.device("cpu"), torch.device("cuda")
    refuse_copies("large", arch, torch.float32, cpu)
    refuse_copies("large", replace(arch, n_kv_heads=arch.n_heads), torch.float32, card)
    with pytest.raises(
        ModelError, match=r"needs about 0\.6 GB more of GPU memory with .* but only 0\.1 GB are free"
    ):
        refuse_copies("large", arch, torch.bfloat16, card)
    free = 1_000_000_000
    with pytest.raises(ModelError, match=r"'large' needs about 1\.1 GB more of main memory .* 1\.0 GB are"):
        refuse_copies("large", arch, torch.float32, cpu)


def test_a_card_with_too_little_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Llama-2 13B in bfloat16: the step of one prompt takes a few GB beside the weights."""
    arch = SHAPES["Llama-2 13B"]
    free = 10**12
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**12))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * 10**8)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 10**8)
    refuse_too_little(arch, 16, 2, torch.device("cuda"))
    free = 10**8
    with pytest.raises(ModelError, match=r"^one prompt of 16 tokens needs about \d\.\d GB .* 0\.3 GB are"):
        refuse_too_little(arch, 16, 2, torch.device("cuda"))
    refuse_too_little(arch, 16, 2, torch.device("cpu"))
