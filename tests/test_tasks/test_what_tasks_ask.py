"""What the answers of induction, arithmetic, multiple choice, agreement and boolean expressions are, read off
the prompts by other means than those that made them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from made_tokenizers import gpt2_style, prompts, vocabulary, word_level
from tasks import Examples, TaskError, agreement, find_tasks, mcqa

TASKS = find_tasks()
N = 300


@pytest.fixture(scope="module", params=["word level", "gpt2 style"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return word_level(vocabulary()) if request.param == "word level" else gpt2_style()


def drawn(name: str, tokenizer: Any) -> tuple[Examples, list[tuple[str, str]], list[str]]:
    """Examples, their pairs of prompts, and their answers."""
    examples = TASKS[name]().examples(tokenizer, "evaluation", N, 0)
    clean, corrupted = (prompts(tokenizer, examples, side) for side in ("clean", "corrupted"))
    right = examples.candidates[np.arange(N), examples.correct.argmax(axis=1)]
    return examples, list(zip(clean, corrupted, strict=True)), [tokenizer.decode([t]).strip() for t in right]


def after_its_like(prompt: str) -> str:
    """The word that followed the last one where it was said before."""
    words = prompt.split()
    return words[words.index(words[-1]) + 1]


def test_induction_asks_for_the_word_that_followed(tokenizer: Any) -> None:
    examples, pairs, answers = drawn("induction", tokenizer)
    for (clean, corrupted), answer, candidates in zip(pairs, answers, examples.candidates, strict=True):
        assert after_its_like(clean) == answer
        assert after_its_like(corrupted) == tokenizer.decode([candidates[1]]).strip() != answer
        assert sorted(clean.split()) == sorted(corrupted.split())
        assert clean.split().count(answer) == 1


@pytest.mark.parametrize(("name", "sign"), [("addition", 1), ("subtraction", -1)])
def test_arithmetic_adds_up(name: str, sign: int, tokenizer: Any) -> None:
    examples, pairs, answers = drawn(name, tokenizer)
    for (clean, corrupted), answer, candidates in zip(pairs, answers, examples.candidates, strict=True):
        a, b = map(int, re.findall(r"\d+", clean))
        c, d = map(int, re.findall(r"\d+", corrupted))
        assert answer == str(a + sign * b)
        assert tokenizer.decode([candidates[1]]).strip() == str(c + sign * d) != answer


@pytest.mark.parametrize(("name", "sign"), [("addition", 1), ("subtraction", -1)])
def test_arithmetic_in_digits_asks_for_the_tens(name: str, sign: int) -> None:
    """Where the space is the digit's, and where it is a token of its own."""
    text = vocabulary() + " " + " ".join(f"{n} 1{n}" for n in range(10))
    tokenizer = word_level(text, number=r" ?\p{N}")
    _, pairs, answers = drawn(name, tokenizer)
    for (clean, _), answer in zip(pairs, answers, strict=True):
        a, b = (int(number.replace(" ", "")) for number in re.findall(r"is (\d ?\d) \w+ (\d ?\d)", clean)[0])
        assert answer == str(a + sign * b)[0]


def test_the_letter_asked_for_stands_before_the_color_that_was_told(tokenizer: Any) -> None:
    examples, pairs, answers = drawn("mcqa", tokenizer)
    for (clean, corrupted), answer in zip(pairs, answers, strict=True):
        for prompt in (clean, corrupted):
            color = re.findall(r"is (\w+)\.", prompt)[0]
            letters = dict(re.findall(r"^([A-Z])\. (\w+)$", prompt, re.M))
            assert len({*letters.values()}) == mcqa.CHOICES
            assert [each for each, word in letters.items() if word == color] == [
                answer
            ] or prompt is corrupted
        assert not {*"ABCD"} & {*re.findall(r"^([A-Z])\.", corrupted, re.M)}
        assert re.sub(r"\n[A-Z]\.", "", clean) == re.sub(r"\n[A-Z]\.", "", corrupted)
    assert {*answers} == {*"ABCD"}
    assert examples.chance == 0.25


def test_the_verb_has_the_number_of_the_subject(tokenizer: Any) -> None:
    examples, pairs, answers = drawn("agreement", tokenizer)
    for (clean, corrupted), answer, template in zip(pairs, answers, examples.template, strict=True):
        pattern = re.escape(agreement.WORDINGS[template])
        pattern = pattern.replace(r"\{subject\}", r"(\w+)").replace(r"\{other\}", r"(\w+)")
        (subject, other), (opposite, same) = (re.findall(pattern, each)[0] for each in (clean, corrupted))
        assert answer == ("are" if subject.endswith("s") else "is")
        assert {subject, opposite} == {subject.rstrip("s"), f"{subject.rstrip('s')}s"}
        assert other == same
    nearer = [re.findall(r"\w+", clean)[-1].endswith("s") for clean, _ in pairs]
    assert 0.3 < np.mean(nearer) < 0.7


@pytest.mark.parametrize("name", ["boolean_instruction", "boolean_few_shot"])
def test_expressions_are_worth_what_python_says(name: str, tokenizer: Any) -> None:
    _, pairs, answers = drawn(name, tokenizer)
    for (clean, corrupted), answer in zip(pairs, answers, strict=True):
        one, other = (eval(prompt.splitlines()[-1].removesuffix(" is")) for prompt in (clean, corrupted))
        assert answer == str(one)
        assert one != other
        assert clean.splitlines()[:-1] == corrupted.splitlines()[:-1]
    assert 0.3 < np.mean([answer == "True" for answer in answers]) < 0.7


def test_the_examples_of_the_few_shot_prompt_are_right() -> None:
    for line in TASKS["boolean_few_shot"].preamble.splitlines():  # type: ignore[attr-defined]
        expression, value = line.split(" is ")
        assert str(eval(expression)) == value


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("induction", "Mary and Peter", "at least 12 words that are one token each: this tokenizer has 1 of"),
        ("addition", "nothing of use", "numbers of two digits, or their digits, as tokens: .* has 0 of 90"),
        ("mcqa", "Answer: A", "the capital letters as one token each: this tokenizer has 1 of 26"),
        ("agreement", "driver drivers is", "1 of 2 verbs and 0 of"),
        ("boolean_few_shot", "this is True", "True and False as one token each: this tokenizer has 1 of 2"),
        ("addition", vocabulary().replace("Question", "Query"), "a word that the tokenizer does not know"),
        ("subtraction", " ".join(str(n) for n in range(100)), "a word that the tokenizer does not know"),
    ],
)
def test_a_tokenizer_that_cannot_carry_them_is_told_so(name: str, text: str, complaint: str) -> None:
    with pytest.raises(TaskError, match=complaint):
        TASKS[name]().examples(word_level(text), "discovery", 10, 0)
