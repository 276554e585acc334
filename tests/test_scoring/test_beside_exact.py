"""How alike rankings are to `exact`: by hand, and of runs as they are stored."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from bench.files import load_tensors
from bench.runs.run import run_experiment
from bench.scoring.beside_exact import rank_correlation
from bench.scoring.leaderboard import leaderboard
from bench.store.results import Store
from bench.study import Study
from problems import SMALL


def test_it_is_of_rankings_where_edges_are() -> None:
    exists = torch.tensor([[True, True], [True, False]])
    a, b = torch.tensor([[1.0, 3.0], [2.0, 99.0]]), torch.tensor([[0.1, 0.3], [0.2, -1.0]])
    assert rank_correlation(a, b, exists) == pytest.approx(1.0)
    assert rank_correlation(a, b.flip(1), exists) == pytest.approx(-0.5)
    assert rank_correlation(a, b - 9, exists) == pytest.approx(1.0), "higher is kept sooner, below 0 as well"
    assert math.isnan(rank_correlation(a, torch.ones(2, 2), exists))


def test_runs_on_the_same_data_are_read_beside_it(tmp_path: Path) -> None:
    methods = ("random_edges", "eap", "exact:examples=1", "exact:objective=difference,examples=2")
    experiment = dataclasses.replace(SMALL, methods=methods, curves=False)
    run_experiment(experiment, tmp_path, report=lambda _: None)
    store = Store(tmp_path)
    (eap,) = (run for run in store.runs() if run.record.method == "eap")
    elsewhere: list[dict[str, Any]] = [
        {"ablation": "zero", "discovery_ablation": "zero"}, {"n_discovery": 10}
    ]  # fmt: skip
    for i, told in enumerate(elsewhere):  # as if it had been found there
        record = dataclasses.replace(eap.record, **told)
        store.save(f"{eap.stem}{i}", dataclasses.replace(eap, record=record))
    table = leaderboard(store)
    column = table.groupby(["method", "params", "ablation", "n_discovery"])["exact_correlation"].agg(
        ["min", "max"]
    )
    assert (column["min"].dropna() == column["max"].dropna()).all(), "it is of the run, whatever the size"
    exists = Study("embedded", "gp").graph.exists.numpy()

    def scores(method: str, params: str) -> np.ndarray:
        of_method = (table["method"] == method) & (table["params"] == params)
        rows = table[of_method & (table["ablation"] == "resample")]
        held = load_tensors(store.path(rows[rows["n_discovery"] == 20]["stem"].iloc[0]))[0]
        scores: np.ndarray = held["discovery.scores"].numpy()[exists]
        return scores

    truth = scores("exact", "examples=1")
    for method, params in (("eap", ""), ("exact", "objective=difference,examples=2")):
        wanted = spearmanr(scores(method, params), truth).statistic
        assert column["min"][method, params, "resample", 20] == pytest.approx(wanted)
    assert column["min"]["exact", "examples=1", "resample", 20] == pytest.approx(1.0)
    assert np.isnan(column["min"]["eap", "", "resample", 10]), "exact did not run on these prompts"
    assert np.isnan(column["min"]["eap", "", "zero", 20]), "nor under this ablation"
    assert table[table["method"].isin(("full", "empty"))]["exact_correlation"].isna().all()
