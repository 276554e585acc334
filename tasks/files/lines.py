"""A user's file of prompts -> validated lines, not tokenised yet."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from tasks.examples import TaskError
from tasks.files.formats import SYNONYMS, Entry, entries_of, is_token, refusal, shortened

LONGEST: Final = 100_000
"""Most characters or tokens of a prompt: more than any model reads that circuits are sought in."""

Text = str | tuple[int, ...]
"""A prompt: text, or its token ids."""
Answer = str | int
"""What follows the prompt: text, or a token id."""
FileSplit = Literal["discovery", "validation", "evaluation"]


@dataclass(frozen=True)
class Line:
    """One pair of prompts."""

    place: str
    """Its place in the file: ``line 7``, or ``prompt 7`` of one JSON object."""
    clean: Text
    corrupted: Text
    answers: tuple[Answer, ...]
    wrong: tuple[Answer, ...]
    """Empty if the file names none."""
    template: str
    group: str
    """Lines of one group are in the same split."""
    split: FileSplit | None


def read_lines(file: Path) -> tuple[Line, ...]:
    """The lines of a file.

    Raises:
        TaskError: the file is missing or is not text, or a line is malformed; says where and why.
    """
    entries = entries_of(file)
    if not entries:
        raise TaskError(
            f'{file} holds no prompts: give it lines such as {{"clean": "...", "corrupted": "...", ...}}'
        )
    lines = tuple(_line(file, place, entry) for place, entry in entries)
    for named in ("wrong", "split"):
        without = [line for line in lines if not getattr(line, named)]
        if without and len(without) < len(lines):
            place = next(line.place for line in lines if getattr(line, named))
            raise refusal(file, without[0].place, f"it names no {named}, but {place} does: all must, or none")
    counts = [len(line.answers) + len(line.wrong) for line in lines]
    if lines[0].wrong and (other := next((i for i, n in enumerate(counts) if n != counts[0]), None)):
        raise refusal(
            file, lines[other].place,
            f"it has {counts[other]} answers, wrong ones included, but {lines[0].place} {counts[0]}: "
            "give all lines the same number",
        )  # fmt: skip
    return lines


def _line(file: Path, place: str, entry: Entry) -> Line:
    for name in ("clean", "corrupted", "answers"):
        if entry.get(name) is None:
            raise refusal(file, place, f"'{name}' is missing: it has {shortened(', '.join(map(str, entry)))}")
    clean, corrupted = (_prompt(file, place, side, entry[side]) for side in ("clean", "corrupted"))
    answers, wrong = (
        _answers(file, place, name, [] if entry.get(name) is None else entry[name])
        for name in ("answers", "wrong")
    )
    if clean == corrupted:
        raise refusal(file, place, f"clean and corrupted are the same: {shortened(clean)}")
    if type(clean) is not type(corrupted):
        raise refusal(file, place, "one of clean and corrupted is text, the other token ids")
    if not answers:
        raise refusal(file, place, "'answers' is empty")
    if both := [answer for answer in answers if answer in wrong]:
        raise refusal(file, place, f"{shortened(both[0])} is both a right and a wrong answer")
    named = {name: entry.get(name) for name in ("template", "group", "split")}
    for name, value in named.items():
        if not (value is None or isinstance(value, str) or type(value) is int):
            raise refusal(file, place, f"'{name}' is not text: {shortened(value)}")
    split = SYNONYMS.get(str(named["split"]), named["split"])
    if split is not None and split not in get_args(FileSplit):
        known = (*get_args(FileSplit), *SYNONYMS)
        near = difflib.get_close_matches(str(split)[:40], known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise refusal(file, place, f"the split {shortened(split)} is not one of {', '.join(known)}{hint}")
    template, group = ("" if named[name] is None else str(named[name]) for name in ("template", "group"))
    return Line(place, clean, corrupted, answers, wrong, template, group, cast(FileSplit | None, split))


def _prompt(file: Path, place: str, name: str, value: Any) -> Text:
    whole = isinstance(value, str) or (isinstance(value, list) and all(is_token(each) for each in value))
    if not whole or not value:
        raise refusal(file, place, f"'{name}' is neither text nor a list of token ids: {shortened(value)}")
    if len(value) > LONGEST:
        raise refusal(file, place, f"'{name}' has a length of {len(value):,}: the limit is {LONGEST:,}")
    return _whole(file, place, name, value) if isinstance(value, str) else tuple(value)


def _answers(file: Path, place: str, name: str, value: Any) -> tuple[Answer, ...]:
    if not isinstance(value, list):
        raise refusal(file, place, f"'{name}' is not a list: {shortened(value)}")
    for answer in value:
        if not (isinstance(answer, str) and answer) and not is_token(answer):
            raise refusal(file, place, f"'{name}' takes texts and token ids, not {shortened(answer)}")
    return tuple(
        dict.fromkeys(_whole(file, place, name, each) if isinstance(each, str) else each for each in value)
    )


def _whole(file: Path, place: str, name: str, text: str) -> str:
    """The text, if it can be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise refusal(file, place, f"'{name}' has a lone surrogate, which is not a character") from error
    return text
