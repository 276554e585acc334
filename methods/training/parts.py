"""The discovery prompts in small parts, drawn in repeated rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from methods.base import Batch


class Rounds:
    """Parts in random order; each comes once before any comes again.

    So the cost of a training depends on its steps only, not on the number of examples.
    """

    def __init__(self, parts: Sequence[Batch], random: torch.Generator) -> None:
        """`random` is drawn from at the start of each round."""
        self._parts, self._random = parts, random
        self._waiting = torch.zeros(0, dtype=torch.long)

    def next(self) -> Batch:
        """The next part."""
        if not len(self._waiting):
            order = torch.randperm(len(self._parts), generator=self._random, device=self._random.device)
            self._waiting = order.cpu()
        place, self._waiting = int(self._waiting[0]), self._waiting[1:]
        return self._parts[place]

    def state(self) -> dict[str, Tensor]:
        """The parts still to come in this round."""
        return {"waiting": self._waiting, "parts": torch.tensor(len(self._parts))}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Resumes from `state`, or starts a new round if the batches have been split differently.

        This happens when a different amount of memory is free.
        """
        waiting = state["waiting"]
        self._waiting = waiting if int(state["parts"]) == len(self._parts) else waiting[:0]


def parts_of(batches: Sequence[Batch], n: int) -> list[Batch]:
    """The batches cut into parts of at most n examples each, about equally large within a batch."""
    parts = []
    for batch in batches:
        count = -(-len(batch) // n)
        cuts = [len(batch) * i // count for i in range(count + 1)]
        parts += [batch.part(*ends) for ends in pairwise(cuts)]
    return parts
