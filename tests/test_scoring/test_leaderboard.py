"""Rows of the leaderboard that say more than their scores: circuits larger than asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.files import load_tensors, save_tensors
from bench.report import run, write_report
from careless import adapter
from problems import SMALL

ALL_EDGES = "return Discovery(edges={s: problem.graph.exists.clone() for s in problem.sizes})"
WEIGHTS = (
    "masks = {n: torch.ones(*s).bool().triu() for n, s in problem.weights.items() if '.W_' in n}\n"
    "return Discovery(weights={s: masks for s in problem.sizes})"
)
NO_WEIGHT = WEIGHTS.replace(".triu()", "")
FEWER = "return Discovery(edges={s: problem.graph.exists & False for s in problem.sizes})"


@pytest.mark.parametrize(
    ("body", "oversize"), [(ALL_EDGES, True), (WEIGHTS, False), (NO_WEIGHT, True), (FEWER, False)]
)
def test_more_edges_than_asked_for_are_marked(body: str, oversize: bool, tmp_path: Path) -> None:
    """A method that prunes weights alone keeps all edges at any size; one that prunes nothing is marked."""
    (tmp_path / "mine.py").write_text(adapter(body))
    experiment = dataclasses.replace(
        SMALL, methods=("random_edges", str(tmp_path / "mine.py")), n_discovery=(8,), n_evaluation=8
    )
    table = run(experiment, tmp_path / "out")
    rows: Any = table.set_index("method")["oversize"]
    assert rows["mine"].tolist() == [oversize] * 2
    assert not rows[["full", "empty", "ones", "random_edges"]].any()
    page = (tmp_path / "out" / "leaderboard.md").read_text()
    assert ("exceeded: 2 rows with more edges than asked for" in page) == oversize
    for name in ("leaderboard.csv", "leaderboard.parquet"):
        read = pd.read_csv if name.endswith("csv") else pd.read_parquet
        again: Any = read(tmp_path / "out" / name)
        assert again.set_index("method")["oversize"]["mine"].tolist() == [oversize] * 2


def test_one_evaluation_prompt_has_neither_interval_nor_share(tmp_path: Path) -> None:
    experiment = dataclasses.replace(SMALL, methods=("random_edges",), n_discovery=(8,), n_evaluation=1)
    table = run(experiment, tmp_path)
    assert table["kl"].notna().all()
    unsure = [
        "kl_low",
        "kl_high",
        "faithfulness",
        "faithfulness_low",
        "complement_loss",
        "complement_loss_high",
    ]
    assert table[unsure].isna().all(axis=None)


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


def test_the_mask_of_ones_is_a_row_where_it_was_run(tmp_path: Path) -> None:
    """Results of a version that did not run it have none, and are read as ever."""
    experiment = dataclasses.replace(SMALL, methods=("random_edges",), n_discovery=(8,), n_evaluation=8)
    table = run(experiment, tmp_path)
    (row,) = table[table["method"] == "ones"].to_dict("records")
    assert (row["size_requested"], row["edge_sparsity"], row["status"]) == (1.0, 0.0, "ok")
    assert abs(row["kl"]) < 1e-9
    assert "ones" in (tmp_path / "leaderboard.md").read_text()
    (file,) = (tmp_path / "runs").glob("*.safetensors")
    tensors, header = load_tensors(file)
    without = {name: tensor for name, tensor in tensors.items() if not name.startswith("outputs.ones.")}
    assert len(without) == len(tensors) - 4
    save_tensors(file, without, header)
    write_report(tmp_path, tmp_path)
    older = pd.read_csv(tmp_path / "leaderboard.csv")
    assert older["method"].tolist() == table[table["method"] != "ones"]["method"].tolist()
