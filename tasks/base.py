"""The contract of a task. One task family is one file in this folder; `tasks.find_tasks` finds it.

A task turns a tokenizer, a split, a number of examples and a seed into `Examples`. It knows neither
models nor methods and never sees logits: its `measure` only names the metric.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from tasks.examples import Examples, ExamplesError, TaskError, Tokenizer, answer_tokens, word_tokens
from tasks.space import HELD_OUT, WORDINGS_OF, Slot, Split, draw, generator, wording_slot

__all__ = [
    "HELD_OUT", "WORDINGS_OF", "Examples", "ExamplesError", "Measure", "Slot", "Split", "Task", "TaskError",
    "Tokenizer", "answer_tokens", "draw", "generator", "word_tokens", "wording_slot",
]  # fmt: skip

Measure = Literal["logit_diff", "prob_diff"]
"""Correct minus wrong candidates: in mean logit, or in total probability."""


class Task(ABC):
    """A source of clean and corrupted prompt pairs, for any tokenizer that supports it.

    A subclass in this folder that sets a `name` is found automatically; one without a name is a base
    for others. A task with options is a dataclass: its fields are the options, each with a default.
    """

    name: str
    version: int
    """Bumped when the same arguments would give different examples: earlier results are then stale."""
    description: str
    """One line for `circuitmark list tasks`."""
    citation: str
    """BibTeX of the work that introduced the task; the prompts here are our own wording."""
    measure: Measure = "logit_diff"
    held_out: frozenset[int] = frozenset()
    """Templates that occur in evaluation but not in discovery or validation: claims about new templates
    rest on these. A task whose templates are known only when it is constructed may set this then."""

    @abstractmethod
    def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
        """Draws examples of a split; the same arguments give the same examples.

        No clean prompt occurs twice while the split has enough of them, and the clean prompts of
        two splits are disjoint. So are those of two seeds with the same `n`, while there are enough
        (`Examples.shared` counts overlaps). Each template occurs equally often, give or take one.

        Args:
            tokenizer: the model's tokenizer.
            split: the split to draw from.
            n: the number of examples.
            seed: selects which examples of the split.

        Raises:
            TaskError: the tokenizer does not support the task.
        """
