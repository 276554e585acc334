"""What a study is made on: prompts that come twice are counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.conformance.prompts import batches_of
from bench.discovery.data import Asked, drawn, load_data, shared_prompts
from bench.engine.masked_model import MaskedModel
from bench.errors import UsageError
from bench.models.load import load_model
from bench.names import get_task
from bench.store.record import EvaluatedSplit
from bench.study import Study
from methods.base import Batch
from problems import random_examples
from tasks.base import Split, Task
from tasks.examples import Examples, TaskError, Tokenizer


def asked(batches: list[Batch]) -> Asked:
    none = torch.zeros(sum(map(len, batches)), dtype=torch.long)
    return Asked(batches, none, none.bool())


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


@pytest.mark.parametrize(
    ("task", "split", "held_out"),
    [("ioi", "evaluation", 50), ("ioi", "validation", 0), ("ioi_t1", "evaluation", 0)],
)
def test_wordings_that_no_method_saw_are_told(task: str, split: EvaluatedSplit, held_out: int) -> None:
    """Half of the evaluation prompts; whichever they are, discovery has none of theirs."""
    data = load_data(
        "embedded", task, n_discovery=24, n_evaluation=100, split=split, data_seed=0,
        dtype="float32", split_embed=False, device="cpu",
    )  # fmt: skip
    told = data.evaluation
    assert int(told.held_out.sum()) == pytest.approx(held_out, abs=2)
    assert not set(told.template[told.held_out].tolist()) & set(told.template[~told.held_out].tolist())


def test_prompts_that_data_seeds_share_are_counted() -> None:
    """Those of earlier ones alone; a program's inputs soon come again, a task's only when they run out."""
    assert [shared_prompts("embedded", "gt", 200, seed) for seed in (0, 1, 3)] == [0, 0, 0]
    first, *later = (shared_prompts("tracr:reverse", "tracr", 10**6, seed) for seed in range(3))
    assert first == 0
    assert later[0] == later[1] > 20


def test_prompts_of_all_earlier_seeds_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the third set, its first prompt is the first set's, its second both of theirs."""
    whole = random_examples(n=8)
    sets = ([0, 1, 2, 3], [2, 3, 4, 5], [0, 3, 6, 7])

    class Few(Task):
        def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
            assert (split, n) == ("discovery", 4)
            return whole.take(np.array(sets[seed]))

    monkeypatch.setattr("bench.discovery.data.get_task", lambda name: Few())
    assert [shared_prompts("embedded", "few", 4, seed) for seed in range(3)] == [0, 2, 2]


@pytest.mark.parametrize("task", ["ioi", "gt", "gp"])
def test_halves_of_the_wordings_share_none(task: str) -> None:
    """Each has as many prompts as asked for, of half of the wordings; seeds of a half share no prompt."""
    kind, tokenizer = get_task(task), load_model("embedded").tokenizer
    whole = drawn(kind, tokenizer, 40, 0, "all")
    halves = {w: drawn(kind, tokenizer, 40, 0, w) for w in ("first half", "second half")}
    used = [set(half.template.tolist()) for half in halves.values()]
    assert [len(half) for half in halves.values()] == [40, 40]
    assert not used[0] & used[1]
    assert used[0] | used[1] == set(whole.template.tolist())
    assert drawn(kind, tokenizer, 40, 1, "first half").shared(halves["first half"]) == 0


def test_what_has_no_halves_says_so() -> None:
    with pytest.raises(TaskError, match="has only one wording, so no halves"):
        drawn(get_task("ioi_t1"), load_model("embedded").tokenizer, 8, 0, "first half")
    with pytest.raises(UsageError, match="has no wordings"):
        Study("tracr:x_proportion", wordings="first half")
