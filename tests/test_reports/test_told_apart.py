"""What a report must not pool: two graphs of a model, numbers of prompts, runs of some cells only."""

from __future__ import annotations

import io
import math
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import reports
from report_tables import KL, METRICS, leaderboard, one_seed
from reports.claims.data_sizes import over_data
from reports.claims.seeds import SEEDS, seeds_section
from reports.compared.ahead import standings_section
from reports.compared.fresh import fresh_section
from reports.leaderboard.entries import fold_seeds, tidy
from reports.leaderboard.summary import describe
from reports.parts.methods import Methods
from reports.parts.metric import read_metrics
from reports.parts.models import model_names, named
from reports.parts.numbers import DASH
from reports.report import build

METHODS = Methods(("good", "middling", "random_edges"), "random_edges")
KNOWN = read_metrics(METRICS)
ONE, OTHER = "edges=9 kv=per_group", "edges=12 kv=per_head"
PAIR: dict[str, Any] = {
    "behaviour": "ioi", "ablation": "resample", "found_under": "resample", "pruned": "edges", "size": None,
    "a": "good", "b": "middling", "low": -0.2, "high": -0.1, "p_holm": 0.01, "p_equal": 0.5,
    "verdict": "a ahead", "over": "new templates, this data seed", "reason": "",
}  # fmt: skip


def two_graphs() -> pd.DataFrame:
    table = leaderboard()
    return pd.concat([table.assign(graph=graph) for graph in (ONE, OTHER)], ignore_index=True)


def test_a_model_bears_what_tells_its_graphs_apart() -> None:
    counted = [("a", ONE), ("a", OTHER), ("a", ""), ("b", ONE)]
    assert model_names(counted) == {
        ("a", ONE): "a (edges=9 kv=per_group)", ("a", OTHER): "a (edges=12 kv=per_head)", ("b", ONE): "b",
    }  # fmt: skip
    told = named({"pairs": [{"model": "a", "graph": ONE}, {"model": "a", "graph": OTHER}]})
    assert [row["model"] for row in told["pairs"]] == ["a (edges=9 kv=per_group)", "a (edges=12 kv=per_head)"]


def test_two_graphs_of_a_model_share_no_row() -> None:
    table = two_graphs()
    page = build(table, METRICS, METHODS, "")
    assert len({section.title for section in page.tasks}) == len(page.tasks) == 2 * len(KL)
    assert len({section.stem for section in page.tasks}) == len(page.tasks)
    pairs = [{**PAIR, "model": "tiny/lm", "graph": g, "difference": d} for g, d in ((ONE, -1), (OTHER, 1))]
    told = build(table, METRICS, METHODS, "", compared={"pairs": pairs})
    (section,) = (each for each in told.further if each.stem == "pairs")
    assert section.grid is not None
    assert {row.cells[0].text for row in section.grid.rows} == {
        "tiny/lm (edges=9 kv=per_group)", "tiny/lm (edges=12 kv=per_head)",
    }  # fmt: skip
    crossed = [
        {**PAIR, "model": "tiny/lm", "graph": g, "method": "good", "log_gap": d, "reason": None}
        for g, d in ((ONE, -1.0), (OTHER, -3.0))
    ]
    console = Console(file=io.StringIO(), width=200)
    console.print(reports.comparison_terminal({"crossed": crossed}))
    assert isinstance(console.file, io.StringIO)
    assert all(value in console.file.getvalue() for value in ("0.368", "0.0498"))


def test_seeds_of_two_graphs_are_two_spreads() -> None:
    rows = one_seed(leaderboard()).query("method == 'good'")
    rows = rows.assign(unaided_edges=9, seed_overlap=0.5, effective_edges=3, n_edges=9)
    seeds = [
        rows.assign(data_seed=s, graph=g, kl=kl) for s in range(SEEDS) for g, kl in ((ONE, 0.1), (OTHER, 1.1))
    ]
    table = tidy(pd.concat(seeds, ignore_index=True), KNOWN)
    section = seeds_section(table, read_metrics([*METRICS, *_OF_SEEDS]), METHODS, {})
    assert section is not None
    assert section.grid is not None
    assert {row.cells[4].text.partition(" ")[0] for row in section.grid.rows} == {"0.100", "1.10"}


_OF_SEEDS = [{"name": name, "label": name} for name in ("unaided_edges", "seed_overlap")]


def test_more_data_keeps_settings_apart() -> None:
    """What was found under another ablation is another method, whatever the number of prompts."""
    rows = one_seed(leaderboard()).query("method == 'good'")
    table = pd.concat(
        [
            rows.assign(n_discovery=n, discovery_ablation=found, kl=kl)
            for n in (100, 200)
            for found, kl in (("resample", 0.1), ("zero", 2.0))
        ],
        ignore_index=True,
    )
    found = over_data(tidy(table, KNOWN), METHODS)
    assert found.groupby("label")["kl"].unique().map(list).to_dict() == {
        "good": [0.1], "good (discovery_ablation=zero)": [2.0],
    }  # fmt: skip


def test_what_brackets_hold_and_what_has_none() -> None:
    def said(table: pd.DataFrame) -> str:
        return describe(tidy(table, KNOWN))

    table = one_seed(leaderboard())
    assert "for single runs, over these prompts" in said(table)
    none = table.assign(recovered_low=math.nan, these_prompts="too few", complement_loss_margin_low=0.1)
    assert "for the margin, over the random circuits" in said(none)
    assert "Recovered has no interval (too few), so no method can be called ahead." in said(none)
    two = leaderboard().assign(data_seeds=2, over_seeds="at least 3 data seeds are needed, not 2")
    assert "Means over data seeds have no interval (at least 3 data seeds are needed, not 2)." in said(two)
    assert "Means over data seeds have" not in said(two.assign(recovered_seeds_low=0.1))


def test_a_cell_of_fewer_runs_is_counted() -> None:
    table = leaderboard()
    fewer = table[~((table["task"] == "gt") & (table["method"] == "good") & (table["data_seed"] == 1))]
    (all_tasks,) = (each for each in build(fewer, METRICS, METHODS, "").paper if "all" in each.stem)
    runs = {row.cells[0].text: row.cells[1].text for row in all_tasks.grid.rows}
    assert runs == {"good": "1 to 2", "middling": "2", "random_edges": "2"}


@pytest.mark.parametrize(
    ("alike", "over"), [(True, "new data seeds and"), (False, ", for methods with several")]
)
def test_intervals_of_some_methods_are_not_said_of_all(alike: bool, over: str) -> None:
    table = leaderboard().query("task == 'ioi'")
    if not alike:
        table = table[(table["method"] != "middling") | (table["data_seed"] == 0)]
    several = table.groupby("method")["data_seed"].transform("nunique") > 1
    ends = {"recovered_new_low": 0.1, "recovered_new_high": 0.2, "recovered_new": 0.15}
    table = table.assign(**ends, **{name.replace("new", "seeds"): x for name, x in ends.items()})
    table.loc[~several, ["recovered_seeds", "recovered_seeds_low", "recovered_seeds_high"]] = math.nan
    metrics = [*METRICS, {"name": "recovered_new", "label": "new", "unit": "share", "better": "higher"}]
    (paper,) = build(table, metrics, METHODS, "").paper
    assert over in " ".join(paper.grid.notes)


def test_of_fresh_prompts_no_method_is_lost() -> None:
    """One with a single size beside one with several."""
    gap = {**PAIR, "model": "m", "graph": ONE, "gap": 0.1, "other_circuits": 0}
    gaps = [{**gap, "method": "good", "size": s} for s in (None, 0.01, 0.1)]
    section = fresh_section([*gaps, {**gap, "method": "middling", "size": 0.01}])
    assert section is not None
    assert section.grid is not None
    assert [row.cells[1].text for row in section.grid.rows] == ["good", "middling"]


def test_a_cost_is_of_all_behaviours_or_none() -> None:
    """A mean over other tasks does not compare; and without a figure nothing is said of it."""
    table = one_seed(leaderboard()).assign(cpu_seconds=3.0)
    table = table[(table["method"] != "good") | (table["task"] == "ioi")]
    standing = {
        "low": None,
        "high": None,
        "reason": "few",
        "rank_low": None,
        "rank_high": None,
        "data_seeds": 1,
    }
    methods = [{"method": name, "interquartile_mean": 0.5, **standing} for name in ("good", "middling")]
    whole = {**PAIR, "model": "tiny/lm", "graph": "edges", "behaviours": ["ioi", "gt"], "methods": methods}
    section = standings_section([whole], fold_seeds(tidy(table, KNOWN)), {})
    assert section is not None
    assert section.grid is not None
    assert [row.cells[-1].text for row in section.grid.rows] == [DASH, "3.00"]
    assert not section.figures
    assert "figure" not in section.meaning
