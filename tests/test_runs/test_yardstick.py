"""The plain forward by which costs are measured: when it is timed, and that nobody pays for it."""

from __future__ import annotations

import time

import pytest

from bench.runs import yardstick
from bench.runs.yardstick import AROUND, Yardstick
from bench.study import Study


@pytest.fixture
def laid(monkeypatch: pytest.MonkeyPatch) -> Yardstick:
    study = Study("embedded", "gp", n_discovery=8, n_evaluation=8)
    found = Yardstick(study)
    takes = iter([0.2, 0.2, 0.2, 5.0, 5.0, 0.2, 0.2, 0.2])  # the machine is busy for a while

    def forward(_: Yardstick) -> float:
        return next(takes)

    monkeypatch.setattr(Yardstick, "_forward", forward)
    found.begin()
    return found


def test_a_busy_while_does_not_count(laid: Yardstick, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yardstick, "EVERY", 0.0)
    laid._due = 0.0
    laid.look()
    laid.look()
    laid.lay()
    assert len(laid._times) == 2 * AROUND + 2
    assert laid.plain == 0.2


def test_it_is_looked_at_now_and_then(laid: Yardstick) -> None:
    """However often a method tells how far it is."""
    for _ in range(1000):
        laid.look()
    assert len(laid._times) == AROUND
    assert (laid.seconds, laid.cpu_seconds) == (0, 0)


def test_what_a_look_takes_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Yardstick(Study("embedded", "gp", n_discovery=8, n_evaluation=8))
    found.begin()
    found._due = 0.0
    began, cpu = time.perf_counter(), time.process_time()
    found.look()
    assert 0 < found.cpu_seconds <= time.process_time() - cpu
    assert 0 < found.seconds <= time.perf_counter() - began
    assert 0 < found.plain < 1
