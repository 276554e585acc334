"""Orders that hang on the ablation, on runs made by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.engine.ablation import AblationName
from bench.scoring.cells import cells_of
from bench.scoring.cells import scored as circuits_of
from bench.scoring.comparison.compare import compare
from bench.scoring.comparison.crossed import crossed
from bench.scoring.comparison.turnover import Turnover, turnovers
from bench.scoring.statistics.paired import flip_rate
from bench.store.results import Run, Store
from command_line import CommandLine
from made_runs import run

ABLATIONS: tuple[AblationName, ...] = ("resample", "zero")
LEVELS = {"first": 0.1, "second": 0.4}


def under(each: Run, scored: AblationName, found: AblationName | None = None) -> Run:
    record = replace(each.record, ablation=scored, discovery_ablation=found or scored)
    return Run(record, each.tensors, f"{each.stem}-{scored}-{found or scored}")


def boards(turned: bool, seeds: int = 1) -> Iterator[Run]:
    """Two methods under two ablations, under the second the other way round, or not."""
    names = [*LEVELS]
    for seed in range(seeds):
        for scored in ABLATIONS:
            order = names[::-1] if turned and scored == "zero" else names
            for name, level in zip(order, LEVELS.values(), strict=True):
                yield under(run(name, {0.01: level, 0.1: level}, seed), scored)
    for scored in ABLATIONS:
        yield under(run("random_edges", {0.01: 1.0, 0.1: 1.0}), scored)


def found(runs: Iterator[Run] | list[Run]) -> list[Turnover]:
    return turnovers(compare(cells_of(circuits_of(runs))))


@pytest.mark.parametrize("turned", [True, False])
def test_an_order_turns_or_does_not(turned: bool) -> None:
    told = found(boards(turned))
    assert [each.one.size for each in told] == [None, 0.01, 0.1]
    assert {each.kind for each in told} == {"found as scored"}
    assert {(each.one.place.ablation, each.other.place.ablation) for each in told} == {("resample", "zero")}
    assert [each.turns for each in told] == [turned] * 3
    assert [each.opposite for each in told] == [turned] * 3


def test_a_sign_by_chance_is_no_turnover() -> None:
    """Equal methods differ one way or the other; of a cell at the floor nothing is said."""
    equal = [under(run(name, {0.1: 0.3}, seed), scored) for name in LEVELS for seed in (0,)
             for scored in ABLATIONS]  # fmt: skip
    assert [each.turns for each in found(equal)] == [False]
    floor = [under(run(name, {0.1: 0.001}), scored) for name in LEVELS for scored in ABLATIONS]
    assert [each.turns for each in found(floor)] == [None]


def test_circuits_found_alike_and_found_as_scored() -> None:
    """Every circuit is scored under both: matched pairs are one kind, the same circuits another."""
    runs = [
        under(run(name, {0.1: level}), scored, given)
        for name, level in LEVELS.items()
        for scored in ABLATIONS
        for given in ABLATIONS
    ]
    cells = cells_of(circuits_of(runs))
    assert {name for place in cells if place.ablation == "zero" for name in cells[place]} == {
        "first", "second", "first:discovery_ablation=resample", "second:discovery_ablation=resample"
    }  # fmt: skip
    told = found(runs)
    kinds = [(each.kind, each.one.found_under, each.other.found_under) for each in told]
    assert sorted(kinds) == [
        ("found alike", "resample", "resample"), ("found alike", "zero", "zero"),
        ("found as scored", "resample", "zero"),
    ]  # fmt: skip
    mixed = [pair for pair in compare(cells) if not pair.found_under]
    assert {pair.methods for pair in mixed} == {("first", "first"), ("second", "second")}
    assert all(pair.p_holm == pair.difference.p() or pair.p_holm != pair.p_holm for pair in mixed[:1])


def test_a_family_is_of_one_ablation_found_under() -> None:
    """Pairs scored under another ablation than found do not make the primary family larger."""
    levels = {"a": 0.1, "b": 0.2, "c": 0.8}
    matched = [under(run(name, {0.1: level, 0.01: level}), "zero") for name, level in levels.items()]
    crossed = [under(run(name, {0.1: level, 0.01: level}), "zero", "mean") for name, level in levels.items()]
    alone, among = (
        {pair.methods: pair.p_holm for pair in compare(cells_of(circuits_of(runs)))
         if pair.found_under == "zero" and pair.size is None}
        for runs in (matched, [*matched, *crossed])
    )  # fmt: skip
    assert len(alone) == 3
    assert alone == among


def test_prompts_tell_methods_apart() -> None:
    """Where a method ran on several numbers of prompts these are not seeds of one method."""
    one = run("one", {0.1: 0.2})
    other = Run(replace(one.record, n_discovery=50), one.tensors, "other")
    (cells,) = cells_of(circuits_of([one, other])).values()
    assert set(cells) == {"one:n_discovery=8", "one:n_discovery=50"}


@pytest.mark.parametrize(
    ("by_seed", "rate"),
    [([1.0, 1.0, 2.0], 0.0), ([1.0, -1.0], 1.0), ([1.0, 1.0, -1.0], 2 / 3), ([1.0, 0.0, -1.0], 1 / 3)],
)
def test_flip_rate_by_hand(by_seed: list[float], rate: float) -> None:
    assert flip_rate(np.array(by_seed)) == pytest.approx(rate)
    pairs = [(a, b) for i, a in enumerate(by_seed) for b in by_seed[:i]]
    assert flip_rate(np.array(by_seed)) == pytest.approx(np.mean([a * b < 0 for a, b in pairs]))


def test_one_seed_has_no_flip_rate() -> None:
    assert np.isnan(flip_rate(np.array([1.0])))
    assert found(boards(True))[0].to_json()["one"]["seed_flips"] is None
    assert found(boards(True, seeds=3))[0].to_json()["one"]["seed_flips"] == 0


def test_the_command_tells_turnovers(command: CommandLine, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for each in boards(True, seeds=2):
        store.save(each.stem, each)
    told = json.loads(command("compare", str(store.folder), "--json").stdout)["turnovers"]
    assert [each["turns"] for each in told] == [True] * 3
    assert told[0]["one"]["verdict"] == "a ahead"
    assert told[0]["other"]["verdict"] == "b ahead"
    table = " ".join(command("compare", str(store.folder)).stdout.split())
    assert "Turnovers" in table
    assert "resample and zero" in table
    assert "1 (100 %)" in table
    assert "2 of 2" in table


def test_found_under_one_and_scored_under_another() -> None:
    """The mean over templates and seeds of the area, of every method that was given several ablations."""
    runs = [
        under(run("first", {0.01: level, 0.1: level}, seed, scatter=0), scored, given)
        for seed in range(3)
        for scored in ABLATIONS
        for given, level in zip(ABLATIONS, (0.1, 0.4), strict=True)
    ]
    runs += [under(run("second", {0.01: 0.3, 0.1: 0.3}), scored) for scored in ABLATIONS]
    told = [each.to_json() for each in crossed(cells_of(circuits_of(runs)))]
    assert [(each["ablation"], each["method"], each["found_under"]) for each in told] == [
        ("resample", "first", "resample"), ("resample", "first", "zero"),
        ("zero", "first", "resample"), ("zero", "first", "zero"),
    ]  # fmt: skip
    assert [each["log_gap"] for each in told] == pytest.approx([math.log(level) for level in (0.1, 0.4) * 2])
    assert {each["data_seeds"] for each in told} == {3}


def test_the_command_tells_them_crossed(command: CommandLine, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for name, level in LEVELS.items():
        for scored in ABLATIONS:
            for given in ABLATIONS:
                each = under(run(name, {0.01: level, 0.1: level}), scored, given)
                store.save(each.stem, each)
    table = " ".join(command("compare", str(store.folder)).stdout.split())
    assert "Found under one ablation, scored under another" in table
    assert "pairs of circuits found under another ablation are in --json" in table
