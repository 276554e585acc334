"""Circuits with more edges than asked for: one sees them, and they compete with nobody."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import reports
from report_tables import METRIC, METRICS, fine_sizes, leaderboard, rows, section
from reports.claims.edges_needed import needs
from reports.claims.section import claims_section
from reports.leaderboard.entries import fold_seeds, tidy
from reports.leaderboard.ranking import rank
from reports.parts import svg
from reports.parts.methods import Methods
from reports.parts.metric import read_metrics
from reports.render import markdown_page
from reports.report import build

METHODS = Methods(("good", "middling", "random_edges"), "random_edges")


@pytest.fixture
def table() -> pd.DataFrame:
    """`good` is by far the best of ioi at 1 %, in one of two seeds with more edges than asked for."""
    table = leaderboard()
    table["oversize"] = False
    greedy = (table["method"] == "good") & (table["task"] == "ioi") & (table["size_requested"] == 0.01)
    table.loc[greedy & (table["data_seed"] == 1), ["oversize", "edge_sparsity"]] = True, 0.5
    return table


def with_a_rival(table: pd.DataFrame) -> pd.DataFrame:
    """One that middling beats."""
    worse = table[table["method"] == "middling"].assign(method="worse", kl=5.0, recovered=1 / 6)
    return pd.concat([table, worse])


def test_it_is_ranked_nowhere(table: pd.DataFrame) -> None:
    (ranking,) = rank(fold_seeds(tidy(table, read_metrics(METRICS))), read_metrics(METRICS)["kl"])
    assert ranking.scored.to_dict() == {"good": 3, "middling": 4, "random_edges": 3}
    assert ranking.by_task.loc["middling", "ioi"] == (1 + 1.5) / 2


def test_it_is_marked_in_the_table_and_never_bold(table: pd.DataFrame) -> None:
    page = markdown_page(build(with_a_rival(table), METRICS, METHODS, ""))
    lines = section(page, "ioi").splitlines()
    (row,) = [line for line in lines if line.startswith("| good | 1 %")]
    assert row.startswith("| good | 1 % exceeded | 2 runs 2 data seeds | 0.833")
    assert "**" not in row
    assert any(line.startswith("| middling | 1 % | 2 runs 2 data seeds | **0.667") for line in lines)
    assert "exceeded: 1 row with more edges than requested, neither ranked nor marked as best." in lines
    assert "exceeded" not in section(page, "gt")
    assert "Circuits of good have more edges than requested" in page


def test_it_is_drawn_hollow_where_its_edges_are(table: pd.DataFrame) -> None:
    ioi = next(task for task in build(table, METRICS, METHODS, "").tasks if task.title == "ioi")
    figure = ioi.figures[0].figure()
    mine = [line for line in figure.axes[0].get_lines() if line.get_label() == "good"]
    assert [(line.get_markerfacecolor(), line.get_linestyle()) for line in mine] == [
        (mine[0].get_color(), "-"),
        ("none", "None"),
    ]
    assert [np.asarray(line.get_xdata()).tolist() for line in mine] == [
        pytest.approx([10]),
        pytest.approx([25.5]),
    ]
    assert (
        "hollow, off the lines: 1 circuit with more edges than requested"
        in svg.render(figure, "svg").decode()
    )


def test_the_terminal_stars_it(table: pd.DataFrame) -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    console.print(reports.terminal_table(with_a_rival(table), METRICS, METHODS))
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "0.833*" in said
    assert "* more edges than requested: not ranked" in said
    assert "\x1b[1m0.833*" not in said
    assert "\x1b[1m0.667" in said


def test_nothing_is_said_where_there_is_none() -> None:
    page = markdown_page(build(leaderboard().assign(oversize=False), METRICS, METHODS, ""))
    assert "exceeded" not in page
    assert "than requested" not in page.replace("nor are circuits with more edges than requested", "")


def test_no_claim_rests_on_it() -> None:
    methods = Methods(("edge_pruning", "acdc", "eap", "random_edges"), "random_edges")
    fine = tidy(fine_sizes(100), METRIC)
    assert {need.method for need in needs(fine, methods)} == {"edge_pruning", "eap"}
    cheating = fine.assign(oversize=(fine["method"] == "edge_pruning").astype(float))
    assert {need.method for need in needs(cheating, methods)} == {"eap"}

    fair = pd.DataFrame(
        rows("edge_pruning", log_gap=[-2.0, -2.1, -2.0])
        + rows("eap", log_gap=[-1.0, -1.0, -0.9])
        + rows("acdc", log_gap=[-1.2] * 3)
    )
    told = claims_section(tidy(fair, METRIC), methods, None)
    assert told is not None
    assert told.grid is not None
    assert "C2" in [row.cells[0].text for row in told.grid.rows]
    assert claims_section(tidy(fair.assign(oversize=True), METRIC), methods, None) is None


def test_prompts_that_repeat_are_told() -> None:
    table = leaderboard().assign(n_evaluation=200, repeated_prompts=0.0)
    assert "repeat an earlier" not in markdown_page(build(table, METRICS, METHODS, ""))
    table.loc[(table["task"] == "gt") & (table["method"] == "good"), "repeated_prompts"] = 12
    page = markdown_page(build(table, METRICS, METHODS, ""))
    assert "gt on tiny/lm: 12 of 200 evaluation prompts repeat an earlier one" in page
    assert "ioi on tiny/lm" not in page


def test_prompts_that_data_seeds_share_are_told() -> None:
    table = leaderboard().assign(n_discovery=200, shared_prompts=0.0)
    assert "another data seed" not in markdown_page(build(table, METRICS, METHODS, ""))
    table.loc[(table["task"] == "gt") & (table["method"] == "good"), "shared_prompts"] = 12
    page = markdown_page(build(table, METRICS, METHODS, ""))
    assert "gt on tiny/lm: up to 12 of 200 discovery prompts are also in the set of another data seed" in page
    assert "ioi on tiny/lm: up to" not in page


def test_a_note_stands_beside_its_job() -> None:
    table = leaderboard()
    table["notes"] = [
        "all scores are 0" if m == "good" and t == "ioi" else ""
        for m, t in table[["method", "task"]].to_numpy()
    ]
    page = section(markdown_page(build(table, METRICS, METHODS, "")), "Jobs")
    assert page.count("| ok | all scores are 0 |") == 2  # two seeds
    assert "| declined | no gradient |" in page
    assert "12 jobs ok, 1 declined, 1 failed." in page
