"""What a study is made on: prompts that come twice are counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.conformance.prompts import batches_of
from bench.discovery.data import Asked, load_data
from bench.engine.masked_model import MaskedModel
from methods.base import Batch
from problems import random_examples


def asked(batches: list[Batch]) -> Asked:
    return Asked(batches, torch.zeros(sum(map(len, batches)), dtype=torch.long))


def test_repeats_are_counted_across_batches_and_paddings(tiny: MaskedModel) -> None:
    examples = random_examples(vocab=tiny.architecture.d_vocab)
    (batch,) = batches_of(tiny, examples, 64)
    assert asked([batch]).repeated_prompts == 0
    assert asked([batch, batch.part(2, 4)]).repeated_prompts == 2
    padded = batch.part(0, 1)
    wider = {
        name: torch.nn.functional.pad(getattr(padded, name), (0, 3), value=9)
        for name in ("clean", "corrupted")
    }
    assert asked([batch, replace(padded, **wider)]).repeated_prompts == 1


@pytest.mark.parametrize("part", ["corrupted", "candidates", "correct"])
def test_what_differs_in_anything_is_no_repeat(part: str, tiny: MaskedModel) -> None:
    (batch,) = batches_of(tiny, random_examples(vocab=tiny.architecture.d_vocab), 64)
    other = replace(batch, **{part: getattr(batch, part).flip(1)})
    assert asked([batch, other]).repeated_prompts == 0


@pytest.mark.parametrize(("model", "task"), [("embedded", "gt"), ("tracr:reverse", "tracr")])
def test_ours_repeat_none(model: str, task: str) -> None:
    data = load_data(
        model, task, n_discovery=2, n_evaluation=100, split="evaluation", data_seed=0,
        dtype="float32", split_embed=False, device="cpu",
    )  # fmt: skip
    assert sum(map(len, data.evaluation.batches)) > 20
    assert data.evaluation.repeated_prompts == 0
