"""Indirect object identification: of two names, give the one that was not repeated.

"After Mary and Peter had walked to the park, Peter handed the ball to" -> " Mary". The corrupted
prompt has three other names, all different, so that it says nothing about the answer
(Wang et al. 2022, arXiv:2211.00593). Wordings are our own.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from jaxtyping import Int

from tasks.base import Examples, Slot, Split, Task, TaskError, Tokenizer, draw, generator, word_tokens
from tasks.words import FEMALE_NAMES, MALE_NAMES, OBJECTS, PLACES

NAMES: Final = MALE_NAMES + FEMALE_NAMES
WORDINGS: Final = (
    "After {0} and {1} had walked to the {place}, {2} handed the {object} to",
    "On a rainy morning {0} and {1} sat by the {place}, and {2} passed a {object} to",
    "Because {0} and {1} were bored at the {place}, {2} threw a {object} to",
    "Yesterday {0} and {1} cleaned the {place} until {2} returned the {object} to",
    "It was late when {0} and {1} left the {place}, so {2} lent a {object} to",
    "As {0} and {1} waited outside the {place}, {2} showed the {object} to",
    "The day {0} and {1} moved into the {place}, {2} brought a {object} to",
    "Nobody saw {0} and {1} behind the {place}, where {2} offered a {object} to",
    "Once {0} and {1} had closed the {place}, {2} sold the {object} to",
    "Last summer {0} and {1} found work at the {place}, and {2} sent a {object} to",
    "Although {0} and {1} disagreed about the {place}, {2} promised a {object} to",
    "Our guides {0} and {1} crossed the {place} before {2} carried the {object} to",
    "The twins {0} and {1} grew up beside the {place}, and {2} gave a {object} to",
    "Soon {0} and {1} got tired of the {place}, but {2} still mailed a {object} to",
    "While {0} and {1} were painting the {place}, {2} tossed the {object} to",
)
"""Each is two templates: 2w has the indirect object first (ABBA), 2w + 1 the subject (BABA)."""
MIN_NAMES: Final = 5  # two in the clean prompt, three others in the corrupted one


class IOI(Task):
    """Thirty templates: fifteen wordings, each with the indirect object first and second."""

    name = "ioi"
    version = 1
    description = "indirect object identification, 15 ABBA and 15 BABA templates: which name was not repeated"
    citation = """@inproceedings{wang2023interpretability,
  title={Interpretability in the Wild: a Circuit for Indirect Object Identification in {GPT-2} small},
  author={Wang, Kevin and Variengien, Alexandre and Conmy, Arthur and Shlegeris, Buck and Steinhardt, Jacob},
  booktitle={International Conference on Learning Representations},
  year={2023},
  url={https://arxiv.org/abs/2211.00593}
}"""
    templates: ClassVar[tuple[int, ...]] = tuple(range(2 * len(WORDINGS)))

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
        rng = generator(split, seed)
        template, pair, place, thing = draw(
            [
                Slot(2 * len(WORDINGS), np.array(self.templates)),
                Slot(len(NAMES) ** 2, pairs),
                Slot(len(PLACES), places),
                Slot(len(OBJECTS), objects),
            ],
            split, n, rng,
        )  # fmt: skip
        io, subject = np.divmod(pair, len(NAMES))
        swapped = template % 2 == 1
        clean = np.stack([np.where(swapped, subject, io), np.where(swapped, io, subject), subject], axis=1)

        def prompts(slots: Int[np.ndarray, "example 3"]) -> list[str]:
            return [
                WORDINGS[t // 2].format(*(NAMES[i] for i in three), place=PLACES[p], object=OBJECTS[o])
                for t, three, p, o in zip(template, slots, place, thing, strict=True)
            ]

        return Examples.from_prompts(
            tokenizer,
            prompts(clean),
            prompts(_three_others(clean[:, :2], usable, rng)),
            candidates=tokens[np.stack([io, subject], axis=1)],
            correct=np.tile([True, False], (len(template), 1)),
            template=template,
        )


class IOIOneTemplate(IOI):
    """The first template of `IOI` alone. A prompt is in the same split in both tasks."""

    name = "ioi_t1"
    description = "indirect object identification with a single ABBA template"
    templates = (0,)


def _three_others(
    names: Int[np.ndarray, "example 2"], usable: Int[np.ndarray, " choice"], rng: np.random.Generator
) -> Int[np.ndarray, "example 3"]:
    """Three names per example, different from each other and from the two given; drawn until they are."""
    others = np.empty((len(names), 3), np.int64)
    todo = np.arange(len(names))
    while len(todo):
        others[todo] = rng.choice(usable, (len(todo), 3))
        five = np.sort(np.concatenate([names[todo], others[todo]], axis=1), axis=1)
        todo = todo[(five[:, 1:] == five[:, :-1]).any(axis=1)]
    return others
