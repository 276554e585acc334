"""What a training step of DiscoGP costs, of weight gates and of edge gates, without the complement's pass."""

from __future__ import annotations

from collections.abc import Callable

from acdc import problem
from setting import Operations

from methods.discogp import DiscoGP


def step(setting: Operations, group: str) -> Callable[[], float]:
    """A step on the setting's batch under zero ablation, as its authors train."""
    task = problem(setting, "zero")
    training = DiscoGP(complement=0.0)._training(task, task.batches, [group], [1], {})
    return training.step
