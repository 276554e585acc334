"""The discovery split in small parts, drawn again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from methods.base import Batch


class Rounds:
    """Parts in random order; each comes once before one comes again.

    So a training costs what its steps do, however many examples there are.
    """

    def __init__(self, parts: Sequence[Batch], random: torch.Generator) -> None:
        """`random` is drawn from when a round begins."""
        self._parts, self._random = parts, random
        self._waiting = torch.zeros(0, dtype=torch.long)

    def next(self) -> Batch:
        """One part."""
        if not len(self._waiting):
            order = torch.randperm(len(self._parts), generator=self._random, device=self._random.device)
            self._waiting = order.cpu()
        place, self._waiting = int(self._waiting[0]), self._waiting[1:]
        return self._parts[place]

    def state(self) -> dict[str, Tensor]:
        """What is still to come in this round."""
        return {"waiting": self._waiting, "parts": torch.tensor(len(self._parts))}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on where `state` was taken, or begins a round where the batches have been cut otherwise.

        They are when another amount of memory is free.
        """
        waiting = state["waiting"]
        self._waiting = waiting if int(state["parts"]) == len(self._parts) else waiting[:0]


def parts_of(batches: Sequence[Batch], n: int) -> list[Batch]:
    """The batches cut into parts of at most n examples each, of about the same size within a batch."""
    parts = []
    for batch in batches:
        count = -(-len(batch) // n)
        cuts = [len(batch) * i // count for i in range(count + 1)]
        parts += [batch.part(*ends) for ends in pairwise(cuts)]
    return parts
