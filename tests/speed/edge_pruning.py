"""What a training step of Edge Pruning costs."""

from __future__ import annotations

from collections.abc import Callable

from acdc import problem
from setting import Operations

from methods.training.gate_training import GateTraining


def step(setting: Operations) -> Callable[[], tuple[float, float]]:
    """A step on the setting's batch, of which nothing is known from before.

    The full model and the corrupted prompts are run in every step, as on data that never comes again.
    """
    task = problem(setting)
    task.memory_budget = 0
    training = GateTraining(task, "kl", task.batches, start=2.0, rate=0.1, memory=0.95)
    return lambda: training.step(lambda loss, n_open: 1e-3 * n_open)
