"""The contract of a task. One task family is one file in this folder; `tasks.find_tasks` finds it.

A task turns a tokenizer, a split, a number and a seed into `Examples`. It knows no model and no
method, and it never sees logits: what is measured on it is one word, its `measure`.
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

    A subclass with a `name` of its own is found by looking into the folder; one without a name is
    a base for others. One with options is a dataclass whose fields they are, each with a default.
    """

    name: str
    version: int
    """Bumped when the same arguments would give other examples: results made before are then stale."""
    description: str
    """One line for `circuitmark list tasks`."""
    citation: str
    """BibTeX of the work that introduced the task; the prompts here are our own wording."""
    measure: Measure = "logit_diff"
    held_out: frozenset[int] = frozenset()
    """Templates that evaluation has and discovery and validation have not: what is said of new templates
    rests on these. A task whose templates are known only when it is made may set it then."""

    @abstractmethod
    def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
        """Some examples of a split, the same for the same arguments.

        No clean prompt comes twice while the split has enough of them, and the clean prompts of
        two splits are disjoint. So are those of two seeds, for the same `n` and while there are
        enough (`Examples.shared` counts), and each template comes equally often, give or take one.

        Args:
            tokenizer: the model's.
            split: of which they are.
            n: how many.
            seed: which of the split's.

        Raises:
            TaskError: the tokenizer does not support the task.
        """
