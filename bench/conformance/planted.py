"""A planted circuit: a model in which few edges matter, where a method should beat random circuits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from bench.conformance.attempt import attempt
from bench.conformance.problems import SIZES, TinyProblem, on_prompts
from bench.discovery.checked import as_discovery
from bench.discovery.data import Data
from bench.discovery.discover import cut
from bench.engine.masked_model import MaskedModel
from bench.models.bridge import masked_model
from bench.models.tiny import decoder
from methods.base import Problem

HEADS = {"a0.W_O": 0, "a1.W_O": 1}
"""The only head of each layer that writes anything; no MLP does."""
DRAWS = 10


@cache
def _planted() -> Data:
    model = masked_model(decoder("GPT2")).to(dtype=torch.float32)
    weights = dict(model.weights)
    for name, weight in model.weights.items():
        if name.endswith(".W_out"):
            weights[name] = torch.zeros_like(weight)
        elif name in HEADS:
            only = torch.arange(len(weight)) == HEADS[name]
            weights[name] = weight * only[:, None, None]
    return on_prompts(MaskedModel(model.architecture, weights))


PLANTED = TinyProblem("a GPT-2 in which 12 edges matter, removed edges resampled", "resample", _planted)


def beside_random(adapter: str, device: str) -> str:
    """Says of the first circuit, if any, that it is no nearer to the planted model than random ones.

    Args:
        adapter: as typed.
        device: where the model runs.

    Raises:
        ValueError, TypeError: it found nothing that can be compared.
    """
    seen = attempt(adapter, PLANTED, seed=1, device=device)
    study = PLANTED.study(device)
    if seen.error or seen.skipped:
        raise ValueError(seen.error or f"declined: {seen.skipped}")
    found = cut(study.graph, as_discovery(seen.returned, study.graph, seen.shapes, SIZES), SIZES)
    problem = study.problem(SIZES)
    drawn = [study.discover("random_edges", SIZES, method_seed=seed) for seed in range(DRAWS)]
    for size, circuit in found.items():
        own = _kl(problem, [circuit.kept])
        chance = _kl(problem, [each[size].kept for each in drawn])
        if own >= chance:
            return f"KL {own:.2g} with {len(circuit)} edges, where 12 matter; random circuits: {chance:.2g}"
    return ""


@torch.no_grad()
def _kl(problem: Problem, circuits: Sequence[Tensor]) -> float:
    """The mean KL over circuits and examples."""
    total = 0.0
    for kept in circuits:
        for batch in problem.batches:
            mask = kept.to(problem.device, problem.clean(batch).dtype)
            total += float(problem.loss("kl", problem.run(batch, mask), batch))
    return total / (len(circuits) * problem.n_examples)
