"""Small problems for testing methods: random tokens, no tokenizer, no task; compiled programs as problems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from bench.conformance.prompts import batches_of
from bench.discovery.checkpoint import Checkpoint
from bench.discovery.data import program_data
from bench.discovery.problem import BenchProblem
from bench.engine.ablation import AblationName, make_reference
from bench.engine.masked_model import MaskedModel
from bench.models.tracr import load_program
from bench.names import get_program
from bench.runs.experiment import Experiment
from bench.scoring.measures import MEASURES
from bench.scoring.metrics import circuit_recovery
from bench.study import Study
from methods.base import Discovery, Method
from methods.thresholds.pruning import Pruning
from tasks.base import Examples

SMALL = Experiment(
    tasks=("gp",),
    methods=("random_edges", "eap"),
    sizes=("1%", "5%"),
    random_draws=1,
    n_discovery=(20,),
    n_evaluation=24,
    circuit_tests=False,
)
"""A run on the embedded model that takes seconds."""
CLOCKS = ("seconds", "cpu_seconds", "sized_cpu_seconds", "data_seconds", "forward_equivalents",
          "peak_memory_mb", "created")  # fmt: skip
"""Columns that differ from run to run of one job."""
BRIEF = {
    "acdc": "acdc:attempts=1,examples=4",
    "acdc_screened": "acdc_screened:attempts=1,examples=4",
    "acdc_shuffled": "acdc_shuffled:attempts=1,examples=4",
    "edge_pruning": "edge_pruning:halving=4,hold=4,settling=4,rate=0.5",
    "learned_ranking": "learned_ranking:steps=4,rate=0.5",
    "discogp": "discogp:hold=1,settling=4,rate=0.5,density=0.3,start_price=10",
}
"""Long searches and trainings, cut short: what they find is no matter here."""


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
    ablation: AblationName = "resample",
    sizes: tuple[float, ...] = (0.1, 0.5),
    seed: int = 0,
    examples: Examples | None = None,
    measure: str = "logit_diff",
    per_batch: int = 64,
    unaided: bool = True,
) -> BenchProblem:
    """What a method would be handed for random examples."""
    examples = examples or random_examples(vocab=model.architecture.d_vocab)
    return BenchProblem(
        model,
        batches_of(model, examples, per_batch),
        MEASURES[measure],
        lambda batches: make_reference(model, ablation, batches, one_length(examples)),
        sizes,
        seed,
        unaided=unaided,
    )


def program_problem(
    program: str, ablation: AblationName, seed: int = 0
) -> tuple[BenchProblem, Sequence[Tensor]]:
    """What a method is handed for a compiled program, and the true circuits."""
    pytest.importorskip("tracr")
    model = load_program(get_program(program))
    problem = Study.on(program_data(model, 256, 1), ablation).problem(method_seed=seed)
    return problem, model.truth(ablation).circuits


def recovers(method: Method, program: str, ablation: AblationName) -> bool:
    """Whether a method finds, unaided, just what is necessary in a program, by two seeds of three."""
    found = 0
    for seed in range(3):
        p, truths = program_problem(program, ablation, seed)
        kept = method.discover(p).unaided
        assert kept is not None
        found += bool(circuit_recovery(kept, truths, p.graph.exists)["exact"])
        if found == 2 or found < seed:  # one more would change nothing
            break
    return found == 2


def pruning(p: BenchProblem, **options: Any) -> Pruning:
    """ACDC's passes over all edges of a problem."""
    return Pruning(p, p.graph.exists.clone(), options.pop("objective", "kl"), **options)


def alike(one: Tensor, other: Tensor) -> bool:
    """Whether two runs of a training found the same, but for one entry in a hundred, or for two.

    Sums are rounded as kernels and places in memory have it, and training amplifies what is rounded: a gate
    that is just open may be just shut. Of two seeds' scores, a third and more differ.
    """
    apart = ((one.double() - other.double()).abs() > 1e-4) & (one != other)  # infinities are equal
    return int(apart.sum()) <= max(2, one.numel() // 100)


def assert_alike(one: Discovery, other: Discovery) -> None:
    """All that two discoveries hold is alike."""
    assert one.scores is not None
    assert other.scores is not None
    assert alike(one.scores, other.scores)
    assert one.unaided is not None
    assert other.unaided is not None
    assert alike(one.unaided, other.unaided)
    assert one.edges.keys() == other.edges.keys()
    for size, edges in one.edges.items():
        assert alike(edges, other.edges[size])
    for size, masks in one.weights.items():
        assert all(alike(mask, other.weights[size][name]) for name, mask in masks.items())


class Killer(Checkpoint):
    """A checkpoint that kills the run after so many calls."""

    left = 0

    def save(self, tensors: Callable[[], Mapping[str, Tensor]]) -> None:
        super().save(tensors)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def killed_at(call: int, method: Method, p: BenchProblem, path: Path | None) -> Discovery:
    """What a method finds with a checkpoint in a file, killed at a call of its `save`; 0 for never.

    Wanted with the fixture `saves_at_every_call`.
    """
    p.checkpoint = Killer(path, p.spent, p._charge)
    p.checkpoint.left = call
    return method.discover(p)
