"""What a training step of the learned ranking costs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from acdc import problem
from setting import Operations

from methods.learned_ranking import LearnedRanking
from methods.training.mask_training import MaskTraining


def step(setting: Operations) -> Callable[[], float]:
    """A step on the setting's batch, of which nothing is known from before, at one size in a hundred.

    The full model and the corrupted prompts are run in every step, as on data that never comes again.
    """
    task, method = problem(setting), LearnedRanking()
    task.memory_budget = 0
    exists, n_edges = task.graph.exists.to(task.device), task.graph.n_edges
    learnt = torch.zeros(n_edges, dtype=torch.float64, device=task.device, requires_grad=True)
    random = torch.Generator().manual_seed(0)
    training = MaskTraining(task, method.objective, task.batches, [learnt], random, method.rate, 0.999)
    return lambda: method._step(training, learnt, exists, n_edges / 100)
