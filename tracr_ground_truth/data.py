"""A program's data set: all its inputs if they are few, otherwise a seeded sample; and pairs of them."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Int

from tracr_ground_truth.program import Program, ProgramError, Value

MAX_INPUTS = 512
"""Up to this many inputs, all are used."""
MAX_PAIRS = 1024
"""Up to this many pairs of inputs, all are used."""


def inputs(program: Program) -> list[tuple[Value, ...]]:
    """The data set: every sequence over the vocabulary in the program's lengths, or a sample of them.

    A sample takes equally many of each length, or all where there are fewer.
    """
    sizes = {n: len(program.vocabulary) ** n for n in program.lengths}
    if sum(sizes.values()) <= MAX_INPUTS:
        return [s for n in program.lengths for s in itertools.product(program.vocabulary, repeat=n)]
    rng = np.random.default_rng(0)
    chosen: list[tuple[Value, ...]] = []
    share = MAX_INPUTS // len(sizes)
    for n, size in sizes.items():
        drawn: set[tuple[int, ...]] = set()
        while len(drawn) < min(share, size):
            drawn.add(tuple(rng.integers(len(program.vocabulary), size=n).tolist()))
        chosen += [tuple(program.vocabulary[i] for i in row) for row in sorted(drawn)]
    return chosen


def pairs(
    lengths: Int[np.ndarray, " inputs"], limit: int, seed: int = 0
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Indices of (clean, corrupted) inputs of equal length, never an input with itself.

    Args:
        lengths: the length of each input.
        limit: all ordered pairs if there are at most this many; otherwise this many, drawn so that every
            input that has a partner is clean equally often (to within one).
        seed: of the draw.

    Raises:
        ProgramError: no two inputs have the same length.
    """
    rng = np.random.default_rng(seed)
    partners = [
        np.flatnonzero((lengths == n) & (np.arange(len(lengths)) != i)) for i, n in enumerate(lengths)
    ]
    counts = np.array([len(p) for p in partners])
    if not counts.any():
        raise ProgramError("no two inputs have the same length: give the program more tokens or lengths")
    if counts.sum() <= limit:
        return np.repeat(np.arange(len(lengths)), counts), np.concatenate(partners)
    paired = rng.permutation(np.flatnonzero(counts))
    clean = np.resize(paired, limit)
    corrupted = np.array([partners[i][rng.integers(counts[i])] for i in clean])
    return clean, corrupted
