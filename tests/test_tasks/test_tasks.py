"""Tasks: what their examples say, that splits never meet, and what they refuse."""

from __future__ import annotations

import re
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast, get_args

import numpy as np
import pytest

from made_tokenizers import TWO_DIGITS, gpt2_style, prompts, vocabulary, word_level
from tasks import Examples, Split, Task, TaskError, find_tasks, gp, gt, ioi, words

SPLITS = get_args(Split)
TASKS = find_tasks()


@pytest.fixture(scope="module", params=["word level", "gpt2 style"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return word_level(vocabulary()) if request.param == "word level" else gpt2_style()


@pytest.fixture(scope="module")
def plain() -> Any:
    return word_level(vocabulary())


def name_slots(text: str, wording: str) -> list[str]:
    """The names in a prompt, in order."""
    pattern = re.sub(r"\\\{\d\\\}", r"(\\w+)", re.escape(wording))
    match = re.fullmatch(re.sub(r"\\\{\w+\\\}", r"\\w+", pattern), text)
    assert match, (text, wording)
    return list(match.groups())


def test_tasks_are_found_with_their_particulars() -> None:
    assert list(TASKS) == sorted(TASKS)
    assert {"gp", "gt", "ioi", "ioi_t1", "induction", "addition", "mcqa", "agreement"} <= set(TASKS)
    assert {name: task.measure for name, task in TASKS.items() if task.measure != "logit_diff"} == {
        "gt": "prob_diff"
    }
    for task in TASKS.values():
        assert task.citation.startswith("@")
        assert "\n" not in task.description


@pytest.mark.parametrize("name", TASKS)
def test_examples_are_aligned_and_answers_follow_the_prompt(name: str, tokenizer: Any) -> None:
    examples = TASKS[name]().examples(tokenizer, "discovery", 200, 0)
    assert len(examples) == 200
    assert (examples.positions == examples.lengths - 1).all()
    for text, length in zip(prompts(tokenizer, examples, "clean"), examples.lengths, strict=True):
        assert len(tokenizer([text])["input_ids"][0]) == length
    # Appending any candidate's text gives the prompt's tokens and that candidate: it is a token in context.
    for i in range(0, 200, 20):
        for candidate in examples.candidates[i]:
            row = [*examples.clean[i, : examples.lengths[i]], candidate]
            assert tokenizer([tokenizer.decode(row)])["input_ids"][0] == row


@pytest.mark.parametrize("name", TASKS)
def test_the_same_arguments_give_the_same_examples_and_a_seed_redraws(name: str, plain: Any) -> None:
    one, again, other = (TASKS[name]().examples(plain, "discovery", 100, seed) for seed in (3, 3, 4))
    for field in fields(Examples):
        assert np.array_equal(getattr(one, field.name), getattr(again, field.name))
    assert one.clean.shape != other.clean.shape or (one.clean != other.clean).any()


@pytest.mark.parametrize("name", TASKS)
def test_splits_are_disjoint_across_seeds(name: str, plain: Any) -> None:
    seen = {
        split: {
            text
            for seed in range(3)
            for text in prompts(plain, TASKS[name]().examples(plain, split, 300, seed), "clean")
        }
        for split in SPLITS
    }
    for i, a in enumerate(SPLITS):
        for b in SPLITS[i + 1 :]:
            assert not seen[a] & seen[b]


def test_one_template_and_many_agree_on_the_split(plain: Any) -> None:
    evaluated = set(prompts(plain, ioi.IOIOneTemplate().examples(plain, "evaluation", 2000, 0), "clean"))
    trained = ioi.IOI().examples(plain, "training", 12_000, 0)
    trained = trained.take(np.flatnonzero(trained.template == 0))
    assert len(trained) == 500
    assert not evaluated & set(prompts(plain, trained, "clean"))


def test_a_prompt_keeps_its_split_when_the_tokenizer_knows_fewer_names(plain: Any) -> None:
    few = word_level(vocabulary(names=ioi.NAMES[3:40:4]))
    here = set(prompts(few, ioi.IOIOneTemplate().examples(few, "evaluation", 1000, 0), "clean"))
    for split in SPLITS:
        if split != "evaluation":
            there = ioi.IOIOneTemplate().examples(plain, split, 5_000, 0)
            assert not here & set(prompts(plain, there, "clean"))


@pytest.mark.parametrize("name", ["ioi", "ioi_t1"])
def test_ioi_repeats_the_subject_and_the_corrupted_prompt_says_nothing(name: str, tokenizer: Any) -> None:
    examples = TASKS[name]().examples(tokenizer, "evaluation", 400, 0)
    assert set(examples.template) == (set(range(24)) if name == "ioi" else {0})
    assert examples.chance == 0.5
    rows = zip(prompts(tokenizer, examples, "clean"), prompts(tokenizer, examples, "corrupted"), strict=True)
    for i, (clean, corrupted) in enumerate(rows):
        wording = ioi.WORDINGS[examples.template[i]]
        first, second, third = name_slots(clean, wording)
        io, subject = (tokenizer.decode([c]) for c in examples.candidates[i])
        assert {f" {first}", f" {second}"} == {io, subject}
        assert name == "ioi" or f" {first}" == io
        assert f" {third}" == subject != io
        assert examples.correct[i].tolist() == [True, False]
        others = name_slots(corrupted, wording)
        assert len({first, second, *others}) == 5


def test_gt_answers_are_the_later_years_of_the_century(tokenizer: Any) -> None:
    examples = gt.GreaterThan().examples(tokenizer, "evaluation", 300, 0)
    assert [tokenizer.decode([c]) for c in examples.candidates[0]] == [f"{y:02}" for y in range(100)]
    rows = zip(prompts(tokenizer, examples, "clean"), prompts(tokenizer, examples, "corrupted"), strict=True)
    for i, (clean, corrupted) in enumerate(rows):
        start, century = re.findall(r"\d+", clean)
        assert start[:2] == century
        assert 2 <= int(start[2:]) <= 98
        assert corrupted == clean.replace(start, f"{century}01")
        assert examples.correct[i].tolist() == [y > int(start[2:]) for y in range(100)]
    assert examples.chance == pytest.approx(examples.correct.sum() / 30_000)


def test_gp_pronoun_agrees_with_the_name_and_the_corrupted_name_does_not(tokenizer: Any) -> None:
    examples = gp.GenderedPronoun().examples(tokenizer, "evaluation", 300, 0)
    assert set(examples.template) == set(range(24))
    rows = zip(prompts(tokenizer, examples, "clean"), prompts(tokenizer, examples, "corrupted"), strict=True)
    for i, (clean, corrupted) in enumerate(rows):
        one, other = (
            next(w for w in re.findall(r"\w+", text) if w in ioi.NAMES) for text in (clean, corrupted)
        )
        answer = tokenizer.decode(examples.candidates[i][examples.correct[i]])
        assert answer == (" she" if one in words.FEMALE_NAMES else " he")
        assert (one in words.FEMALE_NAMES) != (other in words.FEMALE_NAMES)
        assert clean.replace(one, other) == corrupted


def test_gp_corrupted_prompts_stay_in_their_split(plain: Any) -> None:
    task = gp.GenderedPronoun()
    corrupted = set(prompts(plain, task.examples(plain, "discovery", 2000, 0), "corrupted"))
    assert not corrupted & set(prompts(plain, task.examples(plain, "evaluation", 6000, 0), "clean"))


def test_names_of_several_tokens_are_left_out() -> None:
    tokenizer = gpt2_style()
    broken = {n for n in ioi.NAMES if len(tokenizer([f"and {n}"])["input_ids"][0]) != 2}
    assert broken  # otherwise this test shows nothing
    text = " ".join(prompts(tokenizer, ioi.IOI().examples(tokenizer, "discovery", 2000, 0), "clean"))
    assert not broken & set(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    ("name", "tokenizer", "complaint"),
    [
        ("ioi", word_level(vocabulary(names=("Mary", "Peter", "Anna", "Simon"))), "at least 5 names.*has 4"),
        ("ioi_t1", word_level("nothing of use"), "at least 5 names.*has 0"),
        ("gp", word_level(vocabulary(names=words.MALE_NAMES)), "48 male and 0 female"),
        ("gp", word_level(vocabulary().replace(" she ", " ")), "1 of 2 pronouns"),
        ("gt", word_level(vocabulary(), number=r" ?\p{N}+"), "years that are two tokens.*has 0 such years"),
    ],
)
def test_a_tokenizer_that_cannot_carry_the_task_is_told_so(name: str, tokenizer: Any, complaint: str) -> None:
    with pytest.raises(TaskError, match=complaint) as error:
        TASKS[name]().examples(tokenizer, "discovery", 10, 0)
    assert "\n" not in str(error.value)
    assert f"task {name}" in str(error.value)


def test_years_of_single_digits_are_asked_for_their_tens() -> None:
    """Candidates are the nine other digits than the first year's tens, right are those above it."""
    tokenizer = word_level(vocabulary(), number=r" ?\p{N}")
    examples = TASKS["gt"]().examples(tokenizer, "discovery", 300, 0)
    clean, corrupted = (prompts(tokenizer, examples, side) for side in ("clean", "corrupted"))
    years = [re.search(r"(1 ?\d) ?(\d) ?(\d)", prompt) for prompt in clean]
    for i, year in enumerate(years):
        assert year
        tens = int(year[2])
        digits = [int(str(tokenizer.decode([token]))) for token in examples.candidates[i]]
        assert sorted(digits) == [d for d in range(10) if d != tens]
        assert [d > tens for d in digits] == examples.correct[i].tolist()
        assert re.search(r"1 ?\d ?0 ?1", corrupted[i])
    assert 0.2 < examples.chance < 0.8


@pytest.mark.parametrize("name", ["ioi", "gt"])
def test_many_examples_do_not_repeat_while_the_split_lasts(name: str, plain: Any) -> None:
    examples = TASKS[name]().examples(plain, "evaluation", 5_000, 0)
    assert len(np.unique(examples.clean, axis=0)) == 5_000


def test_examples_are_the_same_however_many_texts_are_read_at_once(
    plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ioi.IOI().examples(plain, "discovery", 50, 0)
    monkeypatch.setattr("tasks.examples.AT_ONCE", 7)
    parts = ioi.IOI().examples(plain, "discovery", 50, 0)
    assert all(np.array_equal(getattr(whole, f.name), getattr(parts, f.name)) for f in fields(Examples))


def test_a_task_without_examples_says_so(plain: Any) -> None:
    with pytest.raises(TaskError, match="no examples"):
        ioi.IOI().examples(plain, "evaluation", 0, 0)


@pytest.mark.parametrize("wordings", [ioi.WORDINGS, gt.WORDINGS, gp.WORDINGS], ids=["ioi", "gt", "gp"])
def test_wordings_are_28_and_each_has_every_slot(wordings: tuple[str, ...]) -> None:
    """One without a slot would give the same prompt for every word of that slot."""
    slots = [sorted(re.findall(r"\{\w+\}", wording)) for wording in wordings]
    assert slots == [slots[0]] * 28
    assert len({re.sub(r"\{\w+\}", "", wording) for wording in wordings}) == 28


@pytest.mark.parametrize("name", TASKS)
def test_methods_see_no_wording_that_is_held_out(name: str, plain: Any) -> None:
    task = TASKS[name]()
    seen = {split: {*task.examples(plain, split, 300, 2).template.tolist()} for split in SPLITS}
    assert seen["validation"] == seen["discovery"]
    assert seen["training"] == seen["evaluation"]
    assert seen["evaluation"] - seen["discovery"] == task.held_out
    if task.held_out:
        assert seen["discovery"] == set(range(12))
        assert task.held_out == set(range(12, 24))
        assert seen["untrained"] == set(range(24, 28))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(("split", "n"), [("discovery", 200), ("validation", 100), ("evaluation", 200)])
@pytest.mark.parametrize("seed", [0, 3])
def test_ordinary_sets_repeat_nothing_and_are_balanced(
    name: str, split: Split, n: int, seed: int, tokenizer: Any
) -> None:
    examples = TASKS[name]().examples(tokenizer, split, n, seed)
    assert len(set(prompts(tokenizer, examples, "clean"))) == n
    templates, counts = np.unique(examples.template, return_counts=True)
    assert np.ptp(counts) <= 1
    if name == "ioi":
        clean = prompts(tokenizer, examples, "clean")
        subject_first = np.array(
            [
                tokenizer.decode([c[1]]) == f" {name_slots(text, ioi.WORDINGS[t])[0]}"
                for text, c, t in zip(clean, examples.candidates, examples.template, strict=True)
            ]
        )
        within = [subject_first[examples.template == t] for t in templates]
        assert all(abs(2 * first.sum() - len(first)) <= 1 for first in within)
        assert abs(2 * subject_first.sum() - n) <= 4


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("split", ["discovery", "evaluation"])
def test_seeds_share_no_prompt(name: str, split: Split, plain: Any) -> None:
    """Of 200 prompts each, as a leaderboard over data seeds draws them; of two numbers there are fewer."""
    n = 50 if name in ("addition", "subtraction") else 200
    sets = [TASKS[name]().examples(plain, split, n, seed) for seed in range(6)]
    assert all(one.shared(other) == (n if one is other else 0) for one in sets for other in sets)
    assert len({text for each in sets for text in prompts(plain, each, "clean")}) == 6 * n


def test_what_two_seeds_share_is_told_where_prompts_run_out() -> None:
    """Five names have twenty pairs, so there are some 2,300 prompts for discovery."""
    few = word_level(vocabulary(names=ioi.NAMES[:5]))
    one, other = (ioi.IOIOneTemplate().examples(few, "discovery", 1500, seed) for seed in (0, 1))
    held = set(prompts(few, other, "clean"))
    assert one.shared(other) == sum(text in held for text in prompts(few, one, "clean"))
    assert 500 < one.shared(other) < 1000
    assert one.shared(other, other) == one.shared(other)
    assert one.shared() == 0


@pytest.mark.parametrize("field", [field.name for field in fields(Examples)])
def test_examples_cannot_be_written(field: str, plain: Any) -> None:
    """Nor parts of them; what they are made of stays the maker's."""
    examples = gp.GenderedPronoun().examples(plain, "discovery", 10, 0)
    for each in (examples, examples.take(slice(2, 5))):
        with pytest.raises(ValueError, match="read-only"):
            getattr(each, field)[0] = 0
    own = {each.name: getattr(examples, each.name).copy() for each in fields(Examples)}
    Examples(**own)
    own[field][0] = own[field][1]


def good() -> Examples:
    """Two examples, the second shorter."""
    return Examples(
        clean=np.array([[5, 6, 7], [5, 6, 0]]),
        corrupted=np.array([[5, 8, 7], [5, 8, 0]]),
        lengths=np.array([3, 2]),
        positions=np.array([2, 1]),
        candidates=np.array([[1, 2], [3, 4]]),
        correct=np.array([[True, False], [False, True]]),
        template=np.array([0, 1]),
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"corrupted": [[5, 8, 7], [5, 6, 0]]}, "example 1: clean and corrupted are the same"),
        ({"corrupted": [[5, 8, 7], [5, 8, 9]]}, "example 1: clean and corrupted differ in length"),
        ({"corrupted": [[5, 8, 7, 9], [5, 8, 0, 0]]}, "shape"),
        ({"lengths": [4, 2]}, "example 0: its length"),
        ({"lengths": [3]}, "different number"),
        ({"positions": [2, 2]}, "example 1: its answer position"),
        ({"positions": [-1, 1]}, "example 0: its answer position"),
        ({"candidates": [[1, 2], [3, -1]]}, "example 1: a candidate"),
        ({"candidates": [[1], [3]]}, "shape"),
        ({"correct": [[True, False], [False, False]]}, "example 1: no candidate is correct"),
        ({"correct": [[True, True], [False, True]]}, "example 0: every candidate is correct"),
    ],
)
def test_contradictory_examples_are_refused(change: dict[str, Any], complaint: str) -> None:
    arrays = vars(good()) | {name: np.array(value) for name, value in change.items()}
    with pytest.raises(TaskError, match=complaint):
        # Not the constructor: the shape checks that the tests switch on would speak first.
        Examples.__post_init__(cast(Examples, SimpleNamespace(**arrays)))


def test_examples_are_taken_by_slice_and_by_index() -> None:
    assert len(good()) == 2
    assert good().take(slice(1, None)).lengths.tolist() == [2]
    assert good().take(np.array([1, 0])).template.tolist() == [1, 0]
    assert good().chance == 0.5


def from_prompts(tokenizer: Any, clean: str, corrupted: str) -> Examples:
    return Examples.from_prompts(
        tokenizer, [clean], [corrupted], np.array([[1, 2]]), np.array([[True, False]]), np.array([0])
    )


def test_prompts_of_different_length_are_refused_and_quoted(plain: Any) -> None:
    with pytest.raises(
        TaskError, match="example 0: clean has 2 tokens, corrupted 3: ' Mary to' / ' Mary and to'"
    ):
        from_prompts(plain, " Mary to", " Mary and to")


class Ending:
    """A tokenizer that ends (or begins) every text with a special token, unless told not to."""

    unk_token_id = bos_token_id = None
    model_max_length = 64

    def __init__(self, plain: Any, before: list[int], after: list[int]) -> None:
        self.plain, self.before, self.after = plain, before, after

    def __len__(self) -> int:
        return len(self.plain)

    def __call__(self, text: list[str], *, add_special_tokens: bool = True) -> dict[str, list[list[int]]]:
        ids = self.plain(text)["input_ids"]
        return {"input_ids": [[*self.before, *i, *self.after] if add_special_tokens else i for i in ids]}


def test_a_special_token_before_the_prompt_is_kept_and_one_after_it_refused(plain: Any) -> None:
    task: Task = ioi.IOI()
    kept, bare = (task.examples(each, "discovery", 20, 0) for each in (Ending(plain, [0], []), plain))
    assert np.array_equal(kept.clean[:, 1:], bare.clean)
    assert (kept.positions == bare.positions + 1).all()
    with pytest.raises(TaskError, match="special token after the prompt"):
        task.examples(Ending(plain, [], [0]), "discovery", 20, 0)


def test_years_of_one_token_are_left_out_with_those_whose_corrupted_year_is() -> None:
    whole = word_level(vocabulary() + " 1732 1401", number=" 1732| 1401|" + TWO_DIGITS)
    seen = prompts(whole, gt.GreaterThan().examples(whole, "training", 8000, 0), "clean")
    years = {int(re.findall(r"\d{4}", text)[0]) for text in seen}
    assert years == {100 * c + y for c in (11, 12, 13, 15, 16, 17) for y in range(2, 99)} - {1732}
