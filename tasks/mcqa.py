"""Multiple choice: a colour is stated, and the answer is the letter before it.

"Question: A lamp is red. What color is a lamp? / A. blue / B. red / ... / Answer:" -> " B". The corrupted
prompt has other letters before the choices, as in MIB's copied colours (Wiegreffe et al. 2024,
arXiv:2407.15018; Mueller et al. 2025, arXiv:2504.13151; wording and words are ours). The wrong candidates are
the three other letters of the prompt; MIB's is the letter that is correct in the corrupted prompt, which the
clean one does not have.
"""

from __future__ import annotations

import math
from string import ascii_uppercase
from typing import Final

import numpy as np

from tasks.base import Examples, Slot, Split, Task, TaskError, Tokenizer, answer_tokens, draw, generator
from tasks.words import OBJECTS

COLORS: Final = ("red", "blue", "green", "yellow", "white", "black", "brown", "gray", "purple", "pink")
CHOICES: Final = 4
LETTERS: Final = tuple(ascii_uppercase)
OTHERS: Final = math.perm(len(COLORS) - 1, CHOICES - 1)
"""Ordered choices of the wrong colours."""


class MultipleChoice(Task):
    """Candidates are the clean prompt's letters. There is one template: nothing is said about new ones."""

    name = "mcqa"
    version = 1
    description = "multiple choice of four: the letter before the color that was stated"
    citation = """@article{wiegreffe2024answer,
  title={Answer, Assemble, Ace: Understanding How {LMs} Answer Multiple Choice Questions},
  author={Wiegreffe, Sarah and Tafjord, Oyvind and Belinkov, Yonatan and Hajishirzi, Hannaneh
    and Sabharwal, Ashish},
  journal={arXiv:2407.15018},
  year={2024}
}"""

    def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
        """See `Task.examples`. The clean prompt's letters are A to D, the corrupted one's are others."""
        tokens, end = answer_tokens(tokenizer, "Answer:", LETTERS)
        if (tokens < 0).any():
            raise TaskError(
                f"task {self.name} needs the capital letters as one token each: "
                f"this tokenizer has {(tokens >= 0).sum()} of {len(LETTERS)}"
            )
        slots = [Slot.whole(size) for size in (len(OBJECTS), len(COLORS), CHOICES, OTHERS)]
        template, thing, color, place, order = draw(Slot.whole(1), slots, split, n, seed)
        rng = generator(split, seed)
        drawn = np.arange(CHOICES, len(LETTERS))
        other = np.array([rng.choice(drawn, CHOICES, replace=False) for _ in thing]).reshape(-1, CHOICES)
        clean = np.tile(np.arange(CHOICES), (len(thing), 1))

        def prompts(letters: np.ndarray) -> list[str]:
            return [
                _prompt(OBJECTS[t], _choices(int(c), int(p), int(o)), COLORS[c], row) + end
                for t, c, p, o, row in zip(thing, color, place, order, letters, strict=True)
            ]

        return Examples.from_prompts(
            tokenizer,
            prompts(clean),
            prompts(other),
            candidates=tokens[clean],
            correct=clean == place[:, None],
            template=template,
        )


def _choices(color: int, place: int, order: int) -> list[str]:
    """The choices: the right colour in its place, among wrong ones.

    Args:
        color: the right one.
        place: its index.
        order: the number of the wrong ones' order.
    """
    left = [name for i, name in enumerate(COLORS) if i != color]
    chosen = []
    for _ in range(CHOICES - 1):
        order, i = divmod(order, len(left))
        chosen.append(left.pop(i))
    return [*chosen[:place], COLORS[color], *chosen[place:]]


def _prompt(thing: str, choices: list[str], color: str, letters: np.ndarray) -> str:
    listed = "\n".join(f"{LETTERS[i]}. {choice}" for i, choice in zip(letters, choices, strict=True))
    return f"Question: A {thing} is {color}. What color is a {thing}?\n{listed}\nAnswer:"
