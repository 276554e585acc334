"""Small problems for testing methods: random tokens, no tokenizer, no task."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

from bench.ablation import Ablation
from bench.checkpoint import Checkpoint
from bench.masked_model import MaskedModel
from bench.problem import BenchProblem, make_batches, make_reference
from tasks.base import Examples


def random_examples(n: int = 6, pos: int = 7, vocab: int = 50, seed: int = 0) -> Examples:
    """Random prompts; two candidates, the first correct; the corrupted prompt is another random one."""
    rng = np.random.default_rng(seed)
    candidates = np.stack([rng.permutation(vocab)[:2] for _ in range(n)])
    return Examples(
        clean=rng.integers(vocab, size=(n, pos)),
        corrupted=rng.integers(vocab, size=(n, pos)),
        lengths=np.full(n, pos),
        positions=np.full(n, pos - 1),
        candidates=candidates,
        correct=np.tile(np.array([True, False]), (n, 1)),
        template=np.arange(n) % 2,
    )


def one_length(examples: Examples) -> bool:
    """Whether all prompts are as long."""
    return bool((examples.lengths == examples.lengths[0]).all())


def problem(
    model: MaskedModel,
    ablation: Ablation = "resample",
    sizes: tuple[float, ...] = (0.1, 0.5),
    seed: int = 0,
    examples: Examples | None = None,
    measure: str = "logit_diff",
) -> BenchProblem:
    """What a method would be handed for random examples."""
    examples = examples or random_examples(vocab=model.architecture.d_vocab)
    return BenchProblem(
        model,
        make_batches(model, examples),
        measure,
        lambda batches: make_reference(model, ablation, batches, one_length(examples)),
        sizes,
        seed,
    )


class Killer(Checkpoint):
    """A checkpoint that kills the run after so many calls."""

    left = 0

    def save(self, tensors: Callable[[], Mapping[str, Tensor]]) -> None:
        super().save(tensors)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
