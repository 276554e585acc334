"""The plain forward by which costs are measured: when it is timed, and that nobody pays for it."""

from __future__ import annotations

import time

import pytest

from bench.runs import yardstick
from bench.runs.yardstick import AROUND, Yardstick
from bench.study import Study


@pytest.fixture
def study() -> Study:
    return Study("embedded", "gp", n_discovery=8, n_evaluation=8)


def test_a_busy_while_does_not_count(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    takes = iter([0.3, 0.2, 0.2, 0.2, 5.0, 5.0, 0.2, 0.2, 0.2])
    monkeypatch.setattr(Yardstick, "_forward", lambda _: next(takes))
    monkeypatch.setattr(yardstick, "EVERY", 0.0)
    monkeypatch.setattr(yardstick, "SHARE_OF_TIME", float("inf"))
    laid = Yardstick(study)
    laid.begin()
    laid.look()
    laid.look()
    laid.end()
    assert list(takes) == []
    assert laid.plain == 0.2


def test_it_is_looked_at_now_and_then(study: Study) -> None:
    """However often a method tells how far it is, and however many short discoveries there are."""
    laid = Yardstick(study)
    for _ in range(20):
        laid.begin()
        for _ in range(100):
            laid.look()
        laid.end()
        assert (laid.seconds, laid.cpu_seconds) == (0, 0)
    assert len(laid._times) == AROUND


def test_looking_takes_a_twentieth_of_the_time_at_most(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward of a large model's prompts may take as long as there is between two looks."""
    now = 0.0

    def forward(_: Yardstick) -> float:
        nonlocal now
        now += 4.0
        return 4.0

    monkeypatch.setattr(Yardstick, "_forward", forward)
    monkeypatch.setattr("bench.runs.yardstick.time.perf_counter", lambda: now)
    laid = Yardstick(study)
    laid.begin()
    for _ in range(1000):
        now += 1.0
        laid.look()
    assert 0.04 * now < laid.seconds <= 0.05 * now


def test_what_a_look_takes_is_known(study: Study) -> None:
    laid = Yardstick(study)
    laid.begin()
    laid._due = 0.0
    began, cpu = time.perf_counter(), time.process_time()
    laid.look()
    assert 0 < laid.cpu_seconds <= time.process_time() - cpu
    assert 0 < laid.seconds <= time.perf_counter() - began
    assert 0 < laid.plain < 1
