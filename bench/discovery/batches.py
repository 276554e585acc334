"""Examples of a task -> batches of tensors on the model's device."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.engine.device import batch_bytes
from bench.engine.masked_model import MaskedModel
from bench.engine.memory import refuse_too_little
from methods.base import Batch
from tasks.base import Examples


def make_batches(model: MaskedModel, examples: Examples, smaller: int = 1) -> list[Batch]:
    """Examples as batches of tensors, in order.

    Args:
        model: the model that will read them.
        examples: at least one.
        smaller: each batch holds this many times fewer examples than `device.batch_bytes` allows.

    Raises:
        ModelError: the GPU has too little memory for a single example.
    """
    refuse_too_little(model.architecture, examples.clean.shape[1], model.dtype.itemsize, model.device)
    graph, width = model.graph, model.architecture.d_model
    floats = (2 * len(graph.senders) + 2 * len(graph.receivers)) * examples.clean.shape[1] * width
    size = min(64, batch_bytes(model.device) // (model.dtype.itemsize * floats))
    size = max(1, size // smaller)
    return [
        _batch(model, examples.take(slice(start, start + size))) for start in range(0, len(examples), size)
    ]


def _batch(model: MaskedModel, examples: Examples) -> Batch:
    longest = int(examples.lengths.max())

    def tensor(array: object) -> Tensor:
        return torch.tensor(array, device=model.device)  # a copy: the examples' arrays are read-only

    return Batch(
        clean=tensor(examples.clean[:, :longest]),
        corrupted=tensor(examples.corrupted[:, :longest]),
        lengths=tensor(examples.lengths),
        examples=torch.arange(len(examples), device=model.device),
        positions=tensor(examples.positions),
        candidates=tensor(examples.candidates),
        correct=tensor(examples.correct),
    )
