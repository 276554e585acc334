"""Lines of a file -> token ids, if they fit the tokenizer; otherwise the reason why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.examples import Tokenizer, tokens_of, unknown_of
from tasks.files.formats import shortened
from tasks.files.lines import Answer, Line, Text

Kind = Literal[
    "unequal lengths", "same tokens", "too long", "unknown word", "unknown answer", "merged answer",
    "answers alike",
]  # fmt: skip
"""Why a line cannot be used."""


@dataclass(frozen=True)
class Fitted:
    """A line as token ids."""

    line: Line
    clean: Sequence[int]
    corrupted: Sequence[int]
    """As long as the clean one."""
    answers: tuple[int, ...]
    """The first token of each answer."""
    wrong: tuple[int, ...]
    several: bool
    """Whether any of these is the first of several tokens of an answer."""


@dataclass(frozen=True)
class Unfit:
    """A line that cannot be used, and why."""

    line: Line
    kind: Kind
    reason: str


class _Refused(Exception):
    """Kind and reason."""


def fit(tokenizer: Tokenizer, lines: Sequence[Line]) -> tuple[list[Fitted], list[Unfit]]:
    """The lines that can be used, and those that cannot, each in order.

    An answer is what follows the prompt when both are tokenised as one text. Its first token
    represents it, unless another answer of the line begins with the same.

    Raises:
        TaskError: the tokenizer appends special tokens to texts.
    """
    fitted: list[Fitted] = []
    unfit: list[Unfit] = []
    ids = _Ids(tokenizer, lines)
    for line in lines:
        try:
            fitted.append(_fitted(tokenizer, ids, line))
        except _Refused as error:
            unfit.append(Unfit(line, *error.args))
    return fitted, unfit


class _Ids:
    """Token ids of all texts of some lines, tokenised together."""

    def __init__(self, tokenizer: Tokenizer, lines: Sequence[Line]) -> None:
        whole = list(dict.fromkeys(text for line in lines for text in _texts(line)))
        bare = [
            a for line in lines if not isinstance(line.clean, str) for a in _all(line) if isinstance(a, str)
        ]
        bare = list(dict.fromkeys(bare))
        self._whole = dict(zip(whole, tokens_of(tokenizer, whole), strict=True))
        alone: list[list[int]] = tokenizer(bare, add_special_tokens=False)["input_ids"] if bare else []
        self._bare = dict(zip(bare, alone, strict=True))

    def prompt(self, text: Text) -> Sequence[int]:
        """Token ids of a prompt."""
        return self._whole[text] if isinstance(text, str) else text

    def answer(self, prompt: Text, answer: Answer) -> Sequence[int]:
        """Token ids of an answer after a prompt; empty where the tokenizer merges the two."""
        if isinstance(answer, int):
            return [answer]
        if not isinstance(prompt, str):
            return self._bare[answer]
        before, both = self._whole[prompt], self._whole[prompt + answer]
        return both[len(before) :] if both[: len(before)] == before else []


def _all(line: Line) -> tuple[Answer, ...]:
    return (*line.answers, *line.wrong)


def _texts(line: Line) -> Iterator[str]:
    if isinstance(line.clean, str) and isinstance(line.corrupted, str):
        yield from (line.clean, line.corrupted)
        yield from (line.clean + answer for answer in _all(line) if isinstance(answer, str))


def _fitted(tokenizer: Tokenizer, ids: _Ids, line: Line) -> Fitted:
    clean, corrupted = ids.prompt(line.clean), ids.prompt(line.corrupted)
    quoted = f"{shortened(line.clean)} / {shortened(line.corrupted)}"
    if not (len(clean) and len(corrupted)):
        raise _Refused("unknown word", f"one of its prompts has no tokens: {quoted}")
    size, largest = len(tokenizer), max([*clean, *corrupted])
    if largest >= size:
        raise _Refused("unknown word", f"its token {largest} is outside the tokenizer's vocabulary of {size}")
    if unknown_of(tokenizer) in {*clean, *corrupted}:
        raise _Refused("unknown word", f"it has a word that the tokenizer does not know: {quoted}")
    if len(clean) != len(corrupted):
        reason = f"clean has {len(clean)} tokens, corrupted {len(corrupted)}: {quoted}"
        raise _Refused("unequal lengths", reason)
    if [*clean] == [*corrupted]:
        raise _Refused("same tokens", f"clean and corrupted have the same tokens: {quoted}")
    if len(clean) > (most := tokenizer.model_max_length):
        raise _Refused("too long", f"it has {len(clean):,} tokens, but the model reads {most:,}: {quoted}")
    firsts: dict[int, Answer] = {}
    several = False
    for answer in _all(line):
        tokens, told = ids.answer(line.clean, answer), shortened(answer)
        if not tokens:
            raise _Refused(
                "merged answer",
                f"the tokenizer merges the answer {told} with the prompt's end: the space between them "
                "belongs to the answer",
            )
        if tokens[0] >= size or tokens[0] == unknown_of(tokenizer):
            raise _Refused("unknown answer", f"the answer {told} is not in the tokenizer's vocabulary")
        other = firsts.setdefault(tokens[0], answer)
        if other != answer:
            both = f"the answers {shortened(other)} and {told}"
            raise _Refused("answers alike", f"{both} begin with the same token, which cannot tell them apart")
        several = several or len(tokens) > 1
    right = len(line.answers)
    return Fitted(line, clean, corrupted, tuple(firsts)[:right], tuple(firsts)[right:], several)
