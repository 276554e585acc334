"""Who is ahead of whom: pairs, families and verdicts, on runs made by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.scoring.cells import cells_of, scored
from bench.scoring.comparison import compare as comparing
from bench.scoring.comparison.compare import Pair
from bench.store.results import Run, Store
from command_line import CommandLine
from made_runs import GROUPS, PER, SIZES, run, three


def compare(runs: Iterable[Run]) -> list[Pair]:
    return comparing.compare(cells_of(scored(runs)))


def at(pairs: list[Pair], a: str, b: str, size: float | None) -> Pair:
    (found,) = (pair for pair in pairs if (pair.a, pair.b, pair.size) == (a, b, size))
    return found


def test_pairs_and_verdicts() -> None:
    pairs = compare(three())
    assert [(pair.a, pair.b) for pair in pairs if pair.size is None] == [
        ("bad", "good"), ("bad", "same"), ("good", "same")
    ]  # fmt: skip
    assert len(pairs) == 3 * (1 + len(SIZES))
    assert at(pairs, "bad", "good", None).verdict == "b ahead"
    assert at(pairs, "good", "same", None).verdict == "a ahead"
    assert at(pairs, "bad", "same", None).verdict in ("equal", "undecided")
    assert at(pairs, "bad", "good", 0.01).difference.over == "new templates, this data seed"


def test_a_difference_by_hand() -> None:
    """Student's t over the twelve templates that no method saw, on log shares."""
    runs = {each.record.method: each for each in three()}
    logs = {
        name: np.log(each.tensors["outputs.size 0.1.kl"].numpy().reshape(GROUPS, PER).mean(1)[12:] / 2)
        for name, each in runs.items()
    }
    found = at(compare(runs.values()), "bad", "good", 0.1)
    theirs = stats.ttest_rel(logs["bad"], logs["good"])
    assert found.difference.value == pytest.approx((logs["bad"] - logs["good"]).mean())
    assert found.difference.p() == pytest.approx(theirs.pvalue)
    assert (found.templates, found.data_seeds, found.difference.freedom) == (12, 1, 11)
    interval = theirs.confidence_interval()
    assert found.to_json()["low"] == pytest.approx(interval.low)
    assert found.to_json()["high"] == pytest.approx(interval.high)


def test_the_family_is_all_pairs_of_all_behaviours() -> None:
    """Holm counts them all; a size is a family of its own."""
    one = compare(three())
    both = compare([*three(), *(replace(e, record=replace(e.record, task="gt")) for e in three())])
    least = min((pair for pair in one if pair.size is None), key=lambda pair: pair.difference.p())
    again = [p for p in both if (p.size, p.a, p.b) == (None, least.a, least.b)]
    assert least.p_holm == pytest.approx(3 * least.difference.p())
    assert [pair.p_holm for pair in again] == pytest.approx([6 * least.difference.p()] * 2)
    assert {pair.place.behaviour for pair in both} == {"gp", "gt"}


def test_seeds_are_shared_ones() -> None:
    """Five are needed to speak of others; a method that lacks some is compared on those it has."""
    pairs = compare(three(5))
    assert at(pairs, "bad", "good", None).data_seeds == 5
    assert at(pairs, "bad", "good", None).difference.over == "new data seeds and templates"
    fewer = [each for each in three(5) if each.record.method != "good" or each.record.data_seed < 2]
    assert at(compare(fewer), "bad", "good", None).data_seeds == 2
    assert at(compare(fewer), "bad", "good", None).difference.over == "new templates, these 2 data seeds"


def test_cells_at_the_floor_rank_nobody() -> None:
    pairs = compare([run("one", {0.1: 0.001}), run("two", {0.1: 0.002}), run("random_edges", {0.1: 1.0})])
    assert [pair.verdict for pair in pairs] == ["all the same"]


def test_what_cannot_be_said_has_a_reason() -> None:
    few = [run("one", {0.1: 0.2}, seen=20), run("two", {0.1: 0.9}, seen=20)]
    (pair,) = compare(few)
    assert pair.verdict == "undecided"
    told = pair.to_json()
    assert told["reason"] == "at least 10 templates are needed, not 4"
    assert (told["p"], told["low"], told["p_holm"]) == (None, None, None)
    assert told["difference"] == pytest.approx(math.log(0.2 / 0.9), abs=0.5)
    assert compare([run("one", {0.1: 0.2}, seen=24), run("two", {0.1: 0.9}, seen=24)]) == []


def test_the_command(command: CommandLine, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for each in three():
        store.save(each.stem, each)
    told = json.loads(command("compare", str(store.folder), "--json").stdout)
    assert told["pairs"] == [pair.to_json() for pair in compare(store.runs())]
    assert told["pairs"][0]["size"] is None
    table = command("compare", str(store.folder)).stdout
    assert "b ahead" in table
    assert "over new templates, this data seed" in table
    assert (
        "the primary family of 3 pairs, p adjusted (Holm); single sizes (exploratory) are in --json"
        in " ".join(table.split())
    )
    assert "Over behaviours" in table
    assert "not available: at least 5 runs of" in " ".join(table.split())


def test_why_there_is_no_interval_stands_in_its_cell(command: CommandLine, tmp_path: Path) -> None:
    """Of one size alone there is no primary family, which is said."""
    store = Store(tmp_path / "results")
    for method, level in (("one", 0.2), ("two", 0.9)):
        each = run(method, {0.1: level}, seen=20)
        store.save(each.stem, each)
    table = " ".join(command("compare", str(store.folder)).stdout.split())
    assert "not available: at least" in table
    assert "over 10 %" in table
    assert "exploratory, because only one size was run: 1 pair" in table
    assert "primary" not in table


@pytest.mark.parametrize("methods", [(), ("good",), ("random_edges",)])
def test_nothing_to_compare_is_one_line(
    command: CommandLine, tmp_path: Path, methods: tuple[str, ...]
) -> None:
    store = Store(tmp_path / "results")
    store.folder.mkdir()
    for each in three():
        if each.record.method in methods:
            store.save(each.stem, each)
    line = command.complaint("compare", str(store.folder))
    assert ("has no two methods to compare" if methods else "holds no results") in line


def of_weights(each: Run) -> Run:
    """The same, its circuits of a twentieth of the weights."""
    circuits = {name: {**told, "weight_density": 0.05} for name, told in each.record.circuits.items()}
    return replace(each, record=replace(each.record, circuits=circuits))


def test_circuits_of_fewer_weights_compete_apart() -> None:
    good, bad, same, _ = three()
    other = run("other", dict.fromkeys(SIZES, 0.3))
    pairs = compare([of_weights(good), bad, same, of_weights(other)])
    whole = {(pair.a, pair.b, pair.place.pruned) for pair in pairs if pair.size is None}
    assert whole == {("bad", "same", "edges"), ("good", "other", "weights and edges")}
    assert {pair.to_json()["pruned"] for pair in pairs} == {"edges", "weights and edges"}
    alone = at(compare([of_weights(good), of_weights(other)]), "good", "other", None)
    assert at(pairs, "good", "other", None).p_holm == alone.p_holm  # a family of their own


def test_random_circuits_are_the_null_of_both() -> None:
    levels = dict.fromkeys(SIZES, 0.9)
    runs = [of_weights(run("good", levels)), run("bad", levels), run("random_edges", levels)]
    cells = cells_of(scored(runs))
    assert {place.pruned: {*of_place} for place, of_place in cells.items()} == {
        "edges": {"bad", "random_edges"},
        "weights and edges": {"good", "random_edges"},
    }
