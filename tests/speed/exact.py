"""What removing each edge alone costs: some receivers' edges, spread evenly over all edges."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from acdc import problem
from setting import Operations


def some_rows(setting: Operations, n_rows: int, before_each: Callable[[], None]) -> tuple[float, int]:
    """Seconds and edges of some receivers; `before_each` is not counted.

    Args:
        setting: the model and the prompts.
        n_rows: receivers.
        before_each: called before every one.
    """
    exists, task = setting.graph.exists, problem(setting)
    rows = torch.arange(len(exists)).repeat_interleave(setting.graph.widths)
    (batch,) = task.batches
    task.clean(batch)
    task.losses_without_each("kl", batch, exists, len(exists) - 1, [0])
    # now the run stands, as it does from then on
    seconds, edges = 0.0, 0
    for row in rows[(torch.arange(n_rows) + 0.5).mul(len(rows) / n_rows).long()].tolist():
        columns = exists[row].nonzero()[:, 0].tolist()
        before_each()
        started = time.perf_counter()
        task.losses_without_each("kl", batch, exists, row, columns)
        seconds += time.perf_counter() - started
        edges += len(columns)
    return seconds, edges
