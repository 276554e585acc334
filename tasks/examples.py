"""What a task returns: aligned pairs of a clean and a corrupted prompt, and the answers.

Checked on construction: a pair that is misaligned, identical or has no answer is an error, because
every number computed from it would be silently wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int

AT_ONCE = 2**14
"""Texts per tokenizer call: what it returns besides the ids takes more memory than they do."""


class TaskError(ValueError):
    """A task cannot be built: one line that says what is wrong and what is missing."""


class ExamplesError(TaskError):
    """Examples cannot be used: one line that says which and why; the caller names the task."""


@runtime_checkable
class Tokenizer(Protocol):
    """The part of a Hugging Face fast tokenizer that tasks use."""

    @property
    def unk_token_id(self) -> int | None: ...
    @property
    def bos_token_id(self) -> int | None: ...
    @property
    def model_max_length(self) -> int:
        """Tokens of the longest prompt that its model reads; an overestimate if it does not know."""

    def __len__(self) -> int:
        """Size of the vocabulary."""

    def __call__(self, text: list[str], *, add_special_tokens: bool = True) -> Mapping[str, Any]:
        """``{"input_ids": one list of token ids per text}``."""


@dataclass(frozen=True)
class Examples:
    """Prompt pairs as read-only arrays, padded on the right.

    Batching them and moving them to a device is up to the bench.

    Raises:
        TaskError: the arrays contradict each other, an answer position lies outside its prompt, a pair is
            identical, padding differs within a pair (lengths that differ), no candidate is correct, or all
            are in one example but not in another; the message names the first bad example.
    """

    clean: Int[np.ndarray, "example pos"]
    corrupted: Int[np.ndarray, "example pos"]
    lengths: Int[np.ndarray, " example"]
    """Tokens per prompt, the same for clean and corrupted."""
    positions: Int[np.ndarray, " example"]
    """Index of the token whose logits predict the answer."""
    candidates: Int[np.ndarray, "example candidate"]
    """Token ids to choose among; only correct ones where the task names no wrong ones."""
    correct: Bool[np.ndarray, "example candidate"]
    template: Int[np.ndarray, " example"]
    """The wording of each example: bootstrap intervals are stratified by it."""

    def __post_init__(self) -> None:
        n, width = self.clean.shape
        if n == 0:
            raise ExamplesError("no examples")
        per_example = (self.lengths, self.positions, self.template)
        if any(a.shape != (n,) for a in per_example) or len(self.candidates) != n:
            raise ExamplesError(f"clean has {n} examples, but another array has a different number")
        if self.corrupted.shape != self.clean.shape:
            raise ExamplesError(f"clean has shape {self.clean.shape}, corrupted {self.corrupted.shape}")
        if self.correct.shape != self.candidates.shape:
            raise ExamplesError(f"correct has shape {self.correct.shape}, candidates {self.candidates.shape}")
        inside = np.arange(width) < self.lengths[:, None]
        differs = self.clean != self.corrupted
        _refuse((self.lengths < 1) | (self.lengths > width), f"its length is not in 1..{width}")
        outside = (self.positions < 0) | (self.positions >= self.lengths)
        _refuse(outside, "its answer position is outside the prompt")
        longer = np.any(differs & ~inside, axis=1)
        _refuse(longer, "clean and corrupted differ in length (their padding differs)")
        _refuse(~np.any(differs & inside, axis=1), "clean and corrupted are the same")
        _refuse(np.any(self.candidates < 0, axis=1), "a candidate is not a token id")
        _refuse(~np.any(self.correct, axis=1), "no candidate is correct: the answer set is empty")
        if not self.correct.all():
            _refuse(np.all(self.correct, axis=1), "every candidate is correct: nothing to choose")
        for each in fields(self):
            shown = getattr(self, each.name).view()
            shown.flags.writeable = False
            object.__setattr__(self, each.name, shown)

    @classmethod
    def from_prompts(
        cls,
        tokenizer: Tokenizer,
        clean: Sequence[str],
        corrupted: Sequence[str],
        candidates: Int[np.ndarray, "example candidate"],
        correct: Bool[np.ndarray, "example candidate"],
        template: Int[np.ndarray, " example"],
    ) -> Examples:
        """Tokenises whole prompts; the answer follows each prompt's last token.

        Whole prompts, because a tokenizer may merge across any seam between pieces. Special tokens
        are added as the tokenizer does by default: a model used to a beginning-of-text token gets it.

        Args:
            tokenizer: the model's tokenizer.
            clean: one prompt per example.
            corrupted: as many prompts, each with as many tokens as its clean one.
            candidates: token ids, not texts.
            correct: which of them answer the clean prompt.
            template: the wording of each example.

        Raises:
            TaskError: a pair differs in length (the message quotes it), the tokenizer appends a special token
                or does not know a word, or as `Examples`.
        """
        if not len(clean):
            raise ExamplesError("no examples")
        ids, n = tokens_of(tokenizer, [*clean, *corrupted]), len(clean)
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        uneven = np.flatnonzero(lengths[:n] != lengths[n:])
        if len(uneven):
            i = int(uneven[0])
            raise ExamplesError(
                f"example {i}: clean has {lengths[i]} tokens, corrupted {lengths[n + i]}: "
                f"{clean[i]!r} / {corrupted[i]!r}"
            )
        if (unknown := unknown_of(tokenizer)) is not None:
            for i, (text, tokens) in enumerate(zip([*clean, *corrupted], ids, strict=True)):
                if unknown in tokens:
                    raise ExamplesError(
                        f"example {i % n}: it has a word that the tokenizer does not know: {text!r}"
                    )
        return cls.from_tokens(ids[:n], ids[n:], candidates, correct, template)

    @classmethod
    def from_tokens(
        cls,
        clean: Sequence[Sequence[int]],
        corrupted: Sequence[Sequence[int]],
        candidates: Int[np.ndarray, "example candidate"],
        correct: Bool[np.ndarray, "example candidate"],
        template: Int[np.ndarray, " example"],
    ) -> Examples:
        """The same for prompts that are token ids already.

        Args:
            clean: one prompt per example.
            corrupted: as many prompts, each as long as its clean one.
            candidates: token ids.
            correct: which of them answer the clean prompt.
            template: the wording of each example.

        Raises:
            TaskError: as `Examples`.
        """
        n, ids = len(clean), [*clean, *corrupted]
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        # A causal model never sees what follows the answer position, so any id of its vocabulary can pad; the
        # tokenizer's own may lie outside it, if a token was added without resizing the embedding.
        padded = np.zeros((2 * n, int(lengths.max())), np.int64)
        inside = np.arange(padded.shape[1]) < lengths[:, None]
        padded[inside] = np.fromiter(chain.from_iterable(ids), np.int64)
        return cls(padded[:n], padded[n:], lengths[:n], lengths[:n] - 1, candidates, correct, template)

    @property
    def chooses(self) -> bool:
        """Whether there are wrong candidates."""
        return not self.correct.all()

    @property
    def chance(self) -> float:
        """How often a uniform guess among the candidates is correct."""
        return float(self.correct.mean(axis=1).mean())

    def __len__(self) -> int:
        return len(self.clean)

    def shared(self, *others: Examples) -> int:
        """How many of the clean prompts also occur in other sets made with the same tokenizer."""
        theirs = {prompt for other in others for prompt in other._prompts()}
        return sum(prompt in theirs for prompt in self._prompts())

    def _prompts(self) -> Iterator[bytes]:
        """The clean prompts as bytes, without padding."""
        return (row[:n].tobytes() for row, n in zip(self.clean, self.lengths, strict=True))

    def take(self, index: slice | Int[np.ndarray, " chosen"]) -> Examples:
        """Some of the examples, by slice or by indices; the padded width stays the same."""
        return Examples(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def tokens_of(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of texts, with the special tokens that the tokenizer prepends.

    Raises:
        TaskError: it appends some.
    """
    parts = (texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE))
    ids: list[list[int]] = [each for part in parts for each in tokenizer([*part])["input_ids"]]
    if ids and ids[0] and ids[0][-1:] != tokenizer([texts[0]], add_special_tokens=False)["input_ids"][0][-1:]:
        raise ExamplesError("the tokenizer puts a special token after the prompt, where the answer belongs")
    return ids


def unknown_of(tokenizer: Tokenizer) -> int | None:
    """The id of the unknown token; None where it is also BOS, as in GPT-2, where no word maps to it."""
    unknown = tokenizer.unk_token_id
    return None if unknown == tokenizer.bos_token_id else unknown


def word_tokens(tokenizer: Tokenizer, words: Sequence[str]) -> Int[np.ndarray, " word"]:
    """The token id of each word in the middle of a sentence, or -1 where it is not a single token.

    "In the middle": after another word and a space, which GPT-2's tokenizer keeps in the token.
    The unknown token and ids that several words share count as -1 too.
    """
    ids = tokenizer(["and", *(f"and {word}" for word in words)], add_special_tokens=False)["input_ids"]
    tokens = np.array([i[-1] if i and i[:-1] == ids[0] else -1 for i in ids[1:]], np.int64)
    _, inverse, counts = np.unique(tokens, return_inverse=True, return_counts=True)
    return np.where((counts[inverse] > 1) | (tokens == unknown_of(tokenizer)), -1, tokens)


def answer_tokens(
    tokenizer: Tokenizer, before: str, answers: Sequence[str]
) -> tuple[Int[np.ndarray, " answer"], str]:
    """The first token of each answer after a prompt's last word and a space, and how the prompt must end.

    A tokenizer either keeps the space in the answer's token (the prompt then ends without it) or has a token
    for the space alone (the prompt ends with it). -1 stands for an answer whose token is unknown or merged
    with the prompt's. Answers may share their first token: the task decides whether that is allowed.

    Args:
        tokenizer: the model's tokenizer.
        before: the prompt's last word.
        answers: without the leading space.
    """
    texts = [before, f"{before} ", *(f"{before} {answer}" for answer in answers)]
    bare, spaced, *whole = tokenizer(texts, add_special_tokens=False)["input_ids"]
    apart = len(spaced) > len(bare) and all(ids[: len(spaced)] == spaced for ids in whole)
    lead, end = (spaced, " ") if apart else (bare, "")
    first = [ids[len(lead)] if ids[: len(lead)] == lead and len(ids) > len(lead) else -1 for ids in whole]
    tokens = np.array(first, np.int64)
    return np.where(tokens == unknown_of(tokenizer), -1, tokens), end


def _refuse(bad: Bool[np.ndarray, " example"], complaint: str) -> None:
    if bad.any():
        raise ExamplesError(f"example {int(np.argmax(bad))}: {complaint}")
