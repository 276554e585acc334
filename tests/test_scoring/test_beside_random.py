"""Columns that read circuits beside random ones, and tests of circuits in the leaderboard and its page."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.report import run
from bench.runs.run import run_experiment
from bench.scoring.beside_random import with_random
from bench.scoring.knockouts import FEWEST_EDGES, MOST_EDGES
from bench.scoring.leaderboard import leaderboard
from bench.store.results import Store
from problems import SMALL

DRAWS = 20


def table(kl: float, loss: float, draws: int = DRAWS, **more: Any) -> pd.DataFrame:
    """One circuit beside random ones with a KL of 1, 2, ... and a complement loss of 0.01, 0.02, ..."""
    place = {"model": "m", "task": "gp", "ablation": "resample", "graph": "g", "edges_kept": 9, "params": ""}
    place |= {"squared_error": np.nan, "untested": np.nan}
    rows = [{"method": "mine", "kl": kl, "complement_loss": loss, **more}]
    rows += [
        {"method": "random_edges", "kl": i + 1.0, "complement_loss": (i + 1) / 100} for i in range(draws)
    ]
    rows += [{"method": "full", "kl": 0.0, "complement_loss": 1.0, "edges_kept": 900}]
    return with_random(pd.DataFrame([place | row for row in rows]))


def test_p_is_the_place_among_random_circuits() -> None:
    best = table(kl=0.5, loss=0.9).iloc[0]
    assert best["p_sufficiency"] == best["p_necessity"] == pytest.approx(1 / 21)
    assert best["untested"] == ""
    middle = table(kl=5.0, loss=0.205).iloc[0]
    assert middle["p_sufficiency"] == pytest.approx((1 + 4.5) / 21), "four are better, one as good"
    assert middle["p_necessity"] == pytest.approx(1 / 21)


def test_a_complement_is_judged_by_its_distance_to_the_empty_circuit() -> None:
    """Beyond 1 is as far from it as below."""
    beyond, below = (table(kl=0.5, loss=loss).iloc[0] for loss in (1.9, 0.1))
    assert beyond["p_necessity"] == pytest.approx(below["p_necessity"])
    assert beyond["p_necessity"] == pytest.approx((1 + 10.5) / 21)
    assert beyond["complement_loss_margin"] == pytest.approx(below["complement_loss_margin"])


def test_too_few_random_circuits_are_said() -> None:
    few = table(kl=0.5, loss=0.9, draws=2).iloc[0]
    assert np.isnan([few["p_sufficiency"], few["p_necessity"]]).all()
    reason = "at least 20 random circuits of the same size are needed, not 2"
    assert few["untested"] == f"sufficiency: {reason}; necessity: {reason}"
    other = table(kl=0.5, loss=0.9, edges_kept=10, untested="minimality: no edge").iloc[0]
    assert other["untested"].startswith("minimality: no edge; sufficiency: at least 20")
    assert np.isnan(other["complement_loss_margin"])


def test_rows_that_are_not_rated_have_none() -> None:
    rows = table(kl=0.5, loss=0.9).iloc[1:]
    assert rows[["p_sufficiency", "p_necessity", "complement_loss_margin"]].isna().all(axis=None)


def test_numbers_are_read_by_their_squared_error() -> None:
    made = table(kl=0.5, loss=0.9)
    numbers = made.assign(squared_error=made["kl"], kl=np.nan)
    assert with_random(numbers)["p_sufficiency"].iloc[0] == pytest.approx(1 / 21)


TESTED = ["idle_share", "unneeded_share", "p_minimality", "incompleteness_mean", "incompleteness_max"]
ALONE = ["p_equivalence", "p_independence", "p_independence_empty", "ahead_share", "dependence"]


def test_circuits_of_a_run_are_tested(tmp_path: Path) -> None:
    """Those of a size that can be; of the others it is said and counted why not; random ones are not."""
    experiment = dataclasses.replace(
        SMALL, sizes=("0.1%", "1%", "10%"), n_evaluation=120, circuit_tests=True, curves=False
    )
    made: Any = run(experiment, tmp_path / "on").set_index(["method", "size_requested"])
    eap: Any = made.loc["eap"]
    small, some, large = (eap.loc[size] for size in (0.001, 0.01, 0.1))
    assert np.isfinite(some[[*TESTED, *ALONE]].astype(float)).all()
    assert 0 <= some["incompleteness_mean"] <= some["incompleteness_max"]
    for row, why in ((small, f"fewer than {FEWEST_EDGES}"), (large, f"more than {MOST_EDGES}")):
        assert row[TESTED].isna().all()
        assert f"knock-outs: a circuit of {why} edges" in row["untested"]
        assert np.isfinite(row[ALONE].astype(float)).all()
    assert made.loc["random_edges"][[*TESTED, *ALONE, "untested"]].isna().all(axis=None)
    page = (tmp_path / "on" / "leaderboard.md").read_text().split("## Tests of circuits\n")[1]
    assert f"Not tested, 1 circuit: knock-outs: a circuit of more than {MOST_EDGES} edges." in page
    assert "Not tested, 3 circuits: sufficiency: at least 20 random circuits" in page
    off = dataclasses.replace(experiment, circuit_tests=False)
    assert off.jobs()[1].key != experiment.jobs()[1].key
    assert off.jobs()[0].key == experiment.jobs()[0].key, "of random circuits nothing is knocked out"
    assert off.jobs()[1].lineage == experiment.jobs()[1].lineage
    run_experiment(off, tmp_path / "off", report=lambda _: None)
    again: Any = leaderboard(Store(tmp_path / "off")).set_index(["method", "size_requested"])
    without = again.loc[("eap", 0.01)]
    assert without[TESTED].isna().all()
    assert "knock-outs: not made in this run" in without["untested"]
    assert without["kl"] == some["kl"]
