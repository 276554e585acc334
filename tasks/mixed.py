"""Several tasks as one: to compare a circuit for two behaviours with circuits for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from tasks.base import Examples, Split, Task, TaskError, Tokenizer
from tasks.files.formats import refusal
from tasks.files.lines import Line, Text
from tasks.files.task import FileTask

APART = 1_000_000
"""Offset between the template numbers of consecutive tasks; a task's own, of a file too, are below it."""


class Mixed(Task):
    """Equally many prompts of each task, in turns: tests the claim that a circuit is specific to its task.

    It has no registered name: it is typed as ``ioi+gp``. Tasks must have the same measure and the same
    number of candidates, since one number is measured on all of them.

    Args:
        tasks: two or more, with the same measure.

    Raises:
        TaskError: two have one name, their measures differ, or their files have one prompt in two splits.
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
        """See `Task.examples`; the first tasks have one more where `n` does not divide evenly."""
        counts = [len(range(i, n, len(self.tasks))) for i in range(len(self.tasks))]
        parts = [
            task.examples(tokenizer, split, count, seed)
            for task, count in zip(self.tasks, counts, strict=True)
            if count
        ]
        if len({part.chooses for part in parts}) > 1:
            named = ", ".join(t.name for t, p in zip(self.tasks, parts, strict=False) if not p.chooses)
            raise TaskError(
                f"in '{self.name}' tasks without wrong answers ({named}) cannot join tasks that have them"
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
    """Refuses a prompt that is in different splits of two files, such as discovery and evaluation.

    Raises:
        TaskError: there is one; names the first, with its line in both files.
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
