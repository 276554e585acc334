"""Induction: random words are repeated; the answer is the word that followed the first time.

"The river Mary lamp siege ... river Mary" -> " lamp". In the corrupted prompt the answer and a word that is
not repeated are swapped: the words are the same, but the other one follows (Olsson et al. 2022,
"In-context Learning and Induction Heads"; the swap is ours).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Int

from tasks import words
from tasks.base import Examples, Slot, Split, Task, TaskError, Tokenizer, draw, word_tokens
from tasks.space import mixed

WORDS: Final = tuple(
    dict.fromkeys(
        words.MALE_NAMES + words.FEMALE_NAMES + words.PLACES + words.OBJECTS + words.EVENTS
        + words.ADJECTIVES + words.OCCUPATIONS
    )
)  # fmt: skip
LENGTH: Final = 12
"""Words before the repetition."""
AGAIN: Final = 6
"""How many of them are repeated."""
SEQUENCES: Final = 1 << 20
"""How many sequences there are to draw from; a sequence's number seeds the draw of its words."""


class Induction(Task):
    """Candidates are [the word that followed, one that is not repeated]; the first is correct.

    There is one template, so results say nothing about new ones.
    """

    name = "induction"
    version = 1
    description = "induction: which word follows when random words are repeated"
    citation = """@article{olsson2022context,
  title={In-context Learning and Induction Heads},
  author={Olsson, Catherine and Elhage, Nelson and Nanda, Neel and others},
  journal={Transformer Circuits Thread},
  year={2022},
  url={https://transformer-circuits.pub/2022/in-context-learning-and-induction-heads/index.html}
}"""

    def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
        """See `Task.examples`. Words that are not one token are left out."""
        tokens = word_tokens(tokenizer, WORDS)
        usable = np.flatnonzero(tokens >= 0)
        if len(usable) < LENGTH:
            raise TaskError(
                f"task {self.name} needs at least {LENGTH} words that are one token each: "
                f"this tokenizer has {len(usable)} of {len(WORDS)}"
            )
        template, number = draw(Slot.whole(1), [Slot.whole(SEQUENCES)], split, n, seed)
        first = usable[np.concatenate([_drawn(part, len(usable)) for part in _parts(number)])]
        other = AGAIN + 1 + number % (LENGTH - AGAIN - 1)
        rows = np.arange(len(first))
        swapped = first.copy()
        swapped[rows, AGAIN], swapped[rows, other] = first[rows, other], first[rows, AGAIN]

        def prompts(sequences: np.ndarray) -> list[str]:
            return [
                " ".join(["The", *(WORDS[w] for w in sequence), *(WORDS[w] for w in sequence[:AGAIN])])
                for sequence in sequences
            ]

        return Examples.from_prompts(
            tokenizer,
            prompts(first),
            prompts(swapped),
            candidates=tokens[np.stack([first[:, AGAIN], swapped[:, AGAIN]], axis=1)],
            correct=np.tile([True, False], (len(first), 1)),
            template=template,
        )


def _parts(number: Int[np.ndarray, " example"]) -> list[Int[np.ndarray, " part"]]:
    """Parts with few enough sequences to keep the memory for drawing them small."""
    return np.array_split(number, len(number) // 4096 + 1)


def _drawn(number: Int[np.ndarray, " part"], n_words: int) -> Int[np.ndarray, "part word"]:
    """The words of each sequence: those with the smallest hashes of sequence and word, in that order."""
    keys = mixed((number[:, None] * n_words + np.arange(n_words)).astype(np.uint64))
    return np.argsort(keys, axis=1)[:, :LENGTH]
