"""A figure that cannot be drawn is a note in its place, and the rest of the report stands."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import reports
from bench.files import load_tensors, save_tensors
from bench.report import run, write_report
from problems import SMALL
from report_tables import METRICS, leaderboard
from reports.leaderboard import plots
from reports.leaderboard.training import plot_training
from reports.parts.content import Training
from reports.parts.methods import Methods
from reports.parts.style import lines

METHODS = Methods(("good", "middling", "random_edges"), "random_edges")
SOUND = {"step": [1.0, 2.0], "loss": [1.0, 0.5]}


def test_a_trace_that_cannot_be_drawn() -> None:
    """As older results may hold one: its series differ in length."""
    runs = [
        Training("good", "", "ioi", {"step": [1.0, 2.0], "loss": [1.0]}),
        Training("good", "", "gt", SOUND),
    ]
    files = reports.render_report(leaderboard(), METRICS, METHODS, trainings=runs)
    page, text = files["index.html"].decode(), files["leaderboard.md"].decode()
    for told in (page, text.replace("\\", "")):
        assert "Not drawn: How good · ioi trained. ValueError: x and y must have same first dimension" in told
    assert "plots/training_2_good-gt.png" in text
    assert [name for name in files if name.startswith("plots/training_")] == [
        "plots/training_2_good-gt.svg",
        "plots/training_2_good-gt.png",
    ]
    assert page.count("<svg") == 8 + 5  # with linear axes as well, all but a training and faithfulness


@pytest.mark.parametrize("poisoned", ["plot_metric", "plot_panel"])
def test_a_figure_that_fails(poisoned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("no\nfont <b>at all</b>" + chr(0xD800))

    monkeypatch.setattr(plots, poisoned, fails)
    files = reports.render_report(leaderboard(), METRICS, METHODS)
    page, text = files["index.html"].decode(), files["leaderboard.md"].decode()
    lost = {"plot_metric": 6, "plot_panel": 1}[poisoned]
    assert page.count("Not drawn: ") == lost
    linear = {"plot_metric": 1, "plot_panel": 4}[poisoned]
    assert page.count("<svg") == 7 - lost + linear
    assert "<b>at all" not in page
    assert text.count("Not drawn: Recovered against the share of edges kept") == min(lost, 2)
    assert "RuntimeError: no font &lt;b>at all" in text
    assert sum(name.startswith("plots/") for name in files) == 2 * (7 - lost)
    assert "| good | 1 % |" in text


def test_without_fonts_there_are_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError("the fonts are gone")

    monkeypatch.setattr("matplotlib.font_manager.fontManager._find_fonts_by_props", fails)
    monkeypatch.setattr("matplotlib.font_manager.fontManager.findfont", fails)
    files = reports.render_report(leaderboard(), METRICS, METHODS)
    assert {name for name in files if not name.startswith("paper/")} == {"index.html", "leaderboard.md"}
    assert not [name for name in files if name.endswith(".pdf")]
    assert files["index.html"].decode().count("OSError: the fonts are gone") == 7


def test_what_is_no_number_is_left_out_of_a_curve() -> None:
    """Seeds need not note the same; a quantity without any finite value is an empty panel."""
    runs = [
        Training("good", "", "ioi", {**SOUND, "loss": [math.inf, 0.5], "odd": [math.nan, -math.inf]}),
        Training("good", "", "ioi", {**SOUND, "norm": [1e-3, 1e3]}),
        Training("good", "", "ioi", {"step": [], "loss": []}),
    ]
    figure = plot_training("good", runs, lines(METHODS, [("good", "")])["good"])
    loss, odd, norm = figure.axes
    assert len(loss.lines) == 3
    assert (loss.get_yscale(), odd.get_yscale(), norm.get_yscale()) == ("linear", "linear", "log")
    files = reports.render_report(leaderboard(), METRICS, METHODS, trainings=runs)
    assert "Not drawn" not in files["index.html"].decode()


def test_figures_that_a_page_has_no_room_for_are_files(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = reports.render_report(leaderboard(), METRICS, METHODS)
    monkeypatch.setattr("reports.render.ROOM", 1)
    less = reports.render_report(leaderboard(), METRICS, METHODS)
    assert less.keys() == whole.keys()
    assert less["leaderboard.md"] == whole["leaderboard.md"]
    page = less["index.html"].decode()
    assert page.count("<svg") == 2  # the first one's, and it with a linear axis
    figures = [name for name in whole if name.startswith("plots/") and name.endswith(".svg")]
    assert page.count("Left out to limit the size of this page: plots/") == len(figures) - 1


def test_what_older_results_hold_ends_no_report(tmp_path: Path) -> None:
    """A lone surrogate, which no table can hold, and a trace of uneven lengths, which no figure can."""
    run(dataclasses.replace(SMALL, methods=("random_edges",), n_discovery=(8,), n_evaluation=8), tmp_path)
    (file,) = (tmp_path / "runs").glob("*.safetensors")
    tensors, header = load_tensors(file)
    header["record"] |= {
        "objective": "k\ud800l",
        "trace": {"step": [1, 2], "loss": [1.0], "gap\ud800": [1, 2]},
    }
    save_tensors(file, tensors, header)
    write_report(tmp_path, tmp_path)
    table = pd.read_csv(tmp_path / "leaderboard.csv")
    assert set(table["objective"].dropna()) == {"k?l"}
    assert "Not drawn: How random" in (tmp_path / "leaderboard.md").read_text().replace("\\", "")
    assert "Not drawn: How random" in (tmp_path / "index.html").read_text()
