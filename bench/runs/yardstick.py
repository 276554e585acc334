"""What a plain forward takes while a method runs: a measure of cost that a busy machine leaves alone."""

from __future__ import annotations

import statistics
import time

import torch

from bench.study import Study

EVERY = 5.0
"""Seconds of a discovery between two looks, at least."""
SHARE_OF_TIME = 0.05
"""That looking may take: a forward of a large model's prompts takes longer than that."""
AROUND = 3
"""Looks before it, and after one that took as long."""


class Yardstick:
    """Plain forwards of the discovery prompts, timed before, all along and after a discovery; their median.

    A machine that is busy, or throttled, for a while slows both down, so that the ratio stays. What looking
    takes is told, so that it is not charged to the method.

    Args:
        study: whose model and prompts are run.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._device = study.model.device
        self._clock = time.process_time if self._device.type == "cpu" else time.perf_counter
        self._forward()  # a first one takes longer
        self._times = [self._forward() for _ in range(AROUND)]

    def begin(self) -> None:
        """Before a discovery; several short ones share what was seen before the first."""
        self.seconds = self.cpu_seconds = 0.0
        """That looks within the discovery took."""
        self._began = time.perf_counter()
        self._due = self._began + EVERY

    def look(self) -> None:
        """Within a discovery: looks where it is time to."""
        if (began := time.perf_counter()) >= self._due:
            cpu = time.process_time()
            self._times.append(self._forward())
            self.cpu_seconds += time.process_time() - cpu
            ended = time.perf_counter()
            self.seconds += ended - began
            self._due = ended + max(EVERY, (ended - began) / SHARE_OF_TIME)

    def end(self) -> None:
        """After a discovery."""
        if time.perf_counter() - self._began >= EVERY:
            self._times += [self._forward() for _ in range(AROUND)]

    @property
    def plain(self) -> float:
        """Of a plain forward of the discovery prompts: median CPU seconds, or on a device by the clock."""
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
