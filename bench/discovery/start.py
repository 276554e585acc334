"""How prompts begin: with or without the tokenizer's BOS, and never with two."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bench.errors import UsageError
from bench.store.record import Bos
from tasks.base import Examples, Tokenizer

BEGINS: Final = {True: "BOS", False: "no BOS"}
"""How records describe the start of prompts."""


def started(examples: Examples, tokenizer: Tokenizer, bos: Bos) -> Examples:
    """Examples that begin with or without BOS as requested, clean and corrupted alike.

    Under auto they begin as the tokenizer has them, but several BOS become one, as when a text spells out
    the BOS that the tokenizer adds anyway.

    Args:
        examples: as a task made them.
        tokenizer: the model's.
        bos: auto, yes or no.

    Raises:
        UsageError: a BOS is to be added or removed, but the tokenizer has none.
        TaskError: nothing is left of a prompt, or a pair no longer has one length.
    """
    token = tokenizer.bos_token_id
    if token is None:
        if bos != "auto":
            raise UsageError("the model's tokenizer has no BOS: leave --bos out")
        return examples
    sides = [
        [row[:n].tolist() for row, n in zip(side, examples.lengths, strict=True)]
        for side in (examples.clean, examples.corrupted)
    ]
    clean, corrupted = ([_begun(row, token, bos) for row in side] for side in sides)
    if sides == [clean, corrupted]:
        return examples
    made = Examples.from_tokens(clean, corrupted, examples.candidates, examples.correct, examples.template)
    return replace(made, positions=examples.positions + made.lengths - examples.lengths)


def begins_with_bos(examples: Examples, tokenizer: Tokenizer) -> bool:
    """Whether all clean prompts do."""
    return tokenizer.bos_token_id is not None and bool((examples.clean[:, 0] == tokenizer.bos_token_id).all())


def _begun(row: list[int], token: int, bos: Bos) -> list[int]:
    leading = next((i for i, other in enumerate(row) if other != token), len(row))
    wanted = min(leading, 1) if bos == "auto" else int(bos == "yes")
    return [token] * wanted + row[leading:]
