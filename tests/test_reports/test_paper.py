"""What a paper takes from a report: LaTeX, Markdown and CSV tables, figures with their fonts in them."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

import reports
from report_tables import EVIL, METRICS, leaderboard, one_seed
from reports import Methods
from reports.leaderboard.entries import by_task, fold_seeds, tidy
from reports.leaderboard.plots import COLUMN, plot_panel
from reports.parts import latex
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.metric import read_metrics
from reports.parts.style import lines
from reports.render import paper_files
from reports.report import build

METHODS = Methods(("good", "middling", "random_edges"), "random_edges")
PAIR = {
    "model": "tiny/lm", "graph": "edges", "ablation": "resample", "pruned": "edges", "behaviour": "ioi",
    "a": "good", "b": "middling", "verdict": "equal", "found_under": "resample", "difference": 0.0,
    "low": -0.1, "high": 0.1, "over": "new templates, this data seed",
    "p_holm": 1.0, "p_equal": 0.01, "reason": "",
}  # fmt: skip


def paper(table: pd.DataFrame, *pairs: dict[str, Any]) -> dict[str, str]:
    """The tables, by file name."""
    tables = build(table, METRICS, METHODS, "", compared={"pairs": pairs}).paper
    files = {name: content for each in tables for name, content in paper_files(each).items()}
    return {name.removeprefix("paper/"): content.decode() for name, content in files.items()}


def test_files() -> None:
    kinds = ("tex", "md", "csv")
    assert paper(leaderboard()).keys() == {
        f"tiny-lm_{what}_resample.{kind}" for what in ("all-tasks", "ioi", "gt") for kind in kinds
    }


def test_the_best_is_bold_and_its_equal_has_a_dagger() -> None:
    """At the size of the test and on its task alone; a verdict other than equal marks nobody."""
    table = paper(one_seed(leaderboard()), {**PAIR, "size": 0.01})["tiny-lm_ioi_resample.md"]
    good, middling = re.findall(r"^\| (?:good|middling) \|.*$", table, re.M)
    assert "**0.850**" in good
    assert "†" not in good
    assert "0.683†" in middling
    assert table.count("0.683†") == 1
    everything = paper(one_seed(leaderboard()), {**PAIR, "size": 0.01})["tiny-lm_all-tasks_resample.tex"]
    assert everything.count("^{\\dagger}") == 2  # and in the caption
    for other in ({"size": None}, {"size": 0.01, "verdict": "undecided"}, {"size": 0.01, "model": "else"}):
        assert "dagger" not in paper(one_seed(leaderboard()), {**PAIR, **other})["tiny-lm_ioi_resample.tex"]


def test_intervals_are_named_and_runs_counted() -> None:
    one = paper(one_seed(leaderboard()))["tiny-lm_ioi_resample.md"]
    assert "| good | 1 | **0.850** \\[0.800, 0.867\\] |" in one
    assert "95 % intervals over these prompts" in one
    two = paper(leaderboard())["tiny-lm_ioi_resample.md"]
    assert "| good | 2 | **0.833 ± 0.024** |" in two
    assert "±: sample standard deviation over runs." in two
    assert "intervals" not in two
    assert "n: runs, over 2 data seeds" in two


def test_rows_are_data() -> None:
    table = pd.read_csv(io.StringIO(paper(one_seed(leaderboard()))["tiny-lm_all-tasks_resample.csv"]))
    row = table[(table["task"] == "ioi") & (table["method"] == "good")].iloc[0]
    assert row["value"] == pytest.approx(0.85)
    assert (row["low"], row["high"], row["best"], row["runs"]) == (
        pytest.approx(0.8),
        pytest.approx(5.2 / 6),
        True,
        1,
    )
    assert not table[table["method"] == "random_edges"]["best"].any()


def test_worse_than_nothing_is_grey() -> None:
    table = one_seed(leaderboard())
    worse = (table["method"] == "middling") & (table["size_requested"] == 0.01) & (table["task"] == "ioi")
    table.loc[worse, ["recovered", "recovered_low", "recovered_high"]] = (-0.5, -0.6, -0.4)
    text = paper(table)["tiny-lm_ioi_resample.tex"]
    assert "\\textcolor{gray}{$-$0.500" in text
    assert "Grey: worse than the empty circuit." in text


def test_latex_is_escaped() -> None:
    """Every name is text; braces close, columns are as many as the head says."""
    row = Row((Cell(f"a_b & 50 % {{{EVIL}}} ~^\\"), Cell("-1.5e-7", "[-0.1, 2]", best=True), Cell("3")))
    grid = Grid(
        (Heading("method"), Heading("x", "s"), Heading("y")), (row,), 1, ("50 % of #1",), (("", 1), ("t", 2))
    )
    text = latex.table(grid, "A caption", "stem")
    assert "a\\_b \\& 50 \\% \\{\\textless{}script\\textgreater{}alert(1)" in text
    assert "\\textbf{$-$1.5$\\cdot 10^{-7}$}$_{\\text{$-$0.1}}^{\\text{2}}$" in text
    assert "\\cmidrule(lr){2-3}" in text
    assert "50 \\% of \\#1" in text
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    for line in text.splitlines():
        if line.endswith("\\\\") and "multicolumn" not in line:
            assert len(re.findall(r"(?<!\\)&", line)) == 2


def test_figures_fit_a_column_and_share_their_axes() -> None:
    files = reports.render_report(one_seed(leaderboard()), METRICS, METHODS)
    drawn = {name: content for name, content in files.items() if name.endswith(".pdf")}
    assert drawn.keys() == {
        f"paper/{stem}.pdf"
        for stem in ("recovered_all_tasks", "recovered_tiny-lm_ioi_resample", "recovered_tiny-lm_gt_resample")
    }
    for name, content in drawn.items():
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", content)
        assert box is not None
        assert float(box[1]) / 72 == pytest.approx(4.5 if "all_tasks" in name else 3.25)  # two tasks of three
        assert b"/FontFile2" in content
        assert b"/Type3" not in content
    table = tidy(leaderboard(), read_metrics(METRICS))
    tasks = {task: group for (_, task), group in by_task(fold_seeds(table)).items()}
    looks = lines(METHODS, [(name, "") for name in METHODS.names])
    figure = plot_panel(tasks, read_metrics(METRICS)["recovered"], looks, "share", COLUMN)
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    for axes in figure.axes:
        assert [f"{tick:g}" for tick in axes.get_xticks()] == ["1", "10"]


def test_equal_runs_stand_beside_each_other() -> None:
    """Three seeds of one value are three dots."""
    table = pd.concat([one_seed(leaderboard()).assign(data_seed=seed) for seed in range(3)])
    entries = fold_seeds(tidy(table, read_metrics(METRICS)))
    looks = lines(METHODS, [(name, "") for name in METHODS.names])
    figure = plot_panel(
        {"ioi": [e for e in entries if e.task == "ioi"]}, read_metrics(METRICS)["kl"], looks, "log"
    )
    dots = np.asarray(figure.axes[0].collections[-1].get_offsets())
    assert len(np.unique(dots.round(6), axis=0)) == len(dots) == 6
