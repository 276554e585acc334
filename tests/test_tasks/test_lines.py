"""A user's file as lines: every format that is read, and what each mistake is answered with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks import TaskError
from tasks.files.lines import LONGEST, Line, read_lines

GOOD: dict[str, Any] = {"clean": "Mary is", "corrupted": "Peter is", "answers": [" she"], "wrong": [" he"]}
AUTOCIRCUIT = {
    "word_idxs": {"end": 1},
    "prompts": [{"clean": "Mary is", "corrupt": "Peter is", "answers": [" she"], "wrong_answers": [" he"]}]
    * 2,
}
MIB = ',clean,corrupted,corrupted_hard,correct_idx,incorrect_idx\n7,"Mary, who is","Anna, who is",x,477,26\n'
GREATER = "clean,corrupted,label\nThe war of 1798 to the year 17,The war of 1701 to the year 17,98\n"
PREDICTED = """{
    "clean": "1 + 2 = <predict>3</predict>",
    "corrupted": "1 + 4 = <predict>5</predict>"
}
{
    "clean": "5 + 1 = <predict>6</predict> and so on",
    "corrupted": "1 + 1 = <predict>2</predict>"
}
"""


def written(folder: Path, *lines: Any, name: str = "mine.jsonl") -> Path:
    """A file with a line for each: text as it stands, the rest as JSON."""
    file = folder / name
    file.write_text("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines))
    return file


def line(**changes: Any) -> Line:
    whole: dict[str, Any] = {
        "place": "line 1", "clean": "Mary is", "corrupted": "Peter is", "answers": (" she",),
        "wrong": (" he",), "template": "", "group": "", "split": None,
    }  # fmt: skip
    return Line(**whole | changes)


def test_an_object_a_line(tmp_path: Path) -> None:
    """Blank lines and unknown keys are passed over; a template may be a number, a prompt token ids."""
    ids = {
        "clean": [1, 2],
        "corrupted": [1, 3],
        "answers": [5, 6],
        "wrong": [],
        "template": 3,
        "note": "mine",
    }
    file = written(tmp_path, ids, "", ids | {"group": "a", "split": "train"}, name="ids.jsonl")
    with pytest.raises(
        TaskError, match=r"ids.jsonl line 1: it names no split, but line 3 does: all must, or none"
    ):
        read_lines(file)
    file = written(tmp_path, ids | {"split": "test"}, "", ids | {"group": "a", "split": "train"})
    known = line(clean=(1, 2), corrupted=(1, 3), answers=(5, 6), wrong=(), template="3", split="evaluation")
    assert read_lines(file) == (
        known,
        line(**vars(known) | {"place": "line 3", "group": "a", "split": "discovery"}),
    )
    assert read_lines(written(tmp_path, GOOD)) == (line(),)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert read_lines(file) == (line(),)


def test_autocircuits_json(tmp_path: Path) -> None:
    found = read_lines(written(tmp_path, AUTOCIRCUIT, name="theirs.json"))
    assert found == (line(place="prompt 1"), line(place="prompt 2"))


def test_mibs_csv_names_tokens(tmp_path: Path) -> None:
    (found,) = read_lines(written(tmp_path, MIB, name="theirs.csv"))
    assert (found.place, found.clean, found.corrupted) == ("line 2", "Mary, who is", "Anna, who is")
    assert (found.answers, found.wrong) == ((477,), (26,))


@pytest.mark.parametrize(
    ("columns", "cells", "answers", "wrong"),
    [
        ("country_idx,corrupted_country_idx", "4,5", (4,), (5,)),
        ("capital_idx,corrupted_capital_idx", "4,5", (4,), (5,)),
        ("clean_answer_idx,corrupted_answer_idx", "4,5", (4,), (5,)),
        ("answers_idx,corrupted_answers_idx", '"[4, 6]","[5, 7]"', (4, 6), (5, 7)),
        ("correct_idx", "4", (4,), ()),
        ("answers,wrong", " she, he", (" she",), (" he",)),
        ("answers,wrong", '"["" she"", "" her""]",', (" she", " her"), ()),
    ],
)
def test_columns_of_answers(
    columns: str, cells: str, answers: tuple[Any, ...], wrong: tuple[Any, ...], tmp_path: Path
) -> None:
    file = written(tmp_path, f"clean,corrupted,{columns}", f"Mary is,Peter is,{cells}", name="a.csv")
    (found,) = read_lines(file)
    assert (found.answers, found.wrong) == (answers, wrong)


def test_a_csv_may_name_templates_and_splits(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "clean,corrupted,answers,wrong,template,split",
        "Mary is,Peter is, she, he,t,test",
        name="a.csv",
    )
    assert read_lines(file) == (line(place="line 2", template="t", split="evaluation"),)


@pytest.mark.parametrize("name", ["label", "correct_idx"])
def test_eap_igs_years_mean_all_later_ones(name: str, tmp_path: Path) -> None:
    (found,) = read_lines(written(tmp_path, GREATER.replace("label", name), name="years.csv"))
    assert found.answers == ("99",)
    assert found.wrong == tuple(f"{year:02}" for year in range(99))


def test_edge_prunings_answer_stands_in_the_text(tmp_path: Path) -> None:
    """The corrupted prompt's answer is a wrong one, where it is another in every line."""
    one, two = read_lines(written(tmp_path, PREDICTED))
    assert one == line(clean="1 + 2 =", corrupted="1 + 4 =", answers=(" 3",), wrong=(" 5",))
    assert (two.place, two.clean, two.answers, two.wrong) == ("line 5", "5 + 1 =", (" 6",), (" 2",))
    same = PREDICTED + '{"clean": "2 = <predict>2</predict>", "corrupted": "4 = <predict>2</predict>"}'
    assert [each.wrong for each in read_lines(written(tmp_path, same))] == [()] * 3


def test_edge_prunings_validation_is_what_is_scored_on(tmp_path: Path) -> None:
    entries = [
        {"clean": f"{n} = <predict>{n}</predict>", "corrupted": "0 = <predict>0</predict>"} for n in (1, 2)
    ]
    file = written(tmp_path, entries[0] | {"split": "train"}, entries[1] | {"split": "validation"})
    assert [each.split for each in read_lines(file)] == ["discovery", "evaluation"]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ('{"clean": "Mary', "line 2: it is not valid JSON ("),
        ("[1]", "line 2: it is not a JSON object, but [1]"),
        ("[" * 100_000, "line 2: it is not valid JSON ("),
        ("1" * 5_000, "line 2: it is not valid JSON ("),
        (GOOD | {"clean": None}, "line 2: 'clean' is missing: it has 'clean, corrupted, answers, wrong'"),
        ({"corrupted": "a", "answers": ["b"]}, "line 2: 'clean' is missing: it has 'corrupted, answers'"),
        ({"clean": "a", "corrupted": "b"}, "line 2: 'answers' is missing: it has 'clean, corrupted'"),
        (GOOD | {"clean": 3}, "line 2: 'clean' is neither text nor a list of token ids: 3"),
        (GOOD | {"clean": ""}, "line 2: 'clean' is neither text nor a list of token ids: ''"),
        (
            GOOD | {"corrupted": [1, True]},
            "line 2: 'corrupted' is neither text nor a list of token ids: [1, True]",
        ),
        (GOOD | {"corrupted": [1, -2]}, "line 2: 'corrupted' is neither text nor a list of token ids: [1, "),
        (
            GOOD | {"corrupted": [1, 2]},
            "line 2: one of clean and corrupted is text, the other token ids",
        ),
        (GOOD | {"answers": " she"}, "line 2: 'answers' is not a list: ' she'"),
        (GOOD | {"answers": []}, "line 2: 'answers' is empty"),
        (GOOD | {"answers": 0}, "line 2: 'answers' is not a list: 0"),
        (GOOD | {"wrong": 0}, "line 2: 'wrong' is not a list: 0"),
        (GOOD | {"wrong": ""}, "line 2: 'wrong' is not a list: ''"),
        (GOOD | {"answers": [" she", 2.5]}, "line 2: 'answers' takes texts and token ids, not 2.5"),
        (GOOD | {"wrong": [None]}, "line 2: 'wrong' takes texts and token ids, not None"),
        (GOOD | {"wrong": [" she"]}, "line 2: ' she' is both a right and a wrong answer"),
        (GOOD | {"wrong": []}, "line 2: it names no wrong, but line 1 does: all must, or none"),
        (GOOD | {"wrong": [" he", " it"]}, "line 2: it has 3 answers, wrong ones included, but line 1 2"),
        (GOOD | {"template": ["a"]}, "line 2: 'template' is not text: ['a']"),
        (GOOD | {"corrupted": "Mary is"}, "line 2: clean and corrupted are the same: 'Mary is'"),
        (
            GOOD | {"split": "trian"},
            "line 2: the split 'trian' is not one of discovery, validation, evaluation, ",
        ),
        (GOOD | {"split": "tests"}, "did you mean 'test'?"),
        (
            GOOD | {"clean": "a" * (LONGEST + 1)},
            "line 2: 'clean' has a length of 100,001: the limit is 100,000",
        ),
        (
            '{"clean": "\\ud800", "corrupted": "b", "answers": ["c"]}',
            "line 2: 'clean' has a lone surrogate",
        ),
        (
            '{"clean": "1 = <predict>1</predict>", "corrupted": "2"}',
            "line 1: 'clean' has no <predict>...</predict>",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_with_a_line_is_said(bad: Any, told: str, tmp_path: Path) -> None:
    file = written(tmp_path, GOOD, bad)
    with pytest.raises(TaskError) as caught:
        read_lines(file)
    assert str(caught.value).startswith(f"{file} line ")
    assert told in str(caught.value)
    assert len(str(caught.value)) < len(str(file)) + 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "mine.jsonl holds no prompts: give it lines such as"),
        (b"\n \n", "mine.jsonl holds no prompts"),
        (b'{"a": 1}\n{"b": "\xff"}', "mine.jsonl line 2: it is not UTF-8 text"),
        (b"x" * 1_000_000, "mine.jsonl line 1: it is not valid JSON"),
        (b'{"prompts": [3]}', "mine.jsonl prompt 1: it is not a JSON object, but 3"),
        (b'{"prompts": []}', "mine.jsonl holds no prompts"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_bytes(content)
    with pytest.raises(TaskError) as caught:
        read_lines(tmp_path / "mine.jsonl")
    assert told in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("clean,corrupt,answers\n", "line 1: it has no column 'corrupted' among 'clean, corrupt, answers'"),
        ("clean,corrupted\n", "line 1: it has no column 'answers' among 'clean, corrupted'"),
        ("", "line 1: it has no column 'clean' among ''"),
        ("clean,corrupted,correct_idx\na,b\n", "line 2: it must have as many fields as line 1, which has 3"),
        (
            "clean,corrupted,correct_idx\na,b,1,2\n",
            "line 2: it must have as many fields as line 1, which has 3",
        ),
        (
            "clean,corrupted,correct_idx\na,b,x\n",
            "line 2: 'correct_idx' has a value that is not a token id: 'x'",
        ),
        ("clean,corrupted,correct_idx\na,b,\n", "line 2: 'answers' is empty"),
        ('clean,corrupted,correct_idx\na,b,1\n"a,b,1\n', "line 3: it is not valid CSV (unexpected end of"),
        (
            f"clean,corrupted,correct_idx\n{'a' * 10**6},b,1\n",
            "line 2: it is not valid CSV (field larger than field",
        ),
        (
            "clean,corrupted,label\na 1732 to 17,b,33\n",
            "line 2: 'label' has a value that is not a year of ",
        ),
    ],
)
def test_what_is_wrong_with_a_csv_is_said(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(content)
    with pytest.raises(TaskError) as caught:
        read_lines(tmp_path / "mine.csv")
    assert told in str(caught.value)
    assert len(str(caught.value)) < len(str(tmp_path)) + 300


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    for name, told in (("none.jsonl", "is missing: "), (".", "is a folder: ")):
        with pytest.raises(TaskError, match=told):
            read_lines(tmp_path / name)
