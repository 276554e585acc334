"""Runs trainings one after the other, with progress, curves and resuming."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from methods.base import Problem
from methods.training.gumbel_training import GumbelTraining
from methods.training.named_tensors import flat, under
from methods.training.training_curves import TrainingCurves


class Course:
    """Runs trainings in a fixed order; a checkpoint holds the current state and the earlier ones' results."""

    def __init__(self, problem: Problem) -> None:
        self._problem, self.curves = problem, TrainingCurves()
        self._saved = dict(problem.checkpoint.load())
        self._done: dict[str, Tensor] = {}
        self._steps = 0
        self.curves.restore(under("curve", self._saved))

    def run(self, training: GumbelTraining, name: str, shares: Mapping[str, float], steps: int = 0) -> None:
        """Trains until every size has been met, or for a number of steps; resumes where a killed run stopped.

        Args:
            training: the training to run; if it was completed before a kill, its results are restored.
            name: this training's name in the checkpoint and in progress; must be unique within the course.
            shares: shares of open gates in groups that do not train here, for the curves.
            steps: number of steps; 0 to train until every size has been met.

        Raises:
            ValueError: as `GumbelTraining.step`.
        """
        saved = under(name, self._saved)
        self._saved = {key: tensor for key, tensor in self._saved.items() if key not in flat({name: saved})}
        if "done" in saved:
            training.take(under("found", saved))
            training.steps = int(saved["done"])
        elif saved:
            training.restore(saved)
        while "done" not in saved and (training.steps < steps if steps else not training.ended):
            self._note(name, training, training.step(), shares, steps)
            self._problem.checkpoint.save(
                lambda: {**self._done, **flat({name: training.state(), "curve": self.curves.state()})}
            )
        self.curves.end_point()
        found = flat({"found": training.found()})
        self._done |= flat({name: {"done": torch.tensor(training.steps), **found}})
        self._steps += training.steps

    def _note(
        self, name: str, training: GumbelTraining, loss: float, shares: Mapping[str, float], steps: int
    ) -> None:
        opened = {group: n / training.groups[group].n_gates for group, n in training.n_open.items()}
        named = {f"{group}_open": share for group, share in {**shares, **opened}.items()}
        prices = training.prices.values()
        price = sum(price.now for price in prices)
        self.curves.add(self._steps + training.steps, loss=loss, price=price, **named)
        met, sizes = sum(price.stage for price in prices), sum(len(price.sizes) for price in prices)
        done = (training.steps, steps) if steps else (met, sizes)
        counts = ", ".join(f"{n} {group}" for group, n in training.n_open.items())
        self._problem.progress(*done, f"{name}: {counts} open, loss {loss:.3g}")
