"""What golden values are computed on, and how a tensor is told in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from bench.conformance.prompts import ragged_examples
from bench.discovery.problem import BenchProblem
from bench.engine.masked_model import MaskedModel
from bench.models.bridge import masked_model
from bench.models.tiny import decoder
from bridge_oracle import tiny_gpt2
from decoders import GROUPED
from problems import problem, random_examples
from tiny_models import TRACR, random_model, seeded

SIZES = (0.05, 0.2)
EVEN = "mean per position"
"""Mean ablation where all prompts have one length."""
Numbers = dict[str, float]


@cache
def models() -> dict[str, MaskedModel]:
    """Learned positions; grouped keys and values; parallel blocks; coupled heads; attention both ways."""
    return {
        "gpt2": masked_model(tiny_gpt2(n_layer=2)),
        "llama": masked_model(decoder("Llama", **GROUPED)),
        "neox": masked_model(decoder("GPTNeoX", rotary_pct=0.5)),
        "gemma2": masked_model(decoder("Gemma2", **GROUPED, head_dim=8)),
        "compiled": random_model(TRACR),
    }


def task(kind: str, ablation: str, measure: str = "logit_diff", seed: int = 0) -> BenchProblem:
    """A dozen prompts in batches of five, five and two."""
    model = models()[kind]
    vocab = model.architecture.d_vocab
    examples = random_examples(12, vocab=vocab) if ablation == EVEN else ragged_examples(12, vocab, 4)
    name: Any = ablation.partition(" ")[0]
    return problem(model, name, SIZES, seed, examples, measure, per_batch=5)


def some_mask(p: BenchProblem, binary: bool = False) -> Tensor:
    """Random entries from 0 to 1, or most of the edges."""
    mask = torch.rand(p.graph.exists.shape, generator=seeded("mask"), dtype=torch.float64)
    return (mask < 0.8) & p.graph.exists if binary else mask


def told(**tensors: Tensor | Sequence[Tensor]) -> Numbers:
    """Sum, sum of squares, and product with fixed random numbers, of tensors or of several end to end."""
    numbers: Numbers = {}
    for name, value in tensors.items():
        parts = [value] if isinstance(value, Tensor) else value
        flat = torch.cat([part.detach().double().flatten() for part in parts])
        weights = torch.rand(len(flat), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        known = flat.where(flat.isfinite(), 0.0)
        numbers[f"{name} sum"] = known.sum().item()
        numbers[f"{name} squares"] = known.square().sum().item()
        numbers[f"{name} product"] = (known @ weights).item()
    return numbers
