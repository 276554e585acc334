"""A task of a user's own prompts: what becomes of its lines under a tokenizer, and how they are split."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from made_tokenizers import gpt2_style, vocabulary, word_level
from own_prompts import LINES, line
from tasks import TaskError, ioi
from tasks.files.fitting import fit
from tasks.files.lines import Line
from tasks.files.task import FileTask

Make = Callable[..., FileTask]


@pytest.fixture
def task(tmp_path: Path) -> Make:
    """Makes a task of lines."""

    def make(*lines: Any, name: str = "mine.jsonl", **options: Any) -> FileTask:
        (tmp_path / name).write_text("".join(f"{json.dumps(each)}\n" for each in lines))
        return FileTask(tmp_path / name, **options)

    return make


@pytest.fixture(scope="module")
def plain() -> Any:
    tokenizer = word_level(vocabulary())
    tokenizer.model_max_length = 64
    return tokenizer


def shown(tokenizer: Any, rows: np.ndarray, lengths: np.ndarray) -> list[str]:
    return [tokenizer.decode(row[:n]) for row, n in zip(rows, lengths, strict=True)]


def test_lines_become_examples(task: Make, plain: Any) -> None:
    """Named by the file; the answer is the token that follows the prompt."""
    mine = task(*LINES)
    assert (mine.name, mine.description) == ("mine", "30 lines of mine.jsonl")
    found = {split: mine.examples(plain, split, 100, 0) for split in ("discovery", "evaluation")}
    assert {split: len(examples) for split, examples in found.items()} == {"discovery": 15, "evaluation": 15}
    lines = {each["clean"]: each for each in LINES}
    for examples in found.values():
        assert (examples.positions == examples.lengths - 1).all()
        assert examples.chance == 0.5
        sides = [shown(plain, side, examples.lengths) for side in (examples.clean, examples.corrupted)]
        for clean, corrupted, candidates, correct in zip(
            *sides, examples.candidates, examples.correct, strict=True
        ):
            told = lines.pop(clean)
            assert corrupted == told["corrupted"]
            assert [plain.decode([c]) for c in candidates] == [*told["answers"], *told["wrong"]]
            assert correct.tolist() == [True, False]
    assert not lines  # each is in one split, once


def test_prompts_may_be_token_ids(task: Make, plain: Any) -> None:
    """Nothing is put before them; an answer may be a text all the same."""
    she = plain([" she"])["input_ids"][0]
    lines = [
        {"clean": [n, 5, 6], "corrupted": [n, 5, 7], "answers": [" she"], "wrong": [8]} for n in (2, 3, 4, 9)
    ]
    examples = task(*lines).examples(plain, "evaluation", 10, 0)
    assert {row[0] for row in examples.clean.tolist()} < {2, 3, 4, 9}
    assert examples.candidates.tolist() == [[*she, 8]] * 2


def test_without_wrong_answers_nothing_is_chosen(task: Make, plain: Any) -> None:
    """A line's first answer fills up what others have more."""
    others = {"Mary": [" Anna", " Kevin"], "Laura": [], "Anna": [" Mary"], "Simon": []}
    lines = [line(a, "Peter", wrong=[], answers=[f" {a}", *more]) for a, more in others.items()]
    mine = task(*lines, name="kl.jsonl")
    for split in ("discovery", "evaluation"):
        examples = mine.examples(plain, split, 10, 0)
        assert not examples.chooses
        told = [{plain.decode([c]) for c in row} for row in examples.candidates]
        known = [{*each["answers"]} for each in lines]
        assert all(each in known for each in told)


def test_several_right_answers_count_as_many_as_each_line_has(task: Make, plain: Any) -> None:
    """Right ones may be more in one line than in another, where all are as many together."""
    mine = task(
        line("Mary", "Peter", answers=[" Mary", " Anna"]),
        line("Anna", "Simon", wrong=[" Simon", " Laura"]),
        line("Laura", "Peter", answers=[" Laura", " Anna"]),
    )
    made = mine.made(fit(plain, mine.lines)[0])
    assert made.correct.tolist() == [[True, True, False], [True, False, False], [True, True, False]]
    assert made.chance == pytest.approx(5 / 9)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"corrupted": "After Peter had walked"}, "clean has 15 tokens, corrupted 4: 'After Mary and"),
        ({"clean": "After Xerxes"}, "it has a word that the tokenizer does not know: 'After Xerxes'"),
        ({"answers": [" Xerxes"]}, "the answer ' Xerxes' is not in the tokenizer's vocabulary"),
        ({"answers": ["Mary"]}, "the tokenizer merges the answer 'Mary' with the prompt's end"),
        ({"answers": [10**6]}, "the answer 1000000 is not in the tokenizer's vocabulary"),
        (
            {"answers": [" Mary Anna"], "wrong": [" Mary Laura"]},
            "the answers ' Mary Anna' and ' Mary Laura' begin with",
        ),
        (
            {"clean": "After Mary" + " and" * 99, "corrupted": "After Anna" + " and" * 99},
            "it has 101 tokens, but the model reads 64: 'After Mary and",
        ),
        ({"clean": [1, 10**6], "corrupted": [1, 2]}, "its token 1000000 is outside the tokenizer's "),
    ],
)
def test_lines_that_a_tokenizer_cannot_carry(
    change: dict[str, Any], told: str, task: Make, plain: Any
) -> None:
    """Refused with their place; left out where that is asked for; refused where nothing else is there."""
    lines = [each | {"split": "train"} for each in LINES[:3]]
    bad = lines[1] | change
    mine = task(lines[0], bad, lines[2], LINES[5] | {"split": "test"})
    with pytest.raises(TaskError) as caught:
        mine.examples(plain, "discovery", 10, 0)
    assert f"mine.jsonl line 2: {told}" in str(caught.value)
    assert str(caught.value).endswith("mine.jsonl:unfit=drop")
    assert len(mine.examples(plain, "evaluation", 10, 0)) == 1
    mine.unfit = "drop"
    assert len(mine.examples(plain, "discovery", 10, 0)) == 2
    alone = task(bad, LINES[5] | {"split": "test"}, unfit="drop")
    with pytest.raises(TaskError, match="none of the 1 lines of its split can be used"):
        alone.examples(plain, "discovery", 10, 0)


def test_a_prompt_may_be_as_long_as_the_model_reads(task: Make, plain: Any) -> None:
    """Its answer comes after what is read."""
    whole = {
        side: name + " and" * 62 for side, name in (("clean", "After Mary"), ("corrupted", "After Anna"))
    }
    mine = task(LINES[0] | whole | {"split": "train"}, LINES[5] | {"split": "test"})
    assert mine.examples(plain, "discovery", 10, 0).lengths.tolist() == [64]


def test_the_first_token_stands_for_an_answer_of_several(task: Make) -> None:
    """Where it tells right from wrong: every second name falls apart in this tokenizer."""
    tokenizer = gpt2_style()
    tokens = {name: tokenizer([f"and {name}"])["input_ids"][0][1:] for name in ioi.NAMES}
    broken = {ids[0]: name for name, ids in tokens.items() if len(ids) > 1}  # apart by their first tokens
    (one, right), (two, wrong) = list(broken.items())[:2]
    told = {"answers": [f" {right}"], "wrong": [f" {wrong}"]}
    sides = zip(ioi.NAMES[:6:2], ioi.NAMES[6:12:2], strict=True)
    mine = task(*({"clean": f"After {a} and", "corrupted": f"After {b} and", **told} for a, b in sides))
    fitted, unfit = fit(tokenizer, mine.lines)
    assert not unfit
    assert all(each.several for each in fitted)
    assert {(each.answers, each.wrong) for each in fitted} == {((one,), (two,))}


def test_a_template_is_kept_together_and_some_are_held_out(task: Make, plain: Any) -> None:
    templates = [f"t{i}" for i in range(10)]
    mine = task(*(each | {"template": templates[i % 10]} for i, each in enumerate(LINES)))
    sets = {split: mine.examples(plain, split, 100, 0) for split in ("discovery", "evaluation")}
    seen, scored = ({*examples.template.tolist()} for examples in sets.values())
    assert not seen & scored
    assert (len(seen), len(scored), mine.held_out) == (5, 5, frozenset(scored))
    turns = sets["discovery"].template.reshape(3, 5)  # templates take turns
    assert all({*turn} == seen for turn in turns.tolist())


def test_groups_win_over_templates_and_prompts(task: Make) -> None:
    mine = task(*(each | {"template": "one", "group": each["answers"][0]} for each in LINES))
    groups = [{each.group for each in mine.of(split)} for split in ("discovery", "evaluation")]
    assert not groups[0] & groups[1]
    assert [len(each) for each in groups] == [3, 3]
    alone = task(*(each | {"template": "one"} for each in LINES))  # one template cannot be kept together
    assert [len(alone.of(split)) for split in ("discovery", "evaluation")] == [15, 15]
    assert alone.held_out == frozenset()


def test_lines_without_a_group_are_no_group_together(task: Make) -> None:
    mine = task(*(each | ({"group": "one"} if i < 5 else {}) for i, each in enumerate(LINES)))
    assert {len(mine.of(split)) for split in ("discovery", "evaluation")} == {15}
    assert len({split for split in ("discovery", "evaluation") if any(e.group for e in mine.of(split))}) == 1


def test_a_prompt_without_a_token_is_refused() -> None:
    """Of spaces alone, under a tokenizer that drops them and puts nothing before a text."""
    tokenizer = word_level(vocabulary())
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    _, (unfit,) = fit(tokenizer, [Line("line 1", "  ", "   ", (" and",), (), "", "", None)])
    assert unfit.reason == "one of its prompts has no tokens: '  ' / '   '"


def test_lines_of_one_prompt_are_in_one_split(task: Make) -> None:
    twice = [
        each | {"corrupted": each["corrupted"].replace("Helen", other)}
        for each in LINES
        for other in ("Amy", "Eva")
    ]
    mine = task(*twice)
    assert not {each.clean for each in mine.of("discovery")} & {each.clean for each in mine.of("evaluation")}
    with pytest.raises(
        TaskError, match="line 2: its clean prompt is that of line 1, which is for discovery, not evalu"
    ):
        task(*(each | {"split": split} for each, split in zip(twice[:2], ("train", "test"), strict=True)))


def test_splits_of_the_file_are_kept(task: Make, plain: Any) -> None:
    words = ["discovery", "validation", "evaluation"] * 10
    mine = task(*(each | {"split": word} for each, word in zip(LINES, words, strict=True)))
    for split in ("discovery", "validation", "evaluation"):
        assert len(mine.examples(plain, split, 100, 0)) == 10
    named = "has no lines for training: .* has lines for discovery and evaluation and validation only"
    with pytest.raises(TaskError, match=named):
        mine.examples(plain, "training", 10, 0)
    with pytest.raises(TaskError, match="all 30 lines are for discovery, and none is left for evaluation"):
        task(*(each | {"split": "train"} for each in LINES))
    with pytest.raises(TaskError, match="all 1 lines are for discovery"):
        task(LINES[0])


def test_seeds_take_parts_of_the_lines(task: Make, plain: Any) -> None:
    """Apart while there are enough; one that would have the same lines as another is refused."""
    mine = task(*LINES)
    one, two, three = (mine.examples(plain, "discovery", 7, seed) for seed in range(3))
    assert [one.shared(two), three.shared(one, two)] == [0, 6]
    assert len(np.unique(three.clean, axis=0)) == 7
    with pytest.raises(
        TaskError, match="the task mine has 15 lines for discovery, all of which seed 0 has: request"
    ):
        mine.examples(plain, "discovery", 15, 1)


def test_a_file_that_changes_is_read_anew(task: Make, tmp_path: Path) -> None:
    first = task(*LINES).content
    assert FileTask(tmp_path / "mine.jsonl").content == first
    assert task(*LINES[:-1], LINES[-1] | {"template": "x"}).content != first


def test_a_tokenizer_that_ends_its_texts_is_refused(task: Make, plain: Any) -> None:
    class Ending:
        unk_token_id = bos_token_id = None
        __len__ = plain.__len__

        def __call__(self, text: list[str], *, add_special_tokens: bool = True) -> dict[str, list[list[int]]]:
            return {"input_ids": [i + [0] * add_special_tokens for i in plain(text)["input_ids"]]}

    with pytest.raises(TaskError, match="special token after the prompt"):
        task(*LINES).examples(cast(Any, Ending()), "discovery", 10, 0)
