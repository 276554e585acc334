"""How much circuits of several seeds share: by hand, and of circuits as a run leaves them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.engine.circuit import Circuit
from bench.runs.run import run_experiment
from bench.scoring.leaderboard import leaderboard
from bench.scoring.metrics import jaccard
from bench.store.results import Store
from problems import SMALL


def test_edges_in_both_over_edges_in_either() -> None:
    circuits = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=torch.bool)
    assert jaccard(circuits).tolist() == [
        [1, pytest.approx(1 / 3), 0],
        [pytest.approx(1 / 3), 1, 0],
        [0, 0, 1],
    ]


def test_a_row_says_what_its_circuit_shares_with_those_of_other_seeds(tmp_path: Path) -> None:
    from dataclasses import replace

    run_experiment(replace(SMALL, methods=("random_edges",), random_draws=3), tmp_path, report=lambda _: None)
    store = Store(tmp_path)
    table = leaderboard(store)
    rows = table[(table["method"] == "random_edges") & (table["size_requested"] == 0.05)]
    held = [set(Circuit.load(store.circuit(stem, 0.05)).edges()) for stem in rows["stem"]]
    for i, share in enumerate(rows["seed_overlap"]):
        others = [len(held[i] & other) / len(held[i] | other) for j, other in enumerate(held) if j != i]
        assert share == pytest.approx(sum(others) / 2)
    assert table[table["method"].isin(("full", "empty", "ones"))]["seed_overlap"].isna().all()
    store.circuit(rows["stem"].iloc[0], 0.05).unlink()
    again = leaderboard(store).query("method == 'random_edges'").groupby("size_requested")["seed_overlap"]
    assert again.count().to_dict() == {0.01: 3, 0.05: 0}
