"""Reports: the numbers, the directions taken from data, what is unscored, and pages that need nothing."""

import io
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import reports
from bench.files import write_atomically
from bench.scoring.catalogue import METRICS as CATALOGUE
from report_tables import EVIL, KL, METRICS, leaderboard, one_seed, section
from reports.leaderboard.entries import Entry, fold_seeds, tidy
from reports.leaderboard.ranking import rank
from reports.leaderboard.tables import COLUMNS
from reports.leaderboard.training import plot_training
from reports.parts import svg
from reports.parts.content import Training
from reports.parts.methods import Methods
from reports.parts.metric import Metric, read_metrics
from reports.parts.numbers import DASH, mean_spread, number, share
from reports.parts.style import lines
from reports.render import markdown_page
from reports.report import FIGURES, build

METHODS = Methods(("good", "middling", "random_edges"), "random_edges")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    for name, content in reports.render_report(leaderboard(), METRICS, METHODS).items():
        write_atomically(folder / name, content)
    return folder


def entries(table: pd.DataFrame) -> list[Entry]:
    return fold_seeds(tidy(table, read_metrics(METRICS)))


def markdown(table: pd.DataFrame, metrics: list[dict[str, str]] = METRICS) -> str:
    """The Markdown page alone: no plot is rendered."""
    return markdown_page(build(table, metrics, METHODS, "leaderboard"))


def test_files(out: Path) -> None:
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    stems = [f"{metric}_tiny-lm_{task}_resample" for metric in FIGURES for task in KL]
    plots = {f"plots/{stem}.{kind}" for stem in [*stems, "recovered_all_tasks"] for kind in ("png", "svg")}
    assert {name for name in names if not name.startswith("paper/")} == plots | {
        "index.html",
        "leaderboard.md",
    }


def test_mean_spread_and_interval() -> None:
    text = section(markdown(leaderboard()), "gt")
    # kl of two seeds at 0.9 and 1.1: mean 1, sample standard deviation 0.141; recovered is 1 - kl / 6
    assert "| middling | 1 % | 2 runs 2 data seeds | **0.833 ± 0.024** | **1.00 ± 0.14** |" in text
    text = section(markdown(one_seed(leaderboard())), "gt")
    assert r"| middling | 1 % | **0.850** \[0.800, 0.867\] | **0.900** \[0.800, 1.20\] |" in text


def test_numbers() -> None:
    assert [number(value) for value in (0.0, 0.5, 12.34, 1234.5, 4.2e-5, -0.25)] == [
        "0.00", "0.500", "12.3", "1,234", "4.2e-5", "-0.250",
    ]  # fmt: skip
    assert number(math.nan) == DASH
    assert number(math.inf) == "∞"
    assert number(400.0, whole=True) == "400"
    assert mean_spread(-0.00161, 0.07925) == "-0.002 ± 0.079"
    assert mean_spread(math.nan, math.nan) == DASH
    assert [share(value) for value in (0.001, 0.2, 1.0, math.nan)] == ["0.1 %", "20 %", "100 %", "own"]


def test_ranks_by_hand() -> None:
    (ranking,) = rank(entries(leaderboard()), read_metrics(METRICS)["kl"])
    # ioi: 1 2 3 and 1.5 1.5 3;  gt: 2 1 3 and 1 2 - (random_edges is unscored there)
    assert ranking.cells == 4
    assert ranking.mean.to_dict() == pytest.approx(
        {"good": 5.5 / 4, "middling": 6.5 / 4, "random_edges": 3.0}
    )
    assert ranking.scored.to_dict() == {"good": 4, "middling": 4, "random_edges": 3}
    assert ranking.by_task.loc["good", "ioi"] == 1.25


def test_the_mask_of_ones_competes_with_nobody() -> None:
    """However good it is, and whatever size it says."""
    table = leaderboard()
    full = table[table["method"] == "full"]
    both = pd.concat([table, full.assign(method="ones", size_requested=0.01, kl=1e-9)], ignore_index=True)
    (ranking,) = rank(entries(both), read_metrics(METRICS)["kl"])
    assert ranking.mean.to_dict() == rank(entries(table), read_metrics(METRICS)["kl"])[0].mean.to_dict()
    text = section(markdown(both), "ioi")
    assert "**" not in next(line for line in text.splitlines() if line.startswith("| ones | 1 % |"))


def test_unscored_is_counted_and_never_zero() -> None:
    gt = section(markdown(leaderboard()), "gt")
    row = next(line for line in gt.splitlines() if line.startswith("| random_edges | 10 % |"))
    assert row == f"| random_edges | 10 % | 2 runs 2 data seeds {f'| {DASH} ' * 4}| 0.900 | 40 | 2.50 |"
    assert f"11 cells unscored ({DASH}), 7 of them in the rows of references." in gt


def test_part_of_the_seeds_is_said() -> None:
    table = leaderboard()
    table.loc[(table["method"] == "good") & (table["data_seed"] == 0) & (table["task"] == "ioi"), "kl"] = (
        math.nan
    )
    text = markdown(table)
    assert "1 of 2 seeds" in text
    assert "2 cells scored on some seeds only." in text


@pytest.mark.parametrize(("better", "best", "arrow"), [("higher", "good", "↑"), ("lower", "middling", "↓")])
def test_direction_comes_from_data(better: str, best: str, arrow: str) -> None:
    """The best is bold; the full, the empty and the random circuits never are."""
    metrics = [{**METRICS[0], "better": better}, *METRICS[1:]]
    text = section(markdown(leaderboard(), metrics), "ioi")
    assert re.findall(r"\| (\w+) \| 1 % \|[^|]*\| \*\*", text) == [best]
    assert not re.search(r"\| (full|empty|random_edges) .*\*\*", text)
    assert f"| Recovered, these prompts {arrow} (share) |" in text


def test_completeness_and_nulls_rank_nobody() -> None:
    unjudged = {column.metric for column in COLUMNS if not column.judged}
    complements = {"complement_kl", "complement_loss", "complement_choice_accuracy"}
    assert unjudged == complements | {"recovered_rewired", "chance", "edges_filled", "weight_density"}


def test_no_complement_is_the_better_the_higher() -> None:
    """It is read as its distance to the empty circuit's value, which is another row's."""
    complements = {metric.name: metric for metric in CATALOGUE if metric.name.startswith("complement_")}
    assert {n for n, m in complements.items() if m.better == "higher"} == {"complement_loss_margin"}
    beside = [Metric(m.name, m.label, better=m.better) for m in complements.values() if "empty" in m.better]
    assert {metric.name for metric in beside} == {
        "complement_kl",
        "complement_accuracy",
        "complement_choice_accuracy",
        "complement_choice_probability",
    }
    assert all(math.isnan(metric.badness(0.5)) for metric in beside)


def test_page_is_offline_and_escaped(out: Path) -> None:
    html = (out / "index.html").read_text()
    assert "http" not in html
    assert not re.search(r'(src|href)="(?!#)', html)
    assert "alert(1)" in html
    assert "<script>alert" not in html
    assert html.count("<svg") == 7 + 5  # with linear axes as well
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for used in re.findall(r'(?:href="#|url\(#)([^")]+)', html):
        assert used in ids


def test_method_names_are_escaped_everywhere() -> None:
    table = leaderboard()
    table["params"] = table["params"].astype(object).where(table["method"] != "good", EVIL)
    files = reports.render_report(table, METRICS, METHODS)
    assert "<script>alert" not in files["index.html"].decode()
    text = files["leaderboard.md"].decode()
    assert "<script>" not in text
    widths = {
        len(re.findall(r"(?<!\\)\|", line)) for line in text.split("## ioi")[1].splitlines() if "1 %" in line
    }
    assert len(widths) == 1


def test_troubles_are_listed(out: Path) -> None:
    text = (out / "leaderboard.md").read_text()
    assert "12 jobs ok, 1 declined, 1 failed." in text  # 3 methods, 2 tasks, 2 seeds; full and empty are none
    assert "| declined | no gradient |" in text
    assert "boom &lt;script>" in text


def test_only_failures_still_report() -> None:
    table = leaderboard()
    files = reports.render_report(table[table["status"] != "ok"], METRICS, METHODS)
    assert "0 jobs ok" in files["leaderboard.md"].decode()
    assert "No ranking" in files["index.html"].decode()


def test_zero_kl_is_drawn_on_a_stated_floor() -> None:
    table = leaderboard()
    table.loc[(table["method"] == "good") & (table["size_requested"] == 0.1), ["kl", "kl_low"]] = 0.0
    gt, ioi = (
        svg.render(task.figures[1].figure(), "svg").decode()
        for task in build(table, METRICS, METHODS, "").tasks
    )
    assert "1 value at or below the floor of 0.01" in ioi  # a tenth of the decade of 0.5
    assert "not drawn: 1 point" in gt


def turnover(turns: bool | None, opposite: bool, size: float | None = None) -> dict[str, Any]:
    sides = {
        side: {"ablation": ablation, "found_under": ablation, "verdict": verdict, "seed_flips": 0.1}
        for side, ablation, verdict in (("one", "resample", "a ahead"), ("other", "zero", "b ahead"))
    }
    return {"model": "tiny/lm", "behaviour": "ioi", "size": size, "a": "good", "b": "middling",
            "kind": "found as scored", "turns": turns, "opposite": opposite, **sides}  # fmt: skip


def test_turnovers_are_told_and_counted() -> None:
    """Those over all sizes, of cells that rank; the pairs that turned by name."""
    told = [
        turnover(True, True), turnover(False, True), turnover(False, False), turnover(None, True),
        turnover(True, True, 0.1),
    ]  # fmt: skip
    files = reports.render_report(leaderboard(), METRICS, METHODS, compared={"turnovers": told})
    text = " ".join(files["leaderboard.md"].decode().split())
    assert (
        "tiny/lm: between resample and zero, with circuits found as scored, over all sizes, 3 of 4 pairs of "
        "methods on a behaviour are ranked under both; 1 (33.33 %) turned, 2 (66.67 %) have opposite signs, "
        "and two data seeds of one ablation differ in sign in 10 % of cases." in text
    )
    assert (
        text.count("Turned: ioi, good (a) and middling (b): a ahead under resample, b ahead under zero.") == 1
    )
    assert "have opposite signs" in files["index.html"].decode()


def test_objectives_do_not_mix() -> None:
    table = leaderboard().assign(objective="kl")
    table.loc[(table["method"] == "good") & (table["data_seed"] == 1), "objective"] = "logit_diff"
    labels = {entry.label for entry in entries(table) if entry.method == "good"}
    assert labels == {"good (objective=kl)", "good (objective=logit_diff)"}


def test_mixed_machines_and_repeated_rows_are_said() -> None:
    table = pd.concat([leaderboard().assign(threads=1), leaderboard().assign(threads=2)])
    text = markdown(table)
    assert "Seconds are not comparable throughout: runs differ in threads." in text
    assert "Rows that repeat a model, task, method, seed and size were averaged: 28." in text


def test_same_table_same_bytes(out: Path) -> None:
    for name, content in reports.render_report(leaderboard(), METRICS, METHODS).items():
        assert content == (out / name).read_bytes(), name


def test_trainings_are_drawn_a_figure_per_method_and_place() -> None:
    """Seeds share one figure; a quantity over many orders of magnitude has a logarithmic axis."""
    course = {"step": [1.0, 2.0], "loss": [1.0, 1e-3], "edges_open": [9.0, 8.0]}
    later = {**course, "loss": [2.0, 1e-3]}
    runs = [
        Training("m", "", "ioi", course),
        Training("m", "", "ioi", later),
        Training("m", EVIL, "ioi", course),
    ]
    files = reports.render_report(leaderboard(), METRICS, METHODS, trainings=runs)
    drawn = [name for name in files if name.startswith("plots/training_")]
    assert len(drawn) == 4
    assert "plots/training_1_m-ioi.png" in drawn
    page = files["index.html"].decode()
    assert EVIL not in page
    assert page.count('<section id="training">') == 1
    assert "plots/training_1_m-ioi.png" in files["leaderboard.md"].decode()
    loss, edges = plot_training("m", runs[:2], lines(METHODS, [("m", "")])["m"]).axes
    assert (loss.get_yscale(), edges.get_yscale()) == ("log", "linear")
    assert loss.yaxis.get_major_formatter()(0.01) == "0.01"  # no mathematical text: it is not parsed
    assert (len(loss.lines), edges.get_title(loc="left")) == (2, "edges open")


def test_lines_are_drawn_in_order_of_their_names() -> None:
    """Not in the order of a set, which differs from process to process."""
    table = leaderboard().query("task == 'ioi' and method in ('good', 'random_edges')")
    names = [f"m{i}" for i in range(9)]
    more = [table[table["method"] == "good"].assign(method=name) for name in names]
    (task,) = build(pd.concat([table, *more]), METRICS, METHODS, "").tasks
    labels = [str(line.get_label()) for line in task.figures[0].figure().axes[0].get_lines()]
    assert labels == ["random_edges", "good", *names, "full model"]


def test_bad_input_is_one_clear_line() -> None:
    table = leaderboard()
    with pytest.raises(ValueError, match="no rows"):
        reports.render_report(table.head(0), METRICS, METHODS)
    with pytest.raises(ValueError, match="lacks the column 'task'"):
        reports.render_report(table.drop(columns="task"), METRICS, METHODS)
    with pytest.raises(ValueError, match="'kl' holds something that is not a number"):
        reports.render_report(table.assign(kl="many"), METRICS, METHODS)
    with pytest.raises(ValueError, match="better is 'up'"):
        reports.render_report(table, [{"name": "kl", "better": "up"}], METHODS)


def test_terminal_table() -> None:
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=True, color_system="standard")
    console.print(reports.terminal_table(leaderboard(), METRICS, METHODS))
    text = re.sub(r"\x1b\[[\d;]*m", "", (raw := file.getvalue()))
    assert re.search(r"gt +│ good +│ +2 \(2\) │ 0.500 │ 0.967 │ +2.50", text)
    assert re.search(r"empty 0.00 │ middling", text)
    assert re.search(rf"random_edges │ +2 \(2\) │ 0.333 │ +{DASH}", text)
    assert "\x1b[1m0.967" in raw


def test_importing_reports_is_cheap() -> None:
    code = "import reports, sys; print(sorted({'matplotlib', 'jinja2', 'pandas', 'rich'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
