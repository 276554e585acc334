"""Gendered pronoun: "he" or "she", from a first name.

"As far as we know Sarah is a kind driver, isn't" -> " she". The corrupted prompt has a name of the
other gender, so its answer is the opposite one (Mathwin et al. 2023). Wordings are our own; the task
asks what a model of English text predicts, not what anyone's pronoun is.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Int

from tasks.base import (
    HELD_OUT,
    Examples,
    Slot,
    Split,
    Task,
    TaskError,
    Tokenizer,
    draw,
    generator,
    word_tokens,
    wording_slot,
)
from tasks.words import ADJECTIVES, FEMALE_NAMES, MALE_NAMES, OCCUPATIONS

NAMES: Final = MALE_NAMES + FEMALE_NAMES
WORDINGS: Final = (
    "As far as we know {name} is a {adjective} {occupation}, isn't",
    "We all think that {name} was a {adjective} {occupation}, wasn't",
    "They hired {name}, a {adjective} {occupation}, because",
    "In the end {name} became a {adjective} {occupation}, didn't",
    "People trust {name}, the {adjective} {occupation}, and say that",
    "Surely {name} will make a {adjective} {occupation}, won't",
    "The {adjective} {occupation} at the door was {name}, and on the table lay the parcel that",
    "When the {occupation} called, {name} was too {adjective} to answer; at least that is what",
    "If you ever meet {name}, ask about the years as a {occupation} and the {adjective} people that",
    "Everybody likes {name} for being {adjective}, and nobody was surprised to hear that as a {occupation}",
    "The report says little about {name}: a {occupation} by trade, {adjective} by nature, and most evenings",
    "There was a {adjective} old {occupation} in our street who was called {name}, and every day",
    "Nobody forgets {name}, a {adjective} {occupation}, since",
    "Right after they thanked {name}, the {adjective} {occupation},",
    "To many people {name} looks like a {adjective} {occupation}, doesn't",
    "Even {name}, a {adjective} {occupation}, admitted that",
    "Once a {adjective} {occupation}, {name} now lives by the sea, where",
    "We wanted a {occupation} and found {name}, who was {adjective} but not cheap, and in the first week",
    "Of all the {adjective} people in the town, only {name} had been a {occupation} before",
    "Not every {occupation} is as {adjective} as {name}, who tells everyone what",
    "The talk with {name} was short, because a {adjective} {occupation} has little time, and so",
    "You could tell from the way {name} talked that a {adjective} {occupation} was all that",
    "Last night {name} dreamed of being a {adjective} {occupation}, and in that dream",
    "Whatever the {occupation} said, {name} stayed {adjective}, as if",
    "People say that {name} is a {adjective} {occupation}, but at the end of the day",
    "The {adjective} {occupation} in the report was {name}, and as far as we know",
    "Because {name} was once a {occupation}, nobody was surprised by the {adjective} way in which",
    "If a {occupation} is as {adjective} as {name}, we know what",
)
"""The last four are never trained on."""


class GenderedPronoun(Task):
    """Candidates are [" he", " she"].

    The corrupted prompt of one example could be the clean prompt of another, so the name does not
    decide the split: all prompts that differ in the name alone are in one split.
    """

    name = "gp"
    version = 2
    description = "gendered pronoun: he or she after a first name"
    citation = """@misc{mathwin2023identifying,
  title={Identifying a Preliminary Circuit for Predicting Gendered Pronouns in {GPT-2} Small},
  author={Mathwin, Chris and Corlouer, Guillaume and Kran, Esben and Barez, Fazl and Nanda, Neel},
  year={2023},
  howpublished={Apart Research Alignment Jam}
}"""
    held_out = HELD_OUT

    def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
        """See `Task.examples`. Names that are not one token are left out."""
        usable = np.flatnonzero(word_tokens(tokenizer, NAMES) >= 0)
        pronouns = word_tokens(tokenizer, ("he", "she"))
        men, women = usable[usable < len(MALE_NAMES)], usable[usable >= len(MALE_NAMES)]
        if not len(men) or not len(women) or (pronouns < 0).any():
            raise TaskError(
                f"task {self.name} needs he, she and names of both genders that are one token each: "
                f"this tokenizer has {(pronouns >= 0).sum()} of 2 pronouns, {len(men)} male and "
                f"{len(women)} female names"
            )
        template, adjective, occupation, name = draw(
            wording_slot(split),
            [
                Slot.whole(len(ADJECTIVES)),
                Slot.whole(len(OCCUPATIONS)),
                Slot(len(NAMES), usable, alike=len(NAMES)),
            ],
            split, n, seed,
        )  # fmt: skip
        female, rng = name >= len(MALE_NAMES), generator(split, seed)

        def prompts(names: Int[np.ndarray, " example"]) -> list[str]:
            return [
                WORDINGS[t].format(name=NAMES[i], adjective=ADJECTIVES[a], occupation=OCCUPATIONS[o])
                for t, i, a, o in zip(template, names, adjective, occupation, strict=True)
            ]

        return Examples.from_prompts(
            tokenizer,
            prompts(name),
            prompts(np.where(female, rng.choice(men, len(name)), rng.choice(women, len(name)))),
            candidates=np.tile(pronouns, (len(name), 1)),
            correct=np.stack([~female, female], axis=1),
            template=template,
        )
