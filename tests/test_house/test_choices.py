"""Defaults are what the log of choices chooses, or its page says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.errors import UserError
from bench.names import choose_method
from bench.runs.experiment import Experiment
from choices import log_of, winner

ROOT = Path(__file__).parents[2]
TUNING = ROOT / "docs" / "results" / "tuning"
LOGS = sorted(path.stem for path in TUNING.glob("*.csv"))
"""Each is of the configuration of its name."""
TOLD = "authors"
"""A log that chooses nothing: it tells what the settings of methods' authors do."""


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(TUNING / f"{name}.csv").fillna({"params": ""})


@pytest.mark.parametrize("name", LOGS)
def test_the_log_holds_every_trial(name: str) -> None:
    """Each setting that the configuration names, on each task, and no other, on validation prompts."""
    experiment = Experiment.from_file(ROOT / "configs" / "tuning" / f"{name}.yaml")
    assert experiment.split == "validation"
    named = [choose_method(text) for text in experiment.methods]
    wanted = {(each.name, each.params, task) for each in named for task in experiment.tasks}
    log = read(name)
    assert set(zip(log["method"], log["params"], log["task"], strict=True)) == wanted
    scored = log.groupby(["method", "params"])["log_gap"].count()
    said = (TUNING / "tuning.md").read_text()
    assert all(
        f"| `{':'.join(setting)}` | failed | failed |" in said for setting in scored[scored == 0].index
    )


@pytest.mark.parametrize("name", [name for name in LOGS if name != TOLD])
def test_budgets_are_equal(name: str) -> None:
    """Six settings of each method, or as many as its options have; four in the later logs."""
    counts = (
        read(name).drop_duplicates(["method", "params"]).groupby("method").size().drop("eap", errors="ignore")
    )
    assert counts.nunique() == 1


def test_every_default_was_tried() -> None:
    """In the log in which it became the default, if in no other."""
    tried = pd.concat(map(read, LOGS))
    chosen = set(tried["method"])
    assert chosen == set(tried[tried["params"] == ""]["method"])


@pytest.mark.parametrize("name", LOGS)
def test_defaults_are_the_winners(name: str) -> None:
    said = (TUNING / "tuning.md").read_text()
    log = read(name)
    for method in log["method"].unique():
        if options := winner(log, method):
            assert f"- `{method}:{options}` under {name} is not the default: " in said


def trials(*rows: tuple[str, float, float]) -> pd.DataFrame:
    made = [("m", params, "ioi", gap, seconds) for params, gap, seconds in rows]
    return pd.DataFrame(made, columns=["method", "params", "task", "log_gap", "cpu_seconds"])


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([("", -2.0, 10), ("a=1", -2.1, 15)], "a=1"),
        ([("", -2.0, 10), ("a=1", -2.1, 15.1)], ""),
        ([("", -2.0, 10), ("a=1", -2.04, 5)], ""),
        ([("", -2.0, 10), ("a=1", -3.0, 99), ("a=2", -2.2, 1)], "a=2"),
        ([("", -2.0, 10), ("a=1", np.nan, np.nan)], ""),
        ([("a=0", -2.0, 10), ("a=1", -3.0, 10)], ""),
    ],
    ids=[
        "better",
        "too dear",
        "hardly better",
        "the best of those that are not too dear",
        "failed",
        "without a default",
    ],
)
def test_the_rule(rows: list[tuple[str, float, float]], wanted: str) -> None:
    assert winner(trials(*rows), "m") == wanted


def test_a_log_needs_every_setting() -> None:
    row = {
        "method": "m",
        "params": "",
        "task": "ioi",
        "size_requested": 0.1,
        "log_gap": -1.0,
        "cpu_seconds": 1.0,
    }
    whole = pd.DataFrame([row | {"status": "ok"}, row | {"status": "ok", "method": "full", "log_gap": -9.0}])
    assert log_of(whole)["log_gap"].tolist() == [-1.0]
    failed = {"method": "m", "params": "a=1", "task": "ioi", "status": "failed"}
    assert log_of(pd.DataFrame([row | {"status": "ok"}, failed]))["log_gap"].isna().tolist() == [False, True]
    more = pd.DataFrame([row, row | {"size_requested": 0.2}, row | {"params": "a=1"}]).assign(status="ok")
    with pytest.raises(UserError, match="has 1 sizes, others 2"):
        log_of(more)
