"""Several tasks as one: what a circuit of two behaviours is, beside circuits of either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from tasks.base import Examples, Split, Task, TaskError, Tokenizer
from tasks.files.formats import refusal
from tasks.files.lines import Line, Text
from tasks.files.task import FileTask

APART = 1_000_000
"""Templates of one task have numbers below it, those of files too; those of the next follow from it."""


class Mixed(Task):
    """As many prompts of each task, in turns: a control for the claim that a circuit is of its task.

    It has no name by which it is found: it is typed as ``ioi+gp``. Tasks of one measure and with as many
    candidates go together, since what is measured on them is one number.

    Args:
        tasks: two or more, of one measure.

    Raises:
        TaskError: two have one name, their measures differ, or files of them have one prompt in two splits.
    """

    version = 1

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)
        names = [task.name for task in tasks]
        self.name = "+".join(names)
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise TaskError(f"'{self.name}' has two tasks named '{twice}': leave one out, or rename its file")
        if len({task.measure for task in tasks}) > 1:
            measured = ", ".join(f"{task.name}: {task.measure}" for task in tasks)
            raise TaskError(f"the tasks of '{self.name}' are measured by different metrics ({measured})")
        _refuse_leaks([task for task in tasks if isinstance(task, FileTask)])
        self.measure = tasks[0].measure
        self.description = " and ".join(task.description for task in tasks)
        self.citation = "\n\n".join(task.citation for task in tasks)
        held_out = (t + APART * i for i, task in enumerate(tasks) for t in task.held_out)
        self.held_out = frozenset(held_out)

    def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
        """See `Task.examples`; the first tasks have one more where `n` cannot be shared out evenly."""
        counts = [len(range(i, n, len(self.tasks))) for i in range(len(self.tasks))]
        parts = [
            task.examples(tokenizer, split, count, seed)
            for task, count in zip(self.tasks, counts, strict=True)
            if count
        ]
        if len({part.chooses for part in parts}) > 1:
            named = ", ".join(t.name for t, p in zip(self.tasks, parts, strict=False) if not p.chooses)
            raise TaskError(
                f"of the tasks of '{self.name}' some name wrong answers, and some do not ({named})"
            )
        if len({part.candidates.shape[1] for part in parts}) > 1:
            offered = ", ".join(
                f"{t.name}: {p.candidates.shape[1]}" for t, p in zip(self.tasks, parts, strict=False)
            )
            raise TaskError(f"the tasks of '{self.name}' have different numbers of candidates ({offered})")
        width = max(part.clean.shape[1] for part in parts)
        order = np.argsort(np.concatenate([np.arange(len(part)) for part in parts]), kind="stable")

        def joined(name: str) -> np.ndarray:
            arrays = [getattr(part, name) for part in parts]
            if name in ("clean", "corrupted"):
                arrays = [np.pad(a, ((0, 0), (0, width - a.shape[1]))) for a in arrays]
            if name == "template":
                arrays = [a + APART * i for i, a in enumerate(arrays)]
            return np.concatenate(arrays)[order]

        return Examples(**{field.name: joined(field.name) for field in fields(Examples)})


def _refuse_leaks(tasks: Sequence[FileTask]) -> None:
    """Refuses a prompt that a method would see of one file and be scored on of another.

    Raises:
        TaskError: the first of them, with its line in both.
    """
    first: dict[Text, tuple[FileTask, Line]] = {}
    for task in tasks:
        for line in task.lines:
            other, there = first.setdefault(line.clean, (task, line))
            if (where := other.split(there)) != task.split(line):
                raise refusal(
                    task.file, line.place,
                    f"its clean prompt is that of {other.file} {there.place}, which is for {where}, not "
                    f"{task.split(line)}: name the split of each line",
                )  # fmt: skip
