"""Where methods stand over behaviours, on runs whose scores are round numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from bench.scoring.cells import cells_of, scored
from bench.scoring.comparison import standing
from bench.scoring.comparison.standing import Standing, Standings
from bench.store.results import Run
from made_runs import run, three


def standings(runs: Iterable[Run]) -> list[Standings]:
    return standing.standings(cells_of(scored(runs)))


def of_score(method: str, score: float, data_seed: int = 0, task: str = "gp") -> Run:
    """A run that goes this share of the way from random circuits, which leave all, to the floor, 1 %."""
    return run(method, {0.01: 100**-score, 0.1: 100**-score}, data_seed, task, scatter=0)


def two(seeds: int = 5) -> Iterator[Run]:
    """One whose seeds go from 0.1 to 0.5 of the way on gp, one at 0.25; both at the floor on gt."""
    for seed in range(seeds):
        yield of_score("one", (seed + 1) / 10, seed)
        yield of_score("two", 0.25, seed)
        yield of_score("one", 1.5, seed, "gt")
        yield of_score("two", 1.5, seed, "gt")
    for task in ("gp", "gt"):
        yield of_score("random_edges", 0, task=task)


def only(found: list[Standings]) -> Standings:
    (one,) = found
    return one


def of(method: str, whole: Standings) -> Standing:
    (found,) = (each for each in whole.methods if each.method == method)
    return found


def test_standings_by_hand() -> None:
    """Of ten runs the middle five count: half of 0.3, 0.4, 0.5, and the floor twice and a half."""
    whole = only(standings(two()))
    one = of("one", whole)
    assert (whole.behaviours, whole.sizes, one.data_seeds) == (("gp", "gt"), [0.01, 0.1], 5)
    assert one.value == pytest.approx((0.3 / 2 + 0.4 + 0.5 + 2.5) / 5)
    assert one.interval.low < one.value < one.interval.high
    assert of("two", whole).value == pytest.approx((2.5 * 0.25 + 2.5) / 5)
    (chance,) = whole.chances
    assert (chance.a, chance.b) == ("one", "two")
    assert chance.value == pytest.approx((0.6 + 0.5) / 2)  # three of five seeds on gp; ties on gt
    assert 0 < chance.interval.low < chance.value < chance.interval.high < 1


def test_a_score_is_the_area_over_log_size() -> None:
    """Of a line between 0.2 and 0.6 of the way, at two sizes or three: 0.4."""
    levels = {0.01: 100**-0.2, 0.1: 100**-0.6}
    more = {**levels, 0.1**1.5: 100**-0.4}
    for each in (levels, more):
        runs = [run("one", each, scatter=0), run("random_edges", dict.fromkeys(each, 1.0), scatter=0)]
        assert of("one", only(standings(runs))).value == pytest.approx(0.4)
    alone = [of_score("one", 0.3), run("random_edges", {0.1: 1.0}, scatter=0)]
    assert only(standings(alone)).sizes == [0.1]
    assert of("one", only(standings(alone))).value == pytest.approx(0.3)


def test_ranks_come_with_intervals() -> None:
    whole = only(standings(three(5)))
    ranks = {each.method: (each.rank.low, each.rank.high) for each in whole.methods}
    assert ranks == {"good": (1, 1), "bad": (2, 3), "same": (2, 3)}


def test_another_method_moves_nothing() -> None:
    alone = of("one", only(standings(each for each in two() if each.record.method != "two")))
    among = of("one", only(standings([*two(), *(of_score("three", 0.9, s) for s in range(5))])))
    assert alone.value == among.value


@pytest.mark.parametrize("seeds", [1, 4])
def test_few_seeds_have_a_value_and_no_interval(seeds: int) -> None:
    told = only(standings(two(seeds))).to_json()
    one = told["methods"][0]
    assert one["interquartile_mean"] is not None
    assert (one["low"], one["high"], one["rank_low"]) == (None, None, None)
    assert one["reason"] == f"at least 5 runs of a behaviour are needed, not {seeds}"
    assert told["beats"][0]["probability"] is not None
    assert (told["beats"][0]["low"], told["beats"][0]["reason"]) == (None, one["reason"])


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        ([of_score("one", 0.3)], "no random circuits of one size on all behaviours"),
        (
            [of_score("one", 0.3), *(of_score("random_edges", 0, task=task) for task in ("gp", "gt"))],
            "no runs on gt",
        ),
        (
            [run("one", {0.1: 0.5}), of_score("random_edges", 0)],
            "no data seed with all sizes on all behaviours",
        ),
        ([*(of_score("one", 0.3, seed) for seed in range(5)), of_score("random_edges", 1.5)], "unscored"),
    ],
)
def test_what_cannot_be_said_has_a_reason(runs: list[Run], reason: str) -> None:
    (one,) = only(standings(runs)).to_json()["methods"]
    assert (one["interquartile_mean"], one["low"], one["rank_low"], one["reason"]) == (
        None, None, None, reason
    )  # fmt: skip


def test_a_method_without_enough_takes_no_rank_from_others() -> None:
    whole = only(standings([*two(), of_score("few", 0.1), of_score("few", 0.1, task="gt")]))
    assert of("few", whole).rank.reason == "at least 5 runs of a behaviour are needed, not 1"
    assert of("one", whole).rank.low >= 1


def test_templates_that_methods_saw_do_not_count() -> None:
    assert standings([run("one", {0.1: 0.5}, seen=24)]) == []
