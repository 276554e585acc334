"""Files of prompts in several formats -> entries: plain data by name, each with its place in the file.

Reads one JSON object per line (`clean`, `corrupted`, `answers`, optionally `wrong`, `template`, `group`,
`split`), AutoCircuit's JSON (``{"prompts": [{"clean", "corrupt", "answers", "wrong_answers"}]}``), the CSV of
EAP-IG and MIB (`clean`, `corrupted`, `correct_idx`, `incorrect_idx`), and Edge Pruning's texts, whose answer
is between ``<predict>`` and ``</predict>``.
"""

from __future__ import annotations

import csv
import io
import json
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tasks.examples import TaskError

SUFFIXES: Final = (".jsonl", ".json", ".csv")
MOST_BYTES: Final = 2**30
SYNONYMS: Final = {"train": "discovery", "test": "evaluation"}
"""What other files call their splits."""
ANSWER_COLUMNS: Final = (
    ("answers", "wrong"), ("correct_idx", "incorrect_idx"), ("country_idx", "corrupted_country_idx"),
    ("capital_idx", "corrupted_capital_idx"), ("clean_answer_idx", "corrupted_answer_idx"),
    ("answers_idx", "corrupted_answers_idx"), ("label", ""),
)  # fmt: skip
"""Columns of right and wrong answers in a CSV: the first pair whose right one exists is used."""
PREDICTED: Final = re.compile(r"(.*?)(\s*)<predict>(.*?)</predict>", re.DOTALL)
"""Edge Pruning's prompt and answer; the space between them belongs to the answer, as in tokenizers."""

Entry = Mapping[str, Any]


def entries_of(file: Path) -> list[tuple[str, Entry]]:
    """The entries of a file, each with its place: ``line 7``, or ``prompt 7`` of one JSON object.

    Raises:
        TaskError: the file is missing, is not text, or violates its format; says where and why.
    """
    text = _text_of(file)
    entries = list(_rows(file, text) if file.suffix.lower() == ".csv" else _objects(file, text))
    if any("<predict>" in clean for _, entry in entries if isinstance(clean := entry.get("clean"), str)):
        return _predicted(file, entries)
    return entries


def is_token(value: Any) -> bool:
    """Whether a value may be a token id."""
    return type(value) is int and 0 <= value < 2**31


def shortened(value: object) -> str:
    """A value as messages quote it: a long one without its middle."""
    quoted = reprlib.Repr()
    quoted.maxstring = quoted.maxother = 80
    return quoted.repr(value)


def refusal(file: Path, place: str, reason: str) -> TaskError:
    """The error for a line; it is returned, not raised.

    Args:
        file: the file that holds it.
        place: the line's place in it.
        reason: what is wrong with it.
    """
    return TaskError(f"{file} {place}: {reason}")


def _text_of(file: Path) -> str:
    try:
        if not file.is_file():
            kind = "a folder" if file.is_dir() else "missing" if not file.exists() else "not a regular file"
            raise TaskError(f"{file} is {kind}: name a file of prompts")
        if file.stat().st_size > MOST_BYTES:
            raise TaskError(f"{file} is too large: such a file has at most {MOST_BYTES:,} bytes")
        content = file.read_bytes()
    except OSError as error:
        raise TaskError(f"{file} cannot be read: {error.strerror}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise refusal(file, f"line {line}", "it is not UTF-8 text: save the file as UTF-8") from error


def _objects(file: Path, text: str) -> Iterator[tuple[str, Entry]]:
    """JSON values, each on one line or more; for AutoCircuit's object, its prompts."""
    decoder, visible, end, line = json.JSONDecoder(), re.compile(r"\S"), 0, 1
    while found := visible.search(text, end):
        line += text.count("\n", end, found.start())
        place = f"line {line}"
        try:
            value, end = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "") or str(error)
            raise refusal(file, place, f"it is not valid JSON ({reason})") from error
        line += text.count("\n", found.start(), end)
        if isinstance(value, dict) and isinstance(prompts := value.get("prompts"), list):
            for number, prompt in enumerate(prompts, start=1):
                yield f"prompt {number}", _object(file, f"prompt {number}", prompt)
        else:
            yield place, _object(file, place, value)


def _object(file: Path, place: str, value: Any) -> Entry:
    if not isinstance(value, dict):
        raise refusal(file, place, f"it is not a JSON object, but {shortened(value)}")
    ours = {"corrupt": "corrupted", "wrong_answers": "wrong"}
    return {str(ours.get(name, name)): each for name, each in value.items()}


def _rows(file: Path, text: str) -> Iterator[tuple[str, Entry]]:
    """Rows of a CSV, whose cells become what JSON would hold instead."""
    reader, before = csv.DictReader(io.StringIO(text, newline=""), strict=True), 0
    try:
        columns = list(reader.fieldnames or ())
        right, wrong = next((pair for pair in ANSWER_COLUMNS if pair[0] in columns), ("answers", "wrong"))
        for name in ("clean", "corrupted", right):
            if name not in columns:
                among = shortened(", ".join(columns))
                raise refusal(file, "line 1", f"it has no column '{name}' among {among}")
        before = reader.line_num
        for row in reader:
            place, before = f"line {before + 1}", reader.line_num
            if None in row or None in row.values():
                raise refusal(file, place, f"it must have as many fields as line 1, which has {len(columns)}")
            entry = {
                name: row.get(name) or None for name in ("clean", "corrupted", "template", "group", "split")
            }
            sides = (_cell(file, place, name, row) for name in (right, wrong))
            answers = None if wrong in columns else _years(right, row)
            yield place, entry | dict(zip(("answers", "wrong"), answers or sides, strict=True))
    except csv.Error as error:
        raise refusal(file, f"line {before + 1}", f"it is not valid CSV ({error})") from error


def _cell(file: Path, place: str, column: str, row: Mapping[str, str]) -> list[Any]:
    """Answers, one or a JSON list: texts in `answers` and `wrong`, tokens in other columns."""
    cell = row.get(column, "")
    texts = column in ANSWER_COLUMNS[0]
    if not cell or (texts and not cell.startswith("[")):
        return [cell] if cell else []
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        value = None
    listed = value if isinstance(value, list) else [value]
    if not texts and (column == "label" or not all(map(is_token, listed))):
        kind = "year of its prompt" if column == "label" else "token id"
        raise refusal(file, place, f"'{column}' has a value that is not a {kind}: {shortened(cell)}")
    return listed


def _years(column: str, row: Mapping[str, str]) -> tuple[list[str], list[str]] | None:
    """EAP-IG's greater-than: the cell has the last two digits of the prompt's year."""
    cell = row[column].zfill(2)
    named = re.search(rf"\d\d{re.escape(cell)}\b.*\d\d$", row["clean"])
    if column not in ("label", "correct_idx") or not named:
        return None
    digits = [f"{year:02}" for year in range(100)]
    return [each for each in digits if each > cell], [each for each in digits if each <= cell]


def _predicted(file: Path, entries: Sequence[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
    """Edge Pruning's lines; the corrupted prompt's answer is wrong if it differs in every line."""
    found: list[tuple[str, dict[str, Any]]] = []
    for place, entry in entries:
        sides = [PREDICTED.match(str(entry.get(side))) for side in ("clean", "corrupted")]
        if not (clean := sides[0]):
            raise refusal(file, place, "'clean' has no <predict>...</predict>, but other lines have")
        right, wrong = (side and side[2] + side[3] for side in sides)
        found.append((place, {**entry, "clean": clean[1], "answers": [right], "wrong": [wrong]}))
        if sides[1]:
            found[-1][1]["corrupted"] = sides[1][1]
        if wrong in (None, right):
            found[-1][1]["wrong"] = []
    told = all(entry["wrong"] for _, entry in found)
    evaluated = any(entry.get("split") in ("evaluation", "test") for _, entry in found)
    for _, entry in found:
        entry["wrong"] = entry["wrong"] if told else []
        if entry.get("split") == "validation" and not evaluated:
            entry["split"] = "evaluation"  # Edge Pruning scores circuits on it
    return [*found]
