"""Random prompts of several lengths, in batches: no tokenizer, no task."""

from __future__ import annotations

import numpy as np

from bench.discovery.batches import make_batches
from bench.engine.masked_model import MaskedModel
from methods.base import Batch
from tasks.base import Examples


def ragged_examples(n: int, vocab: int, candidates: int = 2, seed: int = 0) -> Examples:
    """Random prompts of 3 to 7 tokens, padded on the right with tokens that differ from prompt to prompt.

    Args:
        n: the number of prompts.
        vocab: the number of tokens to draw from.
        candidates: how many each prompt has; some of them are correct.
        seed: the seed of the draw.
    """
    rng = np.random.default_rng(seed)
    lengths = 3 + np.arange(n) * 3 % 5
    clean, corrupted = rng.integers(vocab, size=(2, n, 7))
    padding = np.arange(7) >= lengths[:, None]
    correct = np.arange(candidates) <= np.arange(n)[:, None] % (candidates - 1)
    return Examples(
        clean=clean,
        corrupted=np.where(padding, clean, corrupted),
        lengths=lengths,
        positions=lengths - 1,
        candidates=np.stack([rng.permutation(vocab)[:candidates] for _ in range(n)]),
        correct=correct,
        template=np.arange(n) % 3,
    )


def batches_of(model: MaskedModel, examples: Examples, size: int) -> list[Batch]:
    """Batches of `size` examples; the last one has the rest.

    Args:
        model: the model that will run them.
        examples: taken in order.
        size: examples per batch.
    """
    cuts = range(0, len(examples), size)
    return [b for start in cuts for b in make_batches(model, examples.take(slice(start, start + size)))]
