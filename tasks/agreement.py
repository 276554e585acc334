"""Subject-verb agreement: the verb agrees in number with its subject, not with a nearer noun.

"The drivers near the lamp" -> " are". The corrupted prompt has the subject in the other number (the question
of Linzen et al. 2016, arXiv:1611.01368; wordings and words are our own).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tasks.base import (
    HELD_OUT,
    Examples,
    Slot,
    Split,
    Task,
    TaskError,
    Tokenizer,
    draw,
    word_tokens,
    wording_slot,
)

_NOUNS: Final = """
    driver teacher doctor singer painter farmer writer player worker student friend guide lawyer dancer
    king baker pilot nurse reporter soldier runner trainer cook poet judge mayor clerk actor neighbor hunter
    lamp letter map coin camera ring ticket basket ball hat blanket phone bottle guitar gift pencil flag
    garden church museum office castle farm bridge kitchen temple cabin park river market school
"""
NOUNS: Final = tuple(_NOUNS.split())
"""Their plurals only add an s, except church, which is left out where "churchs" is not a token."""
WORDINGS: Final = (
    "The {subject} near the {other}",
    "Nobody knows why the {subject} behind the {other}",
    "In the picture the {subject} beside the {other}",
    "As far as we know, the {subject} with the {other}",
    "They say that the {subject} from the story about the {other}",
    "Because of the rain, the {subject} by the {other}",
    "It is clear that the {subject} next to the {other}",
    "For many years the {subject} above the {other}",
    "We were told that the {subject} on the left of the {other}",
    "Look how small the {subject} below the {other}",
    "When it gets dark, the {subject} in front of the {other}",
    "The paper says that the {subject} across from the {other}",
    "Without any doubt the {subject} around the {other}",
    "Once the sun is up, the {subject} opposite the {other}",
    "The {subject} that everybody saw before the {other}",
    "Some people think that the {subject} like the {other}",
    "Since last week the {subject} along with the {other}",
    "She asked where the {subject} for the {other}",
    "The old {subject} that came after the {other}",
    "Even without help, the {subject} against the {other}",
    "You could see that the {subject} under the {other}",
    "At the end of the day the {subject} between the road and the {other}",
    "My sister wrote that the {subject} beyond the {other}",
    "Whatever happens, the {subject} in the middle of the {other}",
    "Just as we feared, the {subject} inside the {other}",
    "If you look closely, the {subject} on top of the {other}",
    "People often forget that the {subject} outside the {other}",
    "On the other side, the {subject} close to the {other}",
)


class Agreement(Task):
    """Candidates are [" is", " are"].

    The corrupted prompt of one example could be the clean prompt of another, so the subject's number does not
    decide the split: both numbers are in the same one.
    """

    name = "agreement"
    version = 1
    description = "subject-verb agreement across another noun: is or are"
    citation = """@article{linzen2016assessing,
  title={Assessing the Ability of {LSTMs} to Learn Syntax-Sensitive Dependencies},
  author={Linzen, Tal and Dupoux, Emmanuel and Goldberg, Yoav},
  journal={Transactions of the Association for Computational Linguistics},
  volume={4},
  year={2016},
  note={arXiv:1611.01368}
}"""
    held_out = HELD_OUT

    def examples(self, tokenizer: Tokenizer, split: Split, n: int, seed: int) -> Examples:
        """See `Task.examples`. Nouns that are not one token in both numbers are left out."""
        numbers = [word_tokens(tokenizer, [f"{noun}{ending}" for noun in NOUNS]) for ending in ("", "s")]
        usable = np.flatnonzero((numbers[0] >= 0) & (numbers[1] >= 0))
        verbs = word_tokens(tokenizer, ("is", "are"))
        if (verbs < 0).any() or len(usable) < 2:
            raise TaskError(
                f"task {self.name} needs is, are and nouns that are one token in both numbers: "
                f"this tokenizer has {(verbs >= 0).sum()} of 2 verbs and {len(usable)} of {len(NOUNS)} nouns"
            )
        first, second = (side.ravel() for side in np.meshgrid(usable, usable, indexing="ij"))
        pairs = (first * len(NOUNS) + second)[first != second]
        slots = [Slot(len(NOUNS) ** 2, pairs), Slot.whole(2), Slot(2, np.arange(2), alike=2)]
        template, pair, others, plural = draw(wording_slot(split), slots, split, n, seed)
        subject, other = np.divmod(pair, len(NOUNS))

        def prompts(plurals: np.ndarray) -> list[str]:
            return [
                WORDINGS[t].format(subject=NOUNS[s] + "s" * int(p), other=NOUNS[o] + "s" * int(q))
                for t, s, p, o, q in zip(template, subject, plurals, other, others, strict=True)
            ]

        return Examples.from_prompts(
            tokenizer,
            prompts(plural),
            prompts(1 - plural),
            candidates=np.tile(verbs, (len(plural), 1)),
            correct=np.stack([plural == 0, plural == 1], axis=1),
            template=template,
        )
