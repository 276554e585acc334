"""Running one method within another: the same problem, with a checkpoint of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from methods.base import Problem
from methods.training.named_tensors import flat


def within(
    problem: Problem, name: str, saved: Mapping[str, Tensor], beside: Mapping[str, Mapping[str, Tensor]]
) -> Problem:
    """The problem for an inner method that another method runs: its work is charged to the same job, and its
    state is saved in the same checkpoint, under a name.

    Args:
        problem: the outer method's problem.
        name: name under which the inner method's state is saved.
        saved: that state as loaded from the checkpoint; empty on a first run.
        beside: what else the checkpoint has to keep meanwhile, by name.
    """
    return cast(Problem, _Within(problem, _Checkpoint(problem, name, saved, dict(beside))))


class _Within:
    def __init__(self, problem: Problem, checkpoint: _Checkpoint) -> None:
        self._problem, self.checkpoint = problem, checkpoint

    @property
    def unaided(self) -> bool:
        """Read without marking the time, since the inner method's whole cost counts for the outer one."""
        return self._problem.wants_unaided

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)


@dataclass
class _Checkpoint:
    problem: Problem
    name: str
    saved: Mapping[str, Tensor]
    beside: Mapping[str, Mapping[str, Tensor]]

    def load(self) -> Mapping[str, Tensor]:
        return self.saved

    def save(self, tensors: Callable[[], Mapping[str, Tensor]]) -> None:
        self.problem.checkpoint.save(lambda: flat({**self.beside, self.name: tensors()}))
