"""How alike rankings are to `exact`: by hand, and of runs as they are stored."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

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


def test_it_is_of_absolute_scores_where_edges_are() -> None:
    exists = torch.tensor([[True, True], [True, False]])
    a, b = torch.tensor([[1.0, -3.0], [2.0, 99.0]]), torch.tensor([[0.1, 0.3], [-0.2, -1.0]])
    assert rank_correlation(a, b, exists) == pytest.approx(1.0)
    assert rank_correlation(a, -b.flip(1), exists) == pytest.approx(-0.5)
    assert math.isnan(rank_correlation(a, torch.ones(2, 2), exists))


def test_runs_on_the_same_data_are_read_beside_it(tmp_path: Path) -> None:
    methods = ("random_edges", "eap", "exact:examples=1", "exact:objective=difference,examples=2")
    run_experiment(
        dataclasses.replace(SMALL, methods=methods, ablations=("resample", "zero")),
        tmp_path, report=lambda _: None,
    )  # fmt: skip
    alone = dataclasses.replace(SMALL, methods=("eap",), n_discovery=(10,))
    run_experiment(alone, tmp_path, report=lambda _: None)
    store = Store(tmp_path)
    table = leaderboard(store)
    column = table.groupby(["method", "params", "ablation", "n_discovery"])["exact_correlation"].agg(
        ["min", "max"]
    )
    assert (column["min"].dropna() == column["max"].dropna()).all(), "it is of the run, whatever the size"
    exists = Study("embedded", "gp").graph.exists.numpy()

    def scores(method: str, params: str, ablation: str) -> np.ndarray:
        rows = table[
            (table["method"] == method) & (table["params"] == params) & (table["ablation"] == ablation)
        ]
        held = load_tensors(store.path(rows[rows["n_discovery"] == 20]["stem"].iloc[0]))[0]
        scores: np.ndarray = held["discovery.scores"].abs().numpy()[exists]
        return scores

    for ablation in ("resample", "zero"):
        truth = scores("exact", "examples=1", ablation)
        for method, params in (("eap", ""), ("exact", "objective=difference,examples=2")):
            wanted = spearmanr(scores(method, params, ablation), truth).statistic
            assert column["min"][method, params, ablation, 20] == pytest.approx(wanted)
        assert column["min"]["exact", "examples=1", ablation, 20] == pytest.approx(1.0)
    assert np.isnan(column["min"]["eap", "", "resample", 10]), "exact did not run on these prompts"
    assert table[table["method"].isin(("full", "empty"))]["exact_correlation"].isna().all()
