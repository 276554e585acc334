"""`circuitmark task check`: what is usable of a file, why the rest is not, and can the model do the task."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.runs.task_check import check_task
from command_line import CommandLine
from model_folders import good_folder
from own_prompts import LINES, line, write

LOST: tuple[dict[str, Any], ...] = (
    line("Mary", "Susan", "Helen and Anna"),
    line("Mary", "Linda", "Helen and Anna"),
    line("Mary", "Xerxes"),
    line("Mary", "Karen", answers=[" Xerxes"]),
    line("Mary", "Julia", answers=["Mary"]),
    line("Mary", "Julia", clean="After Mary" + " and" * 99, corrupted="After Anna" + " and" * 99),
)


def test_a_file_is_counted(command: CommandLine) -> None:
    """Each kind of line that is lost with its first, duplicates, splits, and what the model can do."""
    write(command.folder / "mine.jsonl", *LINES, *LINES[:2], *LOST)
    told = json.loads(command("task", "check", "mine.jsonl", "--json").stdout)
    assert (told["task"], told["model"], told["lines"], told["usable"]) == ("mine", "embedded", 38, 32)
    lost = {each["kind"]: (each["lines"], each["first"]) for each in told["lost"]}
    assert lost == {
        "unequal lengths": (2, "line 33"),
        "unknown word": (1, "line 35"),
        "unknown answer": (1, "line 36"),
        "merged answer": (1, "line 37"),
        "too long": (1, "line 38"),
    }
    assert told["duplicates"] == 2
    assert told["several_tokens"] == 0
    assert sum(told["splits"].values()) == 32
    assert told["templates"] == {"discovery": 1, "evaluation": 1}
    assert (told["measure"], told["held_out"]) == ("logit_diff", 0)
    ability = told["ability"]
    assert ability["metric"] == "choice_accuracy"
    assert (ability["chance"], ability["verdict"]) == (0.5, "better than chance")
    assert 0.5 < ability["low"] < ability["value"] <= 1
    assert ability["low"] < ability["value"] <= ability["high"] <= 1

    text = command("task", "check", "mine.jsonl").stdout
    assert text.startswith("mine on embedded: 32 of 38 lines can be used\n")
    assert (
        "  2 cannot be used (unequal lengths); the first is line 33: clean has 15 tokens, corrupted 17: '"
        in text
    )
    assert "chance 0.50: better than chance" in text


def test_nothing_usable_is_exit_code_2(command: CommandLine) -> None:
    write(command.folder / "mine.jsonl", *LOST[:5])
    answer = command("task", "check", "mine.jsonl", "--json", code=2)
    told = json.loads(answer.stdout)
    assert (told["usable"], told["ability"], told["splits"]) == (0, None, {})
    assert "0 of 5 lines can be used" in command("task", "check", "mine.jsonl", code=2).stdout


def test_without_wrong_answers_there_is_no_chance(command: CommandLine) -> None:
    write(command.folder / "mine.jsonl", *({**each, "wrong": []} for each in LINES))
    told = json.loads(command("task", "check", "mine.jsonl", "--json").stdout)
    assert told["measure"] == "kl"
    assert (told["ability"]["metric"], told["ability"]["chance"]) == ("accuracy", None)
    assert "no chance level to compare with" in told["ability"]["verdict"]


@pytest.mark.parametrize("name", ["gp", "ioi:corruption=flip"])
def test_a_task_of_ours_is_checked(name: str) -> None:
    """Some prompts of each split."""
    told = check_task(name, "embedded")
    assert (told.task, told.lines, told.usable, told.duplicates) == (name, None, 600, 0)
    assert told.splits == {"discovery": 200, "validation": 200, "evaluation": 200}
    assert told.templates == {"discovery": 12, "validation": 12, "evaluation": 24}
    assert told.held_out == 12
    assert told.ability is not None
    assert told.ability.verdict == "better than chance"


def test_a_model_that_guesses_is_told(command: CommandLine) -> None:
    (command.folder / "model").mkdir()
    good_folder(command.folder / "model")
    write(command.folder / "mine.jsonl")
    told = command("task", "check", "mine.jsonl", "--model", "model").stdout
    assert "chance 0.50: no better than chance" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("none.jsonl", "there is no file none.jsonl"),
        ("ioo", "unknown task 'ioo'; did you mean 'ioi'?"),
        ("gp --model embeded", "unknown model 'embeded'; did you mean 'embedded'?"),
        ("addition", "task addition: example 0: it has a word that the tokenizer does not know: 'Question: "),
        ("gp --model tracr:reverse", "the model 'tracr:reverse' is compiled for its own task"),
    ],
)
def test_a_mistake_is_one_line(words: str, told: str, command: CommandLine) -> None:
    assert told in command.complaint("task", "check", *words.split())
