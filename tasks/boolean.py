"""Boolean expressions of four values, after an instruction or after three examples.

"((not True) and False) or (True and True) is" -> " True". The corrupted prompt has other values, for which
the same expression is the opposite (the task of Suzgun et al. 2022, arXiv:2210.09261, with the two
kinds of prompt of Bhaskar et al. 2024, arXiv:2406.16778; the expressions are ours).
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import ClassVar, Final

import numpy as np

from tasks.base import Examples, Slot, Split, Task, TaskError, Tokenizer, answer_tokens, draw, generator

BRACKETS: Final = (
    "({0} {4} {1}) {5} ({2} {6} {3})",
    "(({0} {4} {1}) {5} {2}) {6} {3}",
    "({0} {4} ({1} {5} {2})) {6} {3}",
    "{0} {4} (({1} {5} {2}) {6} {3})",
    "{0} {4} ({1} {5} ({2} {6} {3}))",
)
OPERATORS: Final = tuple(product(("and", "or"), repeat=3))
SIGNS: Final = tuple(product(("{}", "(not {})"), repeat=4))
VALUES: Final = tuple(product(("True", "False"), repeat=4))


class BooleanExpressions(Task):
    """Candidates are [" True", " False"].

    The corrupted prompt of one example could be the clean prompt of another, so the values do not decide the
    split: all prompts of one expression are in one split. There is one template, so results say nothing
    about new ones.
    """

    version = 1
    citation = """@article{suzgun2022challenging,
  title={Challenging {BIG-Bench} Tasks and Whether Chain-of-Thought Can Solve Them},
  author={Suzgun, Mirac and Scales, Nathan and Sch{\\"a}rli, Nathanael and others},
  journal={arXiv:2210.09261},
  year={2022}
}"""
    preamble: ClassVar[str]

    def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
        """See `Task.examples`."""
        tokens, end = answer_tokens(tokenizer, "is", ("True", "False"))
        if (tokens < 0).any():
            raise TaskError(
                f"task {self.name} needs True and False as one token each: "
                f"this tokenizer has {(tokens >= 0).sum()} of 2"
            )
        slots = [Slot.whole(len(each)) for each in (BRACKETS, OPERATORS, SIGNS)]
        slots.append(Slot(len(VALUES), np.arange(len(VALUES)), alike=len(VALUES)))
        template, *points = draw(Slot.whole(1), slots, split, n, seed)
        rng = generator(split, seed)
        clean, corrupted, is_true = [], [], []
        for bracket, operator, sign, value in zip(*points, strict=True):
            expression = _expression(bracket, operator, sign)
            truth = _truths(expression)
            clean.append(expression.format(*VALUES[value]))
            corrupted.append(expression.format(*VALUES[rng.choice(np.flatnonzero(truth != truth[value]))]))
            is_true.append(truth[value])
        right = np.array(is_true, bool)
        return Examples.from_prompts(
            tokenizer,
            [f"{self.preamble}{text} is{end}" for text in clean],
            [f"{self.preamble}{text} is{end}" for text in corrupted],
            candidates=np.tile(tokens, (len(right), 1)),
            correct=np.stack([right, ~right], axis=1),
            template=template,
        )


class Instructed(BooleanExpressions):
    """Expressions after an instruction."""

    name = "boolean_instruction"
    description = "boolean expressions after an instruction: True or False"
    preamble = "Say whether the following expression is True or False.\n"


class FewShot(BooleanExpressions):
    """Expressions after three examples, whose shapes never occur in the questions."""

    name = "boolean_few_shot"
    description = "boolean expressions after three examples: True or False"
    preamble = (
        "True and False is False\nTrue or (not True) is True\n(not False) and (True or False) is True\n"
    )


def _expression(bracket: int, operator: int, sign: int) -> str:
    """An expression with a placeholder for each value."""
    return BRACKETS[bracket].format(*SIGNS[sign], *OPERATORS[operator])


@cache
def _truths(expression: str) -> np.ndarray:
    """The expression's truth for each of `VALUES`."""
    spaced = expression.replace("(", "( ").replace(")", " )")
    return np.array([_read(spaced.format(*values).split())[0] for values in VALUES])


def _read(words: list[str]) -> tuple[bool, list[str]]:
    """The value up to a closing bracket, and the words left; operators apply from left to right."""
    value, words = _operand(words)
    while words and words[0] in ("and", "or"):
        operator, (other, words) = words[0], _operand(words[1:])
        value = (value and other) if operator == "and" else (value or other)
    return value, words


def _operand(words: list[str]) -> tuple[bool, list[str]]:
    first, words = words[0], words[1:]
    if first == "not":
        value, words = _operand(words)
        return not value, words
    if first == "(":
        value, words = _read(words)
        return value, words[1:]
    return first == "True", words
