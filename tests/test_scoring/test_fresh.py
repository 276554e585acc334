"""How much worse the same circuits do on fresh prompts, on runs made by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.errors import UsageError
from bench.scoring.comparison.fresh import OTHERS, OVER, Gap, fresh_gaps
from bench.store.asked import ask
from bench.store.record import BENCHMARK
from bench.store.results import Run, Store
from command_line import CommandLine
from made_runs import GROUPS, PER, run

LEVELS = {0.01: 0.4, 0.1: 0.1}


def stored(folder: Path, runs: Iterable[Run]) -> Store:
    store = Store(folder)
    for each in runs:
        store.save(each.stem, each)
    return store


def changed(each: Run, **fields: Any) -> Run:
    return replace(each, record=replace(each.record, **fields))


def other_circuit(each: Run, size: float) -> Run:
    """The same run, with another circuit at a size."""
    circuits = dict(each.record.circuits)
    circuits[f"size {size:g}"] = {**circuits[f"size {size:g}"], "hash": "another"}
    return changed(each, circuits=circuits)


def y(each: Run, size: float) -> np.ndarray:
    """By template that no method saw."""
    kl = each.tensors[f"outputs.size {size:g}.kl"].numpy().reshape(GROUPS, PER)
    found: np.ndarray = np.log(kl.mean(1)[12:] / 2)
    return found


def at(gaps: list[Gap], size: float | None, method: str = "one") -> Gap:
    (found,) = (gap for gap in gaps if (gap.size, gap.method) == (size, method))
    return found


def test_gaps_by_hand(tmp_path: Path) -> None:
    """Student's t over templates, on means over two data seeds."""
    worse = {size: 1.5 * level for size, level in LEVELS.items()}
    known = [run("one", LEVELS, seed) for seed in range(2)]
    new = [run("one", worse, seed, evaluation_seed=7) for seed in range(2)]
    gaps = fresh_gaps(stored(tmp_path / "public", known), stored(tmp_path / "fresh", new))
    assert [gap.size for gap in gaps] == [None, 0.01, 0.1]
    for size in LEVELS:
        before, after = (np.mean([y(each, size) for each in runs], 0) for runs in (known, new))
        theirs = stats.ttest_rel(after, before)
        told = at(gaps, size).to_json()
        assert told["gap"] == pytest.approx((after - before).mean())
        interval = theirs.confidence_interval()
        assert (told["low"], told["high"]) == pytest.approx((interval.low, interval.high))
        assert (told["data_seeds"], told["templates"], told["over"]) == (2, 12, OVER)
        assert told["low"] < math.log(1.5) < told["high"]
    over_all = np.mean([at(gaps, size).difference.value for size in LEVELS])
    assert at(gaps, None).difference.value == pytest.approx(over_all)  # of two sizes: their mean


def test_the_same_prompts_again_have_no_gap(tmp_path: Path) -> None:
    """Then there is no standard error either, and no p."""
    known = run("one", LEVELS)
    again = changed(known, evaluation_seed=7)
    gaps = fresh_gaps(stored(tmp_path / "public", [known]), stored(tmp_path / "fresh", [again]))
    told = at(gaps, 0.1).to_json()
    assert (told["gap"], told["low"], told["reason"]) == (0, 0, "a standard error of 0")


def test_other_circuits_are_left_out_and_counted(tmp_path: Path) -> None:
    known = [run("one", LEVELS, seed) for seed in range(2)]
    new = [run("one", LEVELS, seed, evaluation_seed=7) for seed in range(2)]
    public = stored(tmp_path / "public", known)
    gaps = fresh_gaps(public, stored(tmp_path / "some", [other_circuit(new[0], 0.1), new[1]]))
    assert (at(gaps, 0.1).data_seeds, at(gaps, 0.1).other) == (1, 1)
    assert at(gaps, 0.1).difference.value == pytest.approx((y(new[1], 0.1) - y(known[1], 0.1)).mean())
    assert (at(gaps, None).data_seeds, at(gaps, None).other) == (1, 1)
    assert (at(gaps, 0.01).data_seeds, at(gaps, 0.01).other) == (2, 0)

    gaps = fresh_gaps(public, stored(tmp_path / "all", [other_circuit(each, 0.1) for each in new]))
    for size in (0.1, None):
        told = at(gaps, size).to_json()
        assert (told["gap"], told["low"], told["other_circuits"], told["reason"]) == (None, None, 2, OTHERS)


def test_few_templates_and_few_prompts_have_a_reason(tmp_path: Path) -> None:
    pairs = [run("one", LEVELS, seen=20, evaluation_seed=seed) for seed in (0, 7)]
    public, fresh = (stored(tmp_path / str(i), [each]) for i, each in enumerate(pairs))
    told = at(fresh_gaps(public, fresh), 0.1).to_json()
    assert told["gap"] == pytest.approx((y(pairs[1], 0.1) - y(pairs[0], 0.1))[8:].mean())
    assert (told["low"], told["reason"]) == (None, "at least 10 templates are needed, not 4")

    pairs = [fewer(run("one", LEVELS, evaluation_seed=seed)) for seed in (0, 7)]
    public, fresh = (stored(tmp_path / f"few {i}", [each]) for i, each in enumerate(pairs))
    told = at(fresh_gaps(public, fresh), 0.1).to_json()
    assert (told["low"], told["reason"]) == (None, "at least 8 prompts per template are needed, not 7")


def fewer(each: Run) -> Run:
    """Without the last prompt, so that its template has one fewer than the others."""
    return replace(each, tensors={name: part[:-1] for name, part in each.tensors.items()})


def test_a_folder_that_shows_no_run_is_named(tmp_path: Path) -> None:
    """It was asked for code that has not run yet."""
    public, fresh = (
        stored(tmp_path / str(seed), [run("one", LEVELS, evaluation_seed=seed)]) for seed in (0, 7)
    )
    record = run("one", LEVELS).record
    ask(fresh.folder, [(replace(record, evaluation_seed=7), "another", "another")])
    with pytest.raises(UsageError, match="7 holds none of the requested runs"):
        fresh_gaps(public, fresh)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"evaluation_seed": 0}, "both folders were scored on the public prompts"),
        ({"benchmark": BENCHMARK - 1}, f"of version {BENCHMARK} of the benchmark"),
        ({"split": "validation"}, "with split=evaluation"),
        ({"n_evaluation": 96}, "with n_evaluation=192"),
        ({"method_seed": 1}, "have no run in common"),
        ({"model_hash": "another"}, "have no run in common"),
    ],
)
def test_what_does_not_compare_is_one_line(
    command: CommandLine, tmp_path: Path, fields: dict[str, object], complaint: str
) -> None:
    public = stored(tmp_path / "public", [run("one", LEVELS), run("two", LEVELS)])
    new = [changed(run(name, LEVELS, evaluation_seed=7), **fields) for name in ("one", "two")]
    fresh = stored(tmp_path / "fresh", new)
    line = command.complaint("compare", str(public.folder), "--fresh", str(fresh.folder))
    assert complaint in line


def test_the_command(command: CommandLine, tmp_path: Path) -> None:
    """One method is enough; the folders have an order."""
    known, new = ([run("one", LEVELS, evaluation_seed=seed)] for seed in (0, 7))
    public, fresh = stored(tmp_path / "public", known), stored(tmp_path / "fresh", new)
    words = ("compare", str(public.folder), "--fresh", str(fresh.folder))
    told = json.loads(command(*words, "--json").stdout)
    assert told["fresh"] == [gap.to_json() for gap in fresh_gaps(public, fresh)]
    assert told["pairs"] == []
    table = command(*words).stdout
    assert "fresh / public" in table
    ratio = math.exp(told["fresh"][0]["gap"])
    assert f"{ratio:.3g}" in table
    swapped = command.complaint("compare", str(fresh.folder), "--fresh", str(public.folder))
    assert "name the folder of the public ones first" in swapped
    nowhere = command.complaint("compare", str(public.folder), "--fresh", str(tmp_path / "nowhere"))
    assert "there is no folder or file" in nowhere


def test_a_report_tells_them(tmp_path: Path, command: CommandLine) -> None:
    worse = {size: 1.5 * level for size, level in LEVELS.items()}
    public = stored(tmp_path / "public", [run("one", LEVELS), run("two", LEVELS)])
    new = [run("one", worse, evaluation_seed=7), run("two", LEVELS, evaluation_seed=7)]
    wanted = [
        gap.to_json() for gap in fresh_gaps(public, stored(tmp_path / "fresh", new)) if gap.size is None
    ]
    command("report", "public", "--fresh", "fresh")
    text = (tmp_path / "public" / "leaderboard.md").read_text()
    section = text.partition("## Fresh prompts")[2].partition("##")[0]
    rows = {
        cells[2].strip(): cells[3:5] for line in section.splitlines() if len(cells := line.split("|")) > 5
    }
    for gap in wanted:
        ratio, reach = rows[gap["method"]]
        told = [float(ratio), *map(float, reach.split(" to "))]
        assert told == pytest.approx([math.exp(gap[name]) for name in ("gap", "low", "high")], rel=0.01)
    assert "public" in command.complaint("report", "public", "--fresh", "public")
