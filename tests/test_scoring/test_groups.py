"""What rows say together: cells that tell methods apart or do not, and intervals over data seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.scoring.catalogue import METRICS
from bench.scoring.cells import cells_of, ranks, scored
from bench.scoring.groups import say_together
from bench.scoring.leaderboard import leaderboard
from bench.scoring.statistics.gaps import LOG_FLOOR
from bench.scoring.statistics.student import over_seeds
from bench.store.results import Run, Store
from made_runs import run

HIGH = np.linspace(-2.0, -1.0, 12)
"""log_gap on twelve templates, far above the floor."""
FLOOR = np.full(12, LOG_FLOOR)


def row(method: str, gaps: np.ndarray = HIGH, seed: int = 0, **columns: Any) -> dict[str, Any]:
    return {
        "model": "m", "task": "gp", "ablation": "resample", "split_embed": False, "kv": "per_group",
        "graph": "g", "pruned": "edges", "discovery_ablation": "resample",
        "method": method, "params": "", "n_discovery": 8, "wordings": "all", "source": "",
        "data_seed": seed, "method_seed": 0, "size_requested": 0.01, "oversize": False,
        "log_gap_low": math.nan, "gaps": gaps, "fewest": 8 if len(gaps) else 0, **columns,
    }  # fmt: skip


def said(rows: Sequence[dict[str, Any]], column: str = "cell") -> list[Any]:
    say_together(rows)
    assert not any({"gaps", "fewest"} & set(row) for row in rows)
    return [row.get(column) for row in rows]


def of_prompts(method: str, low: float, **columns: Any) -> dict[str, Any]:
    """On a task that holds no template out."""
    return row(method, np.empty(0), log_gap_low=low, **columns)


def test_two_methods_above_the_floor_make_a_cell_that_ranks() -> None:
    assert said([row("a"), row("b"), row("c", FLOOR), row("random_edges")]) == ["ranks"] * 4
    assert said([row("a"), row("b", FLOOR), row("random_edges")]) == ["all the same"] * 3
    wide = np.array([*FLOOR[1:], -2.0])  # above the floor, but not by two standard errors
    assert wide.mean() > LOG_FLOOR > wide.mean() - 2 * wide.std(ddof=1) / 12**0.5
    assert said([row("a"), row("b", wide)]) == ["all the same"] * 2


def test_each_cell_speaks_for_itself() -> None:
    rows = [row("a"), row("b"), row("a", FLOOR, size_requested=0.1), row("b", FLOOR, size_requested=0.1)]
    rows += [row("a", FLOOR, task="gt"), row("b", FLOOR, task="gt")]
    assert said(rows) == ["ranks"] * 2 + ["all the same"] * 4


@pytest.mark.parametrize("templates", [10, 12, 18, 23])
def test_the_floor_is_the_floor_whatever_rounding_does(templates: int) -> None:
    assert (
        said([row("a", np.full(templates, LOG_FLOOR)), row("b", np.full(templates, LOG_FLOOR))])
        == ["all the same"] * 2
    )


def test_random_and_oversize_circuits_are_no_rivals_and_one_method_has_none() -> None:
    assert said([row("a"), row("random_edges"), row("random_edges", params="kind=uniform")]) == [""] * 3
    assert said([row("a"), row("b", oversize=True)]) == ["", ""]
    assert said([row("a"), row("a", n_discovery=80)]) == ["ranks", "ranks"], "as two methods"


def test_where_no_template_is_held_out_these_prompts_say_it() -> None:
    assert said([of_prompts("a", -2.0), of_prompts("b", -4.0)]) == ["ranks"] * 2
    assert said([of_prompts("a", -2.0), of_prompts("b", LOG_FLOOR + 1e-15)]) == ["all the same"] * 2
    assert said([of_prompts("a", -2.0), of_prompts("b", math.nan)]) == ["", ""]
    one_at_it = [of_prompts("b", -4.0), of_prompts("b", LOG_FLOOR, seed=1)]
    assert said([of_prompts("a", -2.0), *one_at_it]) == ["all the same"] * 3


def test_the_interval_over_seeds_by_hand() -> None:
    """Means over method seeds, then seeds and templates crossed; recovered by 1 - exp, ends change places."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(-2, 0.3, (3, 2, 12)) + rng.normal(0, 0.3, (3, 1, 1))
    rows = [row("a", drawn[i, j], i, method_seed=j) for i in range(3) for j in range(2)]
    say_together(rows)
    means = drawn.mean(1)
    parts = means.mean(1).var(ddof=1) / 3, means.mean(0).var(ddof=1) / 12
    rest = means - means.mean(1, keepdims=True) - means.mean(0) + means.mean()
    third = (rest**2).sum() / 22 / 36
    variance = parts[0] + parts[1] - third
    assert variance > max(parts)
    freedom = variance**2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 11 + third**2 / 22)
    reach = stats.t.ppf(0.975, freedom) * variance**0.5
    for told in rows:
        assert told["recovered_seeds"] == pytest.approx(1 - math.exp(means.mean()))
        assert told["recovered_seeds_low"] == pytest.approx(1 - math.exp(means.mean() + reach))
        assert told["recovered_seeds_high"] == pytest.approx(1 - math.exp(means.mean() - reach))
        assert (told["over_seeds"], told["data_seeds"]) == ("new data seeds and templates", 3)


def test_why_there_is_no_interval_over_seeds() -> None:
    assert (
        said([row("a", seed=0), row("a", seed=1)], "over_seeds")
        == ["at least 3 data seeds are needed, not 2"] * 2
    )
    assert said([of_prompts("a", -2.0)], "over_seeds") == ["no templates held out"]
    few = [row("a", HIGH[:6], seed) for seed in range(3)]
    assert said(few, "over_seeds") == ["at least 10 templates are needed, not 6"] * 3
    assert all(math.isnan(row["recovered_seeds_low"]) for row in few)


def test_seeds_scored_on_other_templates_are_not_joined() -> None:
    """As after a change of a task's file, before all is run again."""
    rows = [row("a", HIGH, 0), row("a", HIGH[:11], 1), row("b")]
    assert said(rows) == ["", "", ""]
    assert ["recovered_seeds" in row for row in rows] == [False, False, True]


def test_the_table_has_it_and_agrees_with_cells(tmp_path: Path) -> None:
    """Of stored runs; a job that failed says nothing."""
    store = Store(tmp_path)
    made = [run(name, {0.01: 0.5, 0.1: 0.0}, seed) for name in ("eap", "acdc") for seed in range(3)]
    for each in made:
        store.save(each.stem, each)
    failed = dataclasses.replace(made[0].record, status="failed", data_seed=9, circuits={})
    store.save("failed", Run(failed))
    table = leaderboard(store)
    assert {"cell", "over_seeds", "data_seeds", "recovered_seeds"} <= {metric.name for metric in METRICS}
    assert not {"gaps", "fewest"} & set(table.columns)
    assert table.loc[table["status"] == "failed", ["cell", "data_seeds"]].isna().all(axis=None)
    ((_, cells),) = cells_of(scored(store.runs())).items()
    for size, expected in ((0.01, "ranks"), (0.1, "all the same")):
        rows = table[(table["size_requested"] == size) & (table["status"] == "ok")]
        assert ranks(cells, size) == (expected == "ranks")
        assert set(rows["cell"]) == {expected}
        for name, group in rows.groupby("method"):
            interval = over_seeds(cells[str(name)].at(size, [0, 1, 2]), 8).interval()
            assert group["recovered_seeds_low"].tolist() == pytest.approx([1 - math.exp(interval.high)] * 3)
            assert set(group["data_seeds"]) == {3}
