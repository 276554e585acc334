"""What is said with the headline: intervals of one run or of all, who is best, and where nobody is."""

from __future__ import annotations

import io
import math
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import reports
from report_tables import METRICS, leaderboard, older, one_seed, section
from reports.leaderboard.entries import Entry, fold_seeds, tidy
from reports.leaderboard.ranking import rank, ranking_grid
from reports.leaderboard.scales import place, share_at
from reports.leaderboard.summary import describe
from reports.leaderboard.tables import headline
from reports.parts.methods import Methods
from reports.parts.metric import read_metrics
from reports.render import markdown_page
from reports.report import build

METHODS = Methods(("good", "middling", "random_edges"), "random_edges")
KNOWN = read_metrics(METRICS)
NEW = ("recovered_new", "recovered_new_low", "recovered_new_high")


def of(table: pd.DataFrame, method: str, size: float = 0.01, task: str = "ioi") -> pd.Series[bool]:
    rows: pd.Series[bool] = (
        (table["method"] == method) & (table["size_requested"] == size) & (table["task"] == task)
    )
    return rows


def entry(table: pd.DataFrame, method: str = "good") -> Entry:
    return next(e for e in fold_seeds(tidy(table, KNOWN)) if (e.method, e.task) == (method, "ioi"))


def ioi(table: pd.DataFrame) -> str:
    return section(markdown_page(build(table, METRICS, METHODS, "")), "ioi")


def row(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {start} |"))


def terminal(table: pd.DataFrame) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    console.print(reports.terminal_table(table, METRICS, METHODS))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_worse_than_empty_is_said_and_best_of_nothing() -> None:
    table = one_seed(leaderboard())
    table.loc[of(table, "middling"), ["recovered", "recovered_low", "recovered_high"]] = -0.5, -0.6, -0.4
    table.loc[of(table, "middling"), ["exact_match", "kl"]] = 0.99, 0.01  # best of all, if it counted
    text = ioi(table)
    assert r"| -0.500 \[-0.600, -0.400\] worse than empty | 0.01" in row(text, "middling | 1 %")
    assert "**" not in row(text, "middling | 1 %")
    assert row(text, "good | 1 %").count("**") == 2 * 4, "the other, in every column"
    assert text.count("worse than empty") == 1
    said = terminal(table)
    assert "-0.500!" in said
    assert "! worse than the empty circuit" in said
    assert "\x1b[1m-0.500" not in said
    assert "worse than the empty circuit" not in terminal(leaderboard())


@pytest.mark.parametrize("params", ["", "kind=uniform"])
def test_random_circuits_are_never_bold(params: str) -> None:
    table = one_seed(leaderboard()).assign(params="")
    random = table["method"] == "random_edges"
    table.loc[random, ["recovered", "kl", "exact_match", "seconds"]] = 0.99, 0.001, 1.0, 0.001
    table.loc[random, "params"] = params
    text = ioi(table)
    assert "**" not in row(text, f"random_edges {params}".strip() + " | 1 %")
    assert "**0.850**" in row(text, "good | 1 %")
    assert not re.search(r"\x1b\[1m0\.990", terminal(table))
    assert "\x1b[1m0.850" in terminal(table)
    (ranking,) = rank(fold_seeds(tidy(table, KNOWN)), KNOWN["recovered"])
    grid = ranking_grid(ranking, KNOWN["recovered"], METHODS)
    marked = {row.cells[0].text: row.cells[1].best for row in grid.rows}
    assert marked.pop(f"random_edges ({params})" if params else "random_edges") is False
    assert ranking.mean.iloc[0] == 1.0
    assert marked == {"good": True, "middling": False}


def test_where_all_are_the_same_nobody_is_best_or_ranked() -> None:
    table = one_seed(leaderboard())
    here = (table["task"] == "ioi") & (table["size_requested"] == 0.01)
    table["cell"] = np.where(here, "all the same", "ranks")
    text = ioi(table)
    assert not any("**" in line for line in text.splitlines() if "| 1 % |" in line)
    assert "All the same at 1 %: fewer than two methods, random circuits aside," in text
    gt = section(markdown_page(build(table, METRICS, METHODS, "")), "gt")
    assert "**" in row(gt, "middling | 1 %")
    assert "All the same" not in gt
    said = terminal(table)
    assert "0.850=" in said
    assert "\x1b[1m0.850=" not in said
    assert "= all the same" in said
    entries = fold_seeds(tidy(table, KNOWN))
    (ranking,) = rank(entries, KNOWN["recovered"])
    assert ranking.cells == 3
    assert ranking.scored["good"] == 3
    assert "All the same" not in ioi(leaderboard())


def test_intervals_are_never_averaged() -> None:
    """Of two runs there is none; of their group there is, and the value that goes with it."""
    several = entry(leaderboard())
    assert (several.runs, several.data_seeds) == (2, 2)
    assert several.value("recovered") == pytest.approx(5 / 6)
    assert math.isnan(several.value("recovered_low"))
    assert math.isnan(several.value("kl_high"))
    assert several.stat("recovered").each == pytest.approx((1 - 0.9 / 6, 1 - 1.1 / 6))
    single = entry(one_seed(leaderboard()))
    assert single.value("recovered_low") == pytest.approx(0.8)
    margin = leaderboard().assign(complement_loss_margin_low=0.1, complement_loss_margin_high=0.3)
    assert entry(margin).value("complement_loss_margin_low") == pytest.approx(0.1)


def seeded(low: float, high: float) -> pd.DataFrame:
    """A third seed, and what the table says of all of them."""
    table = leaderboard()
    third = one_seed(table).query("method not in ('full', 'empty')").assign(data_seed=2)
    table = pd.concat([table, third], ignore_index=True)
    ran = ~table["method"].isin(["full", "empty"])
    table.loc[ran, NEW] = 0.7, 0.6, 0.8
    return table.assign(
        recovered_seeds=np.where(ran, 0.65, math.nan),
        recovered_seeds_low=np.where(ran, low, math.nan),
        recovered_seeds_high=np.where(ran, high, math.nan),
    )


def test_new_templates_of_several_seeds_have_the_interval_over_seeds() -> None:
    text = ioi(seeded(0.45, 0.79))
    assert "| Recovered, these prompts ↑ (share) | recovered new" in text
    assert r"| 0.650 \[0.450, 0.790\] |" in row(text, "good | 1 %")
    assert "| 3 runs 3 data seeds |" in row(text, "good | 1 %")
    assert row(text, "empty | 0 %").startswith("| empty | 0 % |  | 0.00 |")
    few = entry(seeded(math.nan, math.nan))
    assert few.value("recovered_new") == pytest.approx(0.7)
    assert math.isnan(few.value("recovered_new_low"))


def test_a_single_run_has_no_n() -> None:
    text = ioi(one_seed(leaderboard()))
    assert "| edges asked | Recovered" in text
    assert "data seed" not in text


def test_the_summary_says_what_brackets_are_over() -> None:
    plain = describe(tidy(leaderboard(), KNOWN))
    assert "over these prompts" in plain
    assert "new templates" not in plain
    told = describe(tidy(seeded(0.45, 0.79), KNOWN))
    assert "for new templates, over templates that no method saw" in told
    assert "for several runs, over new data seeds as well" in told
    assert "means over seeds, ± their sample standard deviation" in told
    assert "± their" not in describe(tidy(one_seed(leaderboard()), KNOWN))


def test_several_runs_are_dots_and_one_is_a_band() -> None:
    def dots(table: pd.DataFrame) -> list[int]:
        ioi = next(task for task in build(table, METRICS, METHODS, "").tasks if task.title == "ioi")
        found = ioi.figures[0].figure().axes[0].collections
        return [len(np.ma.getdata(each.get_offsets())) for each in found if len(each.get_sizes())]  # type: ignore[attr-defined]

    assert dots(leaderboard()) == [4, 4, 4], "two sizes of two runs"
    assert dots(one_seed(leaderboard())) == []


def test_the_share_axis_widens_at_both_ends() -> None:
    shares = np.array([-30, -1, -0.01, 0, 0.02, 0.5, 0.98, 1, 1.01])
    assert share_at(place(shares)) == pytest.approx(shares)
    at = place(np.array([0.0, 0.02, 0.48, 0.5, 0.98, 1.0]))
    assert at[1] - at[0] == pytest.approx(at[5] - at[4])
    assert at[1] - at[0] > 4 * (at[3] - at[2])


def test_a_table_without_it_is_led_by_kl() -> None:
    table = older(leaderboard())
    assert headline(fold_seeds(tidy(table, KNOWN))) == "kl"
    assert headline(fold_seeds(tidy(leaderboard(), KNOWN))) == "recovered"
    report = build(table, METRICS, METHODS, "")
    assert report.panel is not None
    assert report.panel.stem == "kl_all_tasks"
    assert report.ranking_meaning.startswith("Mean rank by KL")
    text = section(markdown_page(report), "ioi")
    assert "Recovered" not in text
    assert "| **1.00 ± 0.14** |" in row(text, "good | 1 %")
    assert "KL ↓" in terminal(table)
    assert "bootstrap interval over examples" in report.summary
