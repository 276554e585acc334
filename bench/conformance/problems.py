"""The problems that a method is checked on: small, of several kinds, copied for every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache

import torch
from torch import Tensor

from bench.conformance.prompts import batches_of, ragged_examples
from bench.discovery.data import NOTHING, Data, program_data
from bench.engine.ablation import AblationName
from bench.engine.masked_model import MaskedModel
from bench.models.bridge import masked_model
from bench.models.tiny import N_TOKENS, decoder
from bench.names import get_program
from bench.scoring.measures import LOGIT_DIFF
from bench.study import Study
from methods.base import Batch
from tracr_ground_truth import find_programs

SIZES = (0.1, 0.4)
"""The requested sizes, as shares of edges."""
PROGRAM = "x_proportion"


class Unavailable(Exception):
    """A problem that is not available here; the message is the reason."""


@dataclass(frozen=True)
class TinyProblem:
    """A kind of model under an ablation; together they differ in whatever a method may overlook."""

    description: str
    ablation: AblationName
    make: Callable[[], Data]

    def study(self, device: str) -> Study:
        """A study on copies of the model and the prompts, which a careless method may damage.

        Raises:
            Unavailable: something that it needs is not installed.
        """
        data = self.make()
        weights = {name: weight.clone() for name, weight in data.model.weights.items()}
        own = MaskedModel(data.model.architecture, weights).to(device)
        batches = [_copied(batch, device) for batch in data.discovery]
        return Study.on(replace(data, model=own, discovery=batches), self.ablation)


def _copied(batch: Batch, device: str) -> Batch:
    copies: dict[str, Tensor] = {f.name: getattr(batch, f.name).clone().to(device) for f in fields(batch)}
    return Batch(**copies)


def on_prompts(model: MaskedModel) -> Data:
    """Seven random prompts, of several lengths, in two batches; nothing to evaluate."""
    prompts = ragged_examples(7, N_TOKENS, candidates=4)
    return Data(model, LOGIT_DIFF, batches_of(model, prompts, 4), NOTHING, one_length=False)


@cache
def _gpt2() -> Data:
    return on_prompts(masked_model(decoder("GPT2")).to(dtype=torch.float32))


@cache
def _llama() -> Data:
    return on_prompts(masked_model(decoder("Llama", num_key_value_heads=2)))


@cache
def _neox() -> Data:
    return on_prompts(masked_model(decoder("GPTNeoX", rotary_pct=0.5)).to(dtype=torch.float32))


@cache
def _program() -> Data:
    from bench.models.tracr import load_program

    _, missing = find_programs()
    if missing:
        raise Unavailable(next(iter(missing.values())))
    return program_data(load_program(get_program(PROGRAM)), 64, 0)


PROBLEMS: Mapping[str, TinyProblem] = {
    "gpt2": TinyProblem("a random GPT-2, removed edges resampled", "resample", _gpt2),
    "llama": TinyProblem("a random Llama with grouped KV heads, in float64, at zero", "zero", _llama),
    "neox": TinyProblem("a random GPT-NeoX with parallel blocks, at the mean", "mean", _neox),
    PROGRAM: TinyProblem("a compiled program, whose output is one number, at zero", "zero", _program),
}
