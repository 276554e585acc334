"""CPU time by part: what adds up, and what a command tells."""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict

import pytest

from bench.runs import spent
from command_line import CommandLine


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spent, "_spent", defaultdict(float))


def busy(seconds: float) -> None:
    """Takes CPU time."""
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass


def test_parts_add_up_to_what_was_taken() -> None:
    """What one part takes is not counted again, and waiting is not counted."""
    began = sum(spent.by_part().values())
    with spent.spending("report"):
        busy(0.05)
        time.sleep(0.2)
    threads = [threading.Thread(target=spent.spend, args=("proofs", 1.0)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = spent.by_part()
    assert next(iter(told)) in ("proofs", spent.ITSELF)
    assert told["proofs"] == 4
    assert 0.05 <= told["report"] < 0.15
    assert 4.05 <= sum(told.values()) - began < 4.25


def test_a_run_tells_what_it_took(command: CommandLine) -> None:
    (command.folder / "c.yaml").write_text(
        "n_discovery: [20]\nn_evaluation: 24\nrandom_draws: 2\nsizes: [5%]\ntasks: [gp]\nmethods: [eap]\n"
    )
    answer = command("run", "--config", "c.yaml", "--out", "out")
    (line,) = [line for line in answer.stderr.splitlines() if "CPU seconds: " in line]
    total, parts = re.fullmatch(r"([\d,]+) CPU seconds: (.*)", line).groups()  # type: ignore[union-attr]
    told = {part: float(cpu) for part, cpu in (each.rsplit(" ", 1) for each in parts.split(", "))}
    assert {"start-up", "evaluation", "random draws", "discovery by eap", "report"} <= told.keys()
    assert abs(sum(told.values()) - float(total)) <= len(told) / 2
