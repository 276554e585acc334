"""What is expected of recoveries, and when one is lost: of a count no sooner than chance allows."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.truth.expectations
from bench.errors import DamagedFile
from bench.names import choose_method
from bench.store.recoveries import rows
from bench.truth.expectations import FALSE_ALARM, HELD, Expectations, read_expectations, write_expectations
from bench.truth.verify import LOST, verify, verify_named
from checkout import ROOT

UNAIDED, RANKED = HELD


def test_kernels_run_the_methods_of_which_something_is_expected() -> None:
    """`make kernels` names some, which CI has time for; of which nothing is expected cannot fail there."""
    named = re.search(r"^EXPECTED := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    held = json.loads((ROOT / "tracr_ground_truth" / "expectations.json").read_text())
    assert named is not None
    assert set(named[1].split()) <= {key.split()[0] for part in held.values() for key in part}


def row(method: str, program: str, exact: bool | None, **more: Any) -> dict[str, Any]:
    about = {"method": method, "program": program, "ablation": "zero", "params": "", "status": "ok"}
    return {**about, "stochastic": method == "trained", **dict.fromkeys(HELD, exact), **more}


def trained(exact: Sequence[int], runs: int = 1) -> list[dict[str, Any]]:
    """Rows of a stochastic method on so many programs, of which so many runs were exact."""
    return [row("trained", f"p{i}", run < hits) for i, hits in enumerate(exact) for run in range(runs)]


def counted(*counts: tuple[int, int]) -> Expectations:
    return Expectations(counts={"trained zero": {UNAIDED: {f"p{i}": c for i, c in enumerate(counts)}}})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where expectations are kept during a test; nothing is there yet."""
    path = tmp_path / "expectations.json"
    monkeypatch.setattr(bench.truth.expectations, "_path", lambda: path)
    return path


def test_of_a_method_that_draws_nothing_the_result_is_expected(file: Path) -> None:
    assert read_expectations() == Expectations()
    begun = [row("m", "a", True), row("m", "b", True), row("n", "a", True)]
    ignored = [
        row("m", "own", True),
        row("m", "d", True, params="steps=3"),
        row("m", "e", True, status="failed"),
    ]
    shaky = [row("m", "c", True), row("m", "c", False)]  # on other kernels, or on shaken weights
    write_expectations([*begun, *ignored, *shaky], "abcde")
    held = read_expectations()
    assert held.always == {
        "m zero": {name: ["a", "b"] for name in HELD},
        "n zero": {name: ["a"] for name in HELD},
    }
    assert held.lost(begun) == []
    assert held.lost([row("m", "a", True)]) == []  # a subset answers for itself alone
    gone = held.lost([row("m", "b", False), row("n", "c", False)])
    assert gone == [f"m on b under zero: {name} used to hold" for name in HELD]
    assert held.lost([row("m", "a", False, ablation="resample")]) == []
    assert held.lost([row("m", "a", False, params="steps=3")]) == []
    write_expectations([row("m", "b", False), row("m", "c", True)], "abc")
    assert read_expectations().always["m zero"] == {name: ["a", "c"] for name in HELD}


def test_of_a_stochastic_method_a_count_is(file: Path) -> None:
    write_expectations([*trained([3, 0], runs=4), row("trained", "p2", None)], ["p0", "p1", "p2"])
    counts = read_expectations().counts
    assert counts == {"trained zero": {name: {"p0": (3, 4), "p1": (0, 4)} for name in HELD}}
    write_expectations(trained([4], runs=4), ["p0"])
    assert read_expectations().counts["trained zero"][UNAIDED] == {"p0": (4, 4), "p1": (0, 4)}
    no_count = json.dumps({"always": {}, "counts": {"m zero": {name: {"p": "many"} for name in HELD}}})
    for damage in ("{", "[]", '{"always": {}}', '{"always": 3, "counts": {}}', no_count):
        file.write_text(damage)
        with pytest.raises(DamagedFile, match=r"expectations.json is damaged .*--expect"):
            read_expectations()


def test_chances_are_those_of_a_rate_that_is_not_known() -> None:
    """Drawn the slow way: a rate that the measurement leaves possible, then runs at that rate."""
    rng = np.random.default_rng(0)
    for runs, exact, measured in [(4, 16, 16), (3, 5, 8), (5, 0, 8)]:
        rates = rng.beta(exact + 0.5, measured - exact + 0.5, 200_000)
        drawn = np.bincount(rng.binomial(runs, rates), minlength=runs + 1) / len(rates)
        assert bench.truth.expectations._chances(runs, exact, measured) == pytest.approx(drawn, abs=0.005)


def test_a_count_is_lost_when_it_is_no_chance_any_more() -> None:
    firm = counted((64, 64))
    assert firm.lost(trained([4], runs=4)) == []
    assert firm.lost(trained([3], runs=4)) == []
    (line,) = firm.lost(trained([0], runs=4))
    assert line.startswith("trained on p0 under zero: unaided_exact: in 0 of 4 runs, expected in 4.0")
    assert counted((0, 16)).lost(trained([0], runs=4)) == []  # what never was exact cannot be lost
    many = counted(*[(14, 16)] * 40)
    assert many.lost(trained([1] * 32 + [0] * 8)) == []
    (line,) = many.lost(trained([1] * 15 + [0] * 25))
    assert line.startswith(
        "trained on 40 programs under zero: unaided_exact: in 15 of 40 runs, expected in 34."
    )
    # one program of many, run repeatedly, is judged by itself too
    held = counted(*[(64, 64)] * 3, *[(8, 16)] * 20)
    (line,) = held.lost(trained([0, 8, 8] + [4] * 20, runs=8))
    assert line.startswith("trained on p0 under zero")
    assert held.lost([row("trained", "p0", None), row("trained", "other", False)]) == []


def test_false_alarms_are_as_rare_as_said() -> None:
    """Programs of unknown rates, measured in 8 runs each, then run again without any change."""
    draw, alarms, times = random.Random(0), 0, 2000
    for _ in range(times):
        rates = [draw.betavariate(0.5, 0.5) for _ in range(6)]
        measured = [(sum(draw.random() < rate for _ in range(8)), 8) for rate in rates]
        again = [sum(draw.random() < rate for _ in range(4)) for rate in rates]
        alarms += bool(counted(*measured).lost(trained(again, runs=4)))
    assert alarms <= 3 * FALSE_ALARM * times


PLUGIN = """
import torch
from circuitmark import Discovery, Method

class Drawn(Method):
    name, description, citation, stochastic = "drawn", "A test.", "@misc{x}", STOCHASTIC
    def discover(self, problem):
        exists = problem.graph.exists
        random = torch.Generator().manual_seed(problem.seed)
        return Discovery(unaided=exists & (torch.rand(exists.shape, generator=random) < 0.5))
"""


def test_only_what_draws_is_run_with_several_seeds(tmp_path: Path) -> None:
    found = {}
    for stochastic in (True, False):
        file = tmp_path / f"{stochastic}.py"
        file.write_text(PLUGIN.replace("STOCHASTIC", str(stochastic)))
        out, method = tmp_path / str(stochastic), choose_method(str(file))
        outcome = verify([method], ["x_proportion"], ["zero"], out, method_seeds=3)
        found[stochastic] = outcome.recovery
    assert [r["method_seed"] for r in found[True]] == [1, 2, 3]
    assert len({r["found_edges"] for r in found[True]}) == 3
    assert [r["method_seed"] for r in found[False]] == [1]
    assert rows(tmp_path / "True") == found[True]


def test_weights_are_shaken_for_what_draws_nothing(tmp_path: Path, file: Path) -> None:
    """An expectation outlasts weights that are moved a little; here two scores that differ by rounding."""
    plugin = tmp_path / "near.py"
    plugin.write_text("""
import torch
from circuitmark import Discovery, Method

class Near(Method):
    name, description, citation = "near", "A test.", "@misc{x}"
    def discover(self, problem):
        senders = problem.senders(problem.batches[0])
        with open(__file__ + ".log", "a") as log:
            log.write(f"{senders.double().sum():.12g}\\n")
        return Discovery(unaided=problem.graph.exists)
""")
    out = tmp_path / "out"
    verify([choose_method(str(plugin))], ["x_proportion"], ["zero"], out, shakes=2)
    sums = [float(line) for line in (tmp_path / "near.py.log").read_text().split()]
    assert len(set(sums)) == 3
    assert sums == pytest.approx([sums[0]] * 3, rel=1e-3)
    assert (len(rows(out)), len(rows(out, shaken=True))) == (1, 2)


def test_a_recovery_that_is_lost_has_its_exit_code(tmp_path: Path, file: Path) -> None:
    once = {name: ["x_proportion", "reverse"] for name in HELD}
    file.write_text(json.dumps({"always": {"random_edges zero": once, "eap zero": once}, "counts": {}}))
    args = (["random_edges"], ["x_proportion"], "zero", tmp_path / "out")
    outcome = verify_named(*args, n=1)
    lines = [f"lost: random_edges on x_proportion under zero: {name} used to hold" for name in HELD]
    assert (outcome.exit_code, outcome.troubles) == (LOST, lines)
    assert verify_named(*args, n=1, expect=True).exit_code == 0  # what is found becomes the expectation
    assert read_expectations().always["random_edges zero"] == {name: ["reverse"] for name in HELD}
