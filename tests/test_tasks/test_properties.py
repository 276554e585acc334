"""What every task of ours and every file of prompts keeps, whatever the seed and the number of examples."""

from __future__ import annotations

import json
import random
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from made_tokenizers import gpt2_style, vocabulary, word_level
from own_prompts import NAMES, line
from tasks import Examples, Split, Task, find_tasks, gp, gt, ioi, words
from tasks.files.task import FileTask

OF_NAMES = (
    ioi.IOI(),
    ioi.IOI(corruption="flip"),
    ioi.IOIOneTemplate(),
    ioi.IOIOneTemplate(corruption="flip"),
)
TASKS: tuple[Task, ...] = (
    *OF_NAMES,
    *(cls() for cls in find_tasks().values() if not issubclass(cls, ioi.IOI)),
)
SPLITS: tuple[Split, ...] = ("discovery", "validation", "evaluation")

tasks = st.sampled_from(TASKS)
splits = st.sampled_from(SPLITS)
numbers = st.integers(1, 60)
seeds = st.integers(0, 40)
whole = st.booleans()
"""Whether every name is one token."""


@cache
def tokenizer(of_words: bool) -> Any:
    return word_level(vocabulary()) if of_words else gpt2_style()


def prompts(examples: Examples, side: str = "clean") -> list[tuple[int, ...]]:
    rows = getattr(examples, side)
    return [tuple(row[:n].tolist()) for row, n in zip(rows, examples.lengths, strict=True)]


def same(one: Examples, other: Examples) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def hold_together(examples: Examples) -> None:
    """Pairs of one length that differ, and answers behind the last token."""
    for clean, corrupted in zip(prompts(examples), prompts(examples, "corrupted"), strict=True):
        assert len(clean) == len(corrupted)
        assert clean != corrupted
    assert (examples.positions == examples.lengths - 1).all()
    assert examples.correct.any(1).all()


@settings(max_examples=60, deadline=None)
@given(tasks, splits, numbers, seeds, whole)
def test_ours_are_aligned_and_the_same_again(
    task: Task, split: Split, n: int, seed: int, of_words: bool
) -> None:
    """And templates come equally often."""
    one, again = (task.examples(tokenizer(of_words), split, n, seed) for _ in range(2))
    assert len(one) == n
    assert same(one, again)
    hold_together(one)
    assert not one.correct.all(1).any()
    assert np.ptp(np.unique(one.template, return_counts=True)[1]) <= 1


@settings(max_examples=40, deadline=None)
@given(tasks, st.permutations(SPLITS), numbers, st.tuples(seeds, seeds), whole)
def test_splits_of_ours_share_no_prompt(
    task: Task, pair: list[Split], n: int, two: tuple[int, int], of_words: bool
) -> None:
    """Nor, where the corrupted prompt of an example is the clean one of another, one of these."""
    one, other = (
        task.examples(tokenizer(of_words), split, n, seed) for split, seed in zip(pair, two, strict=False)
    )
    assert not {*prompts(one)} & {*prompts(other)}
    assert not {*prompts(one, "corrupted")} & {*prompts(other)}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(OF_NAMES), splits, numbers, seeds, whole)
def test_names_of_ioi_do_not_leak(task: ioi.IOI, split: Split, n: int, seed: int, of_words: bool) -> None:
    """Other names are no candidates; flipped, the answer is what is repeated, and nothing else changes."""
    examples = task.examples(tokenizer(of_words), split, n, seed)
    sides = zip(prompts(examples), prompts(examples, "corrupted"), examples.candidates.tolist(), strict=True)
    for clean, corrupted, (io, subject) in sides:
        assert (clean.count(io), clean.count(subject)) == (1, 2)
        if task.corruption == "names":
            assert not {io, subject} & {*corrupted}
        else:
            assert (corrupted.count(io), corrupted.count(subject)) == (2, 1)
            assert [(a, b) for a, b in zip(clean, corrupted, strict=True) if a != b] == [(subject, io)]


@settings(max_examples=30, deadline=None)
@given(splits, numbers, seeds)
def test_the_answer_of_gt_does_not_leak(split: Split, n: int, seed: int) -> None:
    """The corrupted prompt's year is below every first year: it says nothing of where answers begin."""
    examples = gt.GreaterThan().examples(tokenizer(True), split, n, seed)
    sides = zip(prompts(examples), prompts(examples, "corrupted"), strict=True)
    for i, (clean, corrupted) in enumerate(sides):
        ((_, year),) = ((a, b) for a, b in zip(clean, corrupted, strict=True) if a != b)
        assert tokenizer(True).decode([year]) == "01"
        assert not examples.correct[i, 1]


@settings(max_examples=30, deadline=None)
@given(splits, numbers, seeds, whole)
def test_the_answer_of_gp_does_not_leak(split: Split, n: int, seed: int, of_words: bool) -> None:
    """The corrupted prompt's name has the other pronoun."""
    known = tokenizer(of_words)
    female = {known([f"and {name}"])["input_ids"][0][-1] for name in ioi.NAMES if name in words.FEMALE_NAMES}
    examples = gp.GenderedPronoun().examples(known, split, n, seed)
    she = examples.correct[:, 1].tolist()
    for clean, corrupted, is_she in zip(prompts(examples), prompts(examples, "corrupted"), she, strict=True):
        ((own, other),) = ((a, b) for a, b in zip(clean, corrupted, strict=True) if a != b)
        assert (own in female) == is_she != (other in female)


@st.composite
def files(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Lines of two names, some with one template or group, none twice."""
    pairs = draw(
        st.lists(st.sampled_from([(a, b) for a in NAMES for b in NAMES if a != b]), min_size=4, unique=True)
    )
    kept = draw(st.sampled_from(("", "template", "group")))
    lines = []
    for a, b in pairs:
        lines.append(line(a, b, **({kept: draw(st.sampled_from("uvwxyz"))} if kept else {})))
    return lines


def made(lines: list[dict[str, Any]]) -> FileTask:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mine.jsonl"
        file.write_text("\n".join(map(json.dumps, lines)))
        return FileTask(file)


@settings(max_examples=60, deadline=None)
@given(files(), numbers, st.randoms(use_true_random=False))
def test_lines_of_a_file_are_split_once_and_for_all(
    lines: list[dict[str, Any]], n: int, order: random.Random
) -> None:
    """Whatever their order; a group or template stays together, and halves are as even as that lets them."""
    shuffled = order.sample(lines, len(lines))
    task, other = made(lines), made(shuffled)
    held = {split: {each.clean for each in task.of(split)} for split in ("discovery", "evaluation")}
    assert held == {split: {each.clean for each in other.of(split)} for split in held}  # type: ignore[arg-type]
    assert held["discovery"] | held["evaluation"] == {each["clean"] for each in lines}
    assert not held["discovery"] & held["evaluation"]
    keys = [each.get("group") or each.get("template") or each["clean"] for each in lines]
    keys = keys if len({*keys}) > 1 else [each["clean"] for each in lines]
    where: dict[str, set[str]] = {key: set() for key in keys}
    for key, each in zip(keys, lines, strict=True):
        where[key] |= {split for split, texts in held.items() if each["clean"] in texts}
    assert all(len(found) == 1 for found in where.values())
    assert abs(len(held["discovery"]) - len(held["evaluation"])) <= max(keys.count(key) for key in keys)

    for split, texts in held.items():
        one, again = (each.examples(tokenizer(True), split, n, 0) for each in (task, made(lines)))  # type: ignore[arg-type]
        assert len(one) == min(n, len(texts)) == len({*prompts(one)})
        assert same(one, again)
        hold_together(one)
