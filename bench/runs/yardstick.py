"""Times plain forwards while a method runs: the unit of a cost that a busy machine hardly changes."""

from __future__ import annotations

import statistics
import time

import torch

from bench.study import Study

EVERY = 5.0
"""Minimum seconds between two measurements during a discovery."""
SHARE_OF_TIME = 0.05
"""Share of time that measuring may take: a forward of a large model may be long."""
AROUND = 3
"""Measurements before a discovery, and after one that took at least `EVERY` seconds."""


class Yardstick:
    """The median time of plain forwards of the discovery prompts, before, during and after a discovery.

    A busy or throttled machine slows both down, so that their ratio stays. The time that measuring takes is
    recorded, so that it is not charged to the method.

    Args:
        study: its model and prompts are run.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._device = study.model.device
        self._clock = time.process_time if self._device.type == "cpu" else time.perf_counter
        self._forward()  # the first one takes longer
        self._times = [self._forward() for _ in range(AROUND)]

    def begin(self) -> None:
        """Starts a discovery; several short ones share the measurements before the first."""
        self.seconds = self.cpu_seconds = 0.0
        """Time of measurements within the discovery."""
        self._began = time.perf_counter()
        self._due = self._began + EVERY

    def look(self) -> None:
        """Measures within a discovery, if it is due."""
        if (began := time.perf_counter()) >= self._due:
            cpu = time.process_time()
            self._times.append(self._forward())
            self.cpu_seconds += time.process_time() - cpu
            ended = time.perf_counter()
            self.seconds += ended - began
            self._due = ended + max(EVERY, (ended - began) / SHARE_OF_TIME)

    def end(self) -> None:
        """Ends a discovery; measures again after a long one."""
        if time.perf_counter() - self._began >= EVERY:
            self._times += [self._forward() for _ in range(AROUND)]

    @property
    def plain(self) -> float:
        """Median seconds of a plain forward of the discovery prompts: CPU time, on a device wall-clock
        time."""
        return max(statistics.median(self._times), 1e-6)

    @torch.no_grad()
    def _forward(self) -> float:
        began = self._clock()
        for batch in self._study.data.discovery:
            at = (batch.examples, batch.positions)
            self._study.model.run(batch.clean, answers=at, lengths=batch.lengths)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return self._clock() - began
