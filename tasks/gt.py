"""Greater than: a span of years cannot end before it begins.

"The truce went on from the year 1732 to the year 17" -> any of "33" to "99". The corrupted prompt
begins in a year that ends in 01, below nearly every other ending (Hanna et al. 2023, arXiv:2305.00586).
Wordings are our own. With a tokenizer that splits years into digits (Llama's, SmolLM2's) the answer is the
tens digit alone: "17" -> any of "4" to "9", against "0" to "2"; a "3" could be right or wrong.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Bool, Int

from tasks.base import HELD_OUT, Examples, Slot, Split, Task, TaskError, Tokenizer, draw, wording_slot
from tasks.words import EVENTS

WORDINGS: Final = (
    "The {event} went on from the year {start} to the year {century}",
    "The {event} began in the year {start} and came to its end in the year {century}",
    "Records show that the {event} took place from {start} until {century}",
    "Two generations lived through the {event}, which started in {start} and stopped in {century}",
    "In {start} nobody expected the {event} to last until {century}",
    "Having begun in {start}, the {event} did not end before {century}",
    "A stone by the road reads: {event}, {start} to {century}",
    "My grandfather wrote a long book about the {event} of {start} to {century}",
    "The first year of the {event} was {start}, and the last year was {century}",
    "Whoever was born in {start}, when the {event} broke out, was grown up at its end in {century}",
    "Some say the {event} was short, but it ran from {start} all the way to {century}",
    "It was in {start} that the {event} started, and it was over in {century}",
    "For years after {start} the {event} went on, and it only stopped in {century}",
    "The museum has letters from the time of the {event}, written from {start} up to {century}",
    "They say that the {event} came to the valley in {start} and left it again in {century}",
    "Historians date the {event} from {start} to about {century}",
    "Because the {event} had started in {start}, few people were surprised when it ended in {century}",
    "Nothing was ever as long as the {event} that lasted from {start} to {century}",
    "The town suffered under the {event} from the spring of {start} to the autumn of {century}",
    "Announced in {start}, the {event} was finally over in {century}",
    "Of the {event} we know two dates: it began in {start} and it finished in {century}",
    "When the old king died in {start} the {event} started, and peace came in {century}",
    "What the people called the {event} lasted from {start} to {century}",
    "The {event} is described in a diary that was kept from {start} to {century}",
    "Nobody was surprised when the {event} that began in {start} finally ended in {century}",
    "The first letters about the {event} were written in {start}, and the last in {century}",
    "In the valley they say that the {event} of {start} went on until {century}",
    "Some people lived through the {event} all the way from {start} up to the spring of {century}",
)
"""The last four are never trained on."""
CENTURIES: Final = range(11, 18)
"""First two digits of the years."""
START_YEARS: Final = range(2, 99)
"""Last two digits of the first year: at least one year is above; 01 is for the corrupted prompt."""


class GreaterThan(Task):
    """Candidates are the hundred two-digit tokens; those above the first year are correct.

    Where years are split into digits, they are the nine digits other than the first year's tens.
    """

    name = "gt"
    version = 2
    description = "greater than: the last two digits of a year after the one named first"
    citation = """@inproceedings{hanna2023how,
  title={How does {GPT-2} compute greater-than?: Interpreting mathematical abilities
    in a pre-trained language model},
  author={Hanna, Michael and Liu, Ollie and Variengien, Alexandre},
  booktitle={Advances in Neural Information Processing Systems},
  year={2023},
  url={https://arxiv.org/abs/2305.00586}
}"""
    measure = "prob_diff"
    held_out = HELD_OUT

    def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
        """See `Task.examples`. Years that the tokenizer splits in neither way are left out."""
        pairs, usable = _year_tokens(tokenizer)
        tens = _digit_tokens(tokenizer)
        by_pairs = [100 * c + y for c in CENTURIES for y in START_YEARS if usable[c, y] and usable[c, 1]]
        if by_pairs and (pairs >= 0).all() and len(set(pairs)) == 100:
            years = by_pairs
        elif (tens >= 0).all() and len(set(tens)) == 10:
            years = [100 * c + y for c in CENTURIES for y in range(10, 90)]  # some tens above, some below
        else:
            raise TaskError(
                f"task {self.name} needs years that are two tokens, as in [ 17][32], and a token of its own "
                f"for each of 00 to 99, or years of single digits: this tokenizer has {len(by_pairs)} such "
                f"years and {(pairs >= 0).sum()} such tokens"
            )
        others = [Slot.whole(len(EVENTS)), Slot(10_000, np.array(years))]
        template, event, year = draw(wording_slot(split), others, split, n, seed)

        def prompts(starts: Int[np.ndarray, " example"]) -> list[str]:
            return [
                WORDINGS[t].format(event=EVENTS[e], start=start, century=start // 100)
                for t, e, start in zip(template, event, starts, strict=True)
            ]

        candidates = np.tile(pairs, (len(year), 1))
        correct = np.arange(100) > (year % 100)[:, None]
        if years is not by_pairs:
            first = year // 10 % 10
            digits = np.stack([np.delete(np.arange(10), d) for d in first])
            candidates, correct = tens[digits], digits > first[:, None]
        return Examples.from_prompts(
            tokenizer, prompts(year), prompts(year // 100 * 100 + 1), candidates, correct, template
        )


def _digit_tokens(tokenizer: Tokenizer) -> Int[np.ndarray, " 10"]:
    """The token of each digit right after a century; -1 where years do not split into century, tens, ones."""
    texts = ["in 17", *(f"in 17{tens}{ones}" for tens in range(10) for ones in range(10))]
    century, *years = tokenizer(texts, add_special_tokens=False)["input_ids"]
    tokens = np.full(10, -1, np.int64)
    for i, year in enumerate(years):
        if year[:-2] == century and tokenizer.unk_token_id not in year[-2:]:
            tokens[i // 10] = year[-2]
    return tokens


def _year_tokens(tokenizer: Tokenizer) -> tuple[Int[np.ndarray, " 100"], Bool[np.ndarray, "100 100"]]:
    """The token of each two digits right after a century (-1: none or several), and which years split so.

    All years from 1000 to 9999 are tried: GPT-2 has one token for 1700, but not for 4700, which
    shows what "00" is after a century.
    """
    centuries, texts = range(10, 100), [f"in {year}" for year in range(1000, 10_000)]
    ids = tokenizer([*(f"in {c}" for c in centuries), *texts], add_special_tokens=False)["input_ids"]
    alone, whole = ids[: len(centuries)], ids[len(centuries) :]
    second = np.full((100, 100), -1, np.int64)
    for year, tokens in enumerate(whole, start=1000):
        if tokens[:-1] == alone[year // 100 - 10] and tokens[-1] != tokenizer.unk_token_id:
            second[year // 100, year % 100] = tokens[-1]
    top = second.max(axis=0)
    agree = ((second == top) | (second < 0)).all(axis=0)
    return np.where(agree, top, -1), second >= 0
