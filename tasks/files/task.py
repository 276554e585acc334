"""A task of a user's own prompts: a file's lines, fitted to the model's tokenizer and split in two.

Lines have the split that the file names. If it names none, half of them are for discovery and half for
evaluation: lines of one `group` stay together; without groups, lines of one `template`; without templates,
lines of one clean prompt.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from tasks.base import Examples, Measure, Split, Task, TaskError, Tokenizer
from tasks.files.fitting import Fitted, Unfit, fit
from tasks.files.formats import refusal
from tasks.files.lines import FileSplit, Line, read_lines


@dataclass
class FileTask(Task):
    """The lines of a file; candidates are a line's answers, then its wrong ones.

    If lines name no wrong answers, there is nothing to choose, and only KL is measured.

    Raises:
        TaskError: the file cannot be read, a line is malformed, or lines cannot be split.
    """

    file: Path
    unfit: Literal["refuse", "drop"] = "refuse"
    """What to do with lines that do not fit the model's tokenizer, as `circuitmark task check` counts them:
    refuse with an error that names the first, or drop them."""
    measure: Measure = "logit_diff"
    """The difference metric: correct minus wrong answers, in mean logit or in total probability."""
    name: str = field(init=False)
    """The file's name without its suffix."""
    description: str = field(init=False)
    lines: tuple[Line, ...] = field(init=False, repr=False)
    content: str = field(init=False)
    """A hash of the lines."""
    held_out: frozenset[int] = field(init=False)
    version = 1
    citation = ""

    def __post_init__(self) -> None:
        self.name = self.file.stem
        self.lines = _read(self.file, _state(self.file))
        self.content = hashlib.sha256(repr(self.lines).encode()).hexdigest()[:16]
        self.description = f"{len(self.lines)} lines of {self.file.name}"
        splits = _splits(self.file, self.lines)
        self._splits = {line.place: split for line, split in zip(self.lines, splits, strict=True)}
        numbers = {text: i for i, text in enumerate(sorted({line.template for line in self.lines}))}
        self._templates = {line.place: numbers[line.template] for line in self.lines}
        seen, scored = (
            {self._templates[line.place] for line in self.of(split)} for split in ("discovery", "evaluation")
        )
        self.held_out = frozenset(scored - seen)

    def of(self, split: Split) -> list[Line]:
        """The lines of a split, in the order of the file."""
        return [line for line in self.lines if self.split(line) == split]

    def split(self, line: Line) -> FileSplit:
        """The split of a line."""
        return self._splits[line.place]

    def template(self, line: Line) -> int:
        """The number of a line's template among all templates of the file."""
        return self._templates[line.place]

    def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
        """See `Task.examples`. At most as many as the split has; a seed takes a part of them.

        Seeds share no lines while there are enough; then they start over and overlap.
        """
        lines = self.of(split)
        if not lines:
            named = " and ".join(sorted(set(self._splits.values())))
            raise TaskError(
                f"the task {self.name} has no lines for {split}: {self.file} has lines for {named} only"
            )
        fitted, unfit = fit(tokenizer, lines)
        if unfit and (self.unfit == "refuse" or not fitted):
            raise self._refused(unfit, len(lines))
        if seed and n >= len(fitted):
            raise TaskError(
                f"the task {self.name} has {len(fitted)} lines for {split}, all of which seed 0 has: request "
                "fewer, so that another seed has others"
            )
        order = _in_turns(np.array([self.template(each.line) for each in fitted]))
        taken = order[(seed * n + np.arange(min(n, len(order)))) % len(order)]
        return self.made([fitted[i] for i in taken])

    def made(self, fitted: Sequence[Fitted]) -> Examples:
        """Examples made of lines, in their order."""
        return Examples.from_tokens(
            [each.clean for each in fitted],
            [each.corrupted for each in fitted],
            *_candidates(fitted),
            np.array([self.template(each.line) for each in fitted]),
        )

    def _refused(self, unfit: Sequence[Unfit], n: int) -> TaskError:
        mend = f"fix it, or leave such lines out with -t {self.file}:unfit=drop"
        if len(unfit) == n:
            mend = f"none of the {n} lines of its split can be used"
        return refusal(self.file, unfit[0].line.place, f"{unfit[0].reason}; {mend}")


def _state(file: Path) -> Hashable:
    """What distinguishes a file from an earlier one of the same name."""
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino


@lru_cache(maxsize=4)
def _read(file: Path, state: Hashable) -> tuple[Line, ...]:
    """Reads a file once, and again only if it has changed."""
    return read_lines(file)


def _splits(file: Path, lines: Sequence[Line]) -> list[FileSplit]:
    """The split of each line.

    Raises:
        TaskError: a split is empty, or one prompt is in two of them.
    """
    named = [line.split for line in lines if line.split]
    splits = named or _halves(lines)
    for wanted in ("discovery", "evaluation"):
        if wanted not in splits:
            others = " and ".join(sorted(set(splits)))
            raise TaskError(f"{file}: all {len(lines)} lines are for {others}, and none is left for {wanted}")
    first: dict[Hashable, tuple[Line, FileSplit]] = {}
    for line, split in zip(lines, splits, strict=True):
        other, where = first.setdefault(line.clean, (line, split))
        if where != split:
            raise refusal(
                file,
                line.place,
                f"its clean prompt is that of {other.place}, which is for {where}, not {split}",
            )
    return splits


def _halves(lines: Sequence[Line]) -> list[FileSplit]:
    """Assigns groups, ordered by their hashes, each to the half with fewer lines so far."""
    keys = [line.group or line.template or repr(line.clean) for line in lines]
    if len(set(keys)) < 2:
        keys = [repr(line.clean) for line in lines]
    sizes, place = Counter(keys), dict[str, FileSplit]()
    held: dict[FileSplit, int] = {"discovery": 0, "evaluation": 0}
    for key in sorted(sizes, key=lambda key: hashlib.sha256(key.encode()).digest()):
        place[key] = min(held, key=held.__getitem__)
        held[place[key]] += sizes[key]
    return [place[key] for key in keys]


def _in_turns(template: Int[np.ndarray, " line"]) -> Int[np.ndarray, " line"]:
    """One fixed, shuffled order of the lines, in which templates take turns."""
    shuffled = np.random.default_rng(0).permutation(len(template))
    turn, taken = np.empty(len(template), np.int64), Counter[int]()
    for i, number in enumerate(template[shuffled].tolist()):
        turn[i] = taken[number]
        taken[number] += 1
    return shuffled[np.lexsort((template[shuffled], turn))]


def _candidates(
    chosen: Sequence[Fitted],
) -> tuple[Int[np.ndarray, "line candidate"], Bool[np.ndarray, "line candidate"]]:
    """Token ids, and which are right. Lines with fewer answers (none wrong) are padded with their first."""
    width = max(len(each.answers) + len(each.wrong) for each in chosen)
    candidates, correct = np.empty((len(chosen), width), np.int64), np.ones((len(chosen), width), bool)
    for i, each in enumerate(chosen):
        more = each.answers[:1] * (width - len(each.answers) - len(each.wrong))
        candidates[i] = (*each.answers, *each.wrong, *more)
        correct[i, len(each.answers) : width - len(more)] = False
    return candidates, correct
