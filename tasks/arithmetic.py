"""Two-digit arithmetic: sums and differences, whose results have two digits as well.

"Question: How much is 25 plus 41? Answer:" -> " 66". The corrupted prompt has two other numbers, and the
wrong candidate is their result, as in MIB's arithmetic (Mueller et al. 2025, arXiv:2504.13151; wording and
numbers are ours). With a tokenizer that splits numbers into digits, the answer is the tens digit.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from jaxtyping import Bool, Int

from tasks.base import Examples, Slot, Split, Task, TaskError, Tokenizer, answer_tokens, draw, generator

NUMBERS: Final = np.arange(10, 100)
"""Operands and allowed results."""
ASKED: Final = "Question: How much is {a} {operator} {b}? Answer:"


class Arithmetic(Task):
    """Candidates are the first tokens of [the result, that of the corrupted prompt]; the first is correct.

    There is one template, so results say nothing about new ones. The corrupted prompt of one example could
    be the clean prompt of another, so it is drawn from the same split.
    """

    version = 1
    citation = """@inproceedings{mueller2025mib,
  title={{MIB}: A Mechanistic Interpretability Benchmark},
  author={Mueller, Aaron and Geiger, Atticus and Wiegreffe, Sarah and others},
  booktitle={International Conference on Machine Learning},
  year={2025},
  note={arXiv:2504.13151}
}"""
    operator: ClassVar[str]
    """The operator in words."""
    sign: ClassVar[int]
    """The sign of the second number."""

    def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
        """See `Task.examples`. Numbers that take more or fewer tokens than most are left out."""
        tokens, end = answer_tokens(tokenizer, "Answer:", [str(number) for number in NUMBERS])
        alike = _of_one_length(tokenizer)
        a, b = (side.ravel() for side in np.meshgrid(NUMBERS[alike], NUMBERS[alike], indexing="ij"))
        c = a + self.sign * b
        token_of = np.full(NUMBERS[-1] + 1, -1, np.int64)
        token_of[NUMBERS] = tokens
        within = (c >= NUMBERS[0]) & (c <= NUMBERS[-1])
        pairs = (100 * a + b)[within & (token_of[np.clip(c, 0, NUMBERS[-1])] >= 0)]
        results = np.full(10_000, -1, np.int64)
        results[pairs] = token_of[pairs // 100 + self.sign * (pairs % 100)]
        one, both = Slot.whole(1), [Slot(10_000, pairs)]
        own = np.unique(draw(one, both, split, len(pairs), 0)[1])  # all pairs of the split
        if len(np.unique(results[own])) < 2:
            raise TaskError(
                f"task {self.name} needs numbers of two digits, or their digits, as tokens: "
                f"this tokenizer has {(tokens >= 0).sum()} of {len(NUMBERS)}"
            )
        template, pair = draw(one, both, split, n, seed)
        other = _another(own, results, pair, generator(split, seed))

        def prompts(chosen: Int[np.ndarray, " example"]) -> list[str]:
            asked = (divmod(int(each), 100) for each in chosen)
            return [ASKED.format(a=a, b=b, operator=self.operator) + end for a, b in asked]

        return Examples.from_prompts(
            tokenizer,
            prompts(pair),
            prompts(other),
            candidates=np.stack([results[pair], results[other]], axis=1),
            correct=np.tile([True, False], (len(pair), 1)),
            template=template,
        )


class Addition(Arithmetic):
    """Two-digit numbers whose sum has two digits."""

    name = "addition"
    description = "two-digit addition"
    operator = "plus"
    sign = 1


class Subtraction(Arithmetic):
    """Two-digit numbers whose difference has two digits."""

    name = "subtraction"
    description = "two-digit subtraction"
    operator = "minus"
    sign = -1


def _of_one_length(tokenizer: Tokenizer) -> Bool[np.ndarray, " number"]:
    """Which numbers take the most common number of tokens in a sentence, none of them unknown."""
    ids = tokenizer([f"is {number}" for number in NUMBERS], add_special_tokens=False)["input_ids"]
    lengths = np.array([-1 if tokenizer.unk_token_id in row[1:] else len(row) for row in ids])
    most = int(np.bincount(np.maximum(lengths, 0)).argmax())
    return np.array(lengths == most)


def _another(
    pairs: Int[np.ndarray, " pair"],
    results: Int[np.ndarray, " 10000"],
    taken: Int[np.ndarray, " example"],
    rng: np.random.Generator,
) -> Int[np.ndarray, " example"]:
    """Other pairs, redrawn until their results begin with different tokens.

    Args:
        pairs: the pairs of the split.
        results: the first token of each pair's result.
        taken: the pairs of the clean prompts.
        rng: the random generator.
    """
    others = np.empty_like(taken)
    todo = np.arange(len(taken))
    while len(todo):
        others[todo] = rng.choice(pairs, len(todo))
        todo = todo[results[others[todo]] == results[taken[todo]]]
    return others
