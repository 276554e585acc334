"""Indirect object identification: of two names, give the one that was not repeated.

"After Mary and Peter had walked to the park, Peter handed the ball to" -> " Mary". The corrupted
prompt has three other names, all different, so that it says nothing about the answer
(Wang et al. 2022, arXiv:2211.00593), or Mary instead of the second Peter, so that Peter is the answer
(Mueller et al. 2025, arXiv:2504.13151). Wordings are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Int

from tasks.base import (
    HELD_OUT,
    WORDINGS_OF,
    Examples,
    Slot,
    Split,
    Task,
    TaskError,
    Tokenizer,
    draw,
    generator,
    word_tokens,
)
from tasks.words import FEMALE_NAMES, MALE_NAMES, OBJECTS, PLACES

NAMES: Final = MALE_NAMES + FEMALE_NAMES
WORDINGS: Final = (
    "After {0} and {1} had walked to the {place}, {2} handed the {object} to",
    "On a rainy morning {0} and {1} sat by the {place}, and {2} passed a {object} to",
    "Because {0} and {1} were bored at the {place}, {2} threw a {object} to",
    "Yesterday {0} and {1} cleaned the {place} until {2} returned the {object} to",
    "It was late when {0} and {1} left the {place}, so {2} lent a {object} to",
    "Nobody saw {0} and {1} behind the {place}, where {2} offered a {object} to",
    "Our guides {0} and {1} crossed the {place} before {2} carried the {object} to",
    "A {object} lay on the floor of the {place}; {0} and {1} both wanted it, but in the end {2} left it to",
    "According to the paper, {0} met {1} at the {place} last week, and there {2} bought a {object} for",
    "If {0} goes to the {place} with {1} again, {2} will have to share the {object} with",
    "In the picture, {0} stands by the {place} and {1} sits on the grass while {2} holds out a {object} to",
    "A parcel from the {place} reached {0} before {1} was awake, so {2} opened it and gave the {object} to",
    "As {0} and {1} waited outside the {place}, {2} showed the {object} to",
    "The day {0} and {1} moved into the {place}, {2} brought a {object} to",
    "Once {0} and {1} had closed the {place}, {2} sold the {object} to",
    "Last summer {0} and {1} found work at the {place}, and {2} sent a {object} to",
    "Although {0} and {1} disagreed about the {place}, {2} promised a {object} to",
    "The twins {0} and {1} grew up beside the {place}, and {2} gave a {object} to",
    "Soon {0} and {1} got tired of the {place}, but {2} still mailed a {object} to",
    "While {0} and {1} were painting the {place}, {2} tossed the {object} to",
    "Every Sunday {0} visits {1} near the {place}, and every time {2} has a {object} for",
    "Neither {0} nor {1} could find the {place}; finally {2} sat down and threw the {object} at",
    "The {object} was heavy, so {0} and {1} took turns, and at the {place} {2} passed it back to",
    "There is a story about {0} and {1}: at the old {place}, they say, {2} once stole a {object} from",
    "After the {object} was found at the {place}, {0} and {1} sat down, and in the end {2} sold it to",
    "While {0} was at the {place} with {1}, nobody saw that {2} passed the {object} to",
    "Last week {0} met {1} again behind the old {place}, where {2} once lent a {object} to",
    "Because {0} was tired, {1} and a friend left the {place} late, and so {2} still has a {object} for",
)
"""The last four are never trained on. In half of the prompts the subject is named first (BABA)."""
MIN_NAMES: Final = 5  # two in the clean prompt, three others in the corrupted one


@dataclass(frozen=True)
class IOI(Task):
    """A template is a wording, with the indirect object first (ABBA) or second (BABA), equally often."""

    name = "ioi"
    version = 2
    description = "indirect object identification, 24 wordings in both orders: which name was not repeated"
    citation = """@inproceedings{wang2023interpretability,
  title={Interpretability in the Wild: a Circuit for Indirect Object Identification in {GPT-2} small},
  author={Wang, Kevin and Variengien, Alexandre and Conmy, Arthur and Shlegeris, Buck and Steinhardt, Jacob},
  booktitle={International Conference on Learning Representations},
  year={2023},
  url={https://arxiv.org/abs/2211.00593}
}"""
    held_out = HELD_OUT

    corruption: Literal["names", "flip"] = "names"
    """The corrupted prompt has three other names and so no answer (names), or the indirect object in place of
    the second subject, which makes the subject the answer (flip; MIB's s2_io_flip)."""

    def frames(self, split: Split) -> list[int]:
        """The wordings of a split in the order in which they take turns: 2w is ABBA, 2w + 1 is BABA.

        Each comes in one order, half of them in each, before any comes in the other.
        """
        return [2 * w + (w + second) % 2 for second in range(2) for w in WORDINGS_OF[split]]

    def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
        """See `Task.examples`. Candidates are [indirect object, subject]; the first is correct."""
        tokens = word_tokens(tokenizer, NAMES)
        usable = np.flatnonzero(tokens >= 0)
        places, objects = (np.flatnonzero(word_tokens(tokenizer, words) >= 0) for words in (PLACES, OBJECTS))
        needs = (("names", usable, MIN_NAMES), ("places", places, 1), ("objects", objects, 1))
        for kind, found, least in needs:
            if len(found) < least:
                raise TaskError(
                    f"task {self.name} needs at least {least} {kind} that are one token each: "
                    f"this tokenizer has {len(found)}"
                )
        first, second = (side.ravel() for side in np.meshgrid(usable, usable, indexing="ij"))
        pairs = (first * len(NAMES) + second)[first != second]
        flip = self.corruption == "flip"
        frame, pair, place, thing = draw(
            # a flipped prompt is one of the wording's other order, so both must be in the same split
            Slot(2 * len(WORDINGS), np.array(self.frames(split)), alike=2 if flip else 1),
            [Slot(len(NAMES) ** 2, pairs), Slot(len(PLACES), places), Slot(len(OBJECTS), objects)],
            split, n, seed,
        )  # fmt: skip
        template, swapped = frame // 2, frame % 2 == 1
        io, subject = np.divmod(pair, len(NAMES))
        if flip:  # here the pair is in prompt order, which is the same for both orders
            io, subject = np.where(swapped, subject, io), np.where(swapped, io, subject)
        clean = np.stack([np.where(swapped, subject, io), np.where(swapped, io, subject), subject], axis=1)

        def prompts(slots: Int[np.ndarray, "example 3"]) -> list[str]:
            return [
                WORDINGS[t].format(*(NAMES[i] for i in three), place=PLACES[p], object=OBJECTS[o])
                for t, three, p, o in zip(template, slots, place, thing, strict=True)
            ]

        if flip:
            corrupted = np.column_stack([clean[:, :2], io])
        else:
            corrupted = _three_others(clean[:, :2], usable, generator(split, seed))
        return Examples.from_prompts(
            tokenizer,
            prompts(clean),
            prompts(corrupted),
            candidates=tokens[np.stack([io, subject], axis=1)],
            correct=np.tile([True, False], (len(template), 1)),
            template=template,
        )


class IOIOneTemplate(IOI):
    """The first wording of `IOI` alone, in ABBA order. A prompt is in the same split in both tasks."""

    name = "ioi_t1"
    description = "indirect object identification with a single ABBA template"
    held_out = frozenset()

    def frames(self, split: Split) -> list[int]:
        """The first ABBA template, whatever the split."""
        return [0]


def _three_others(
    names: Int[np.ndarray, "example 2"], usable: Int[np.ndarray, " choice"], rng: np.random.Generator
) -> Int[np.ndarray, "example 3"]:
    """Three names per example, different from each other and from the two given; redrawn until they are."""
    others = np.empty((len(names), 3), np.int64)
    todo = np.arange(len(names))
    while len(todo):
        others[todo] = rng.choice(usable, (len(todo), 3))
        five = np.sort(np.concatenate([names[todo], others[todo]], axis=1), axis=1)
        todo = todo[(five[:, 1:] == five[:, :-1]).any(axis=1)]
    return others
