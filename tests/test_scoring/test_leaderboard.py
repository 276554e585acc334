"""Rows of the leaderboard that say more than their scores: circuits larger than asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

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


def test_more_edges_than_asked_for_are_marked(tmp_path: Path) -> None:
    """A method that prunes weights alone keeps all edges at any size; one that prunes nothing is marked."""
    bodies = {"all_edges": ALL_EDGES, "weights": WEIGHTS, "no_weight": NO_WEIGHT, "fewer": FEWER}
    for name, body in bodies.items():
        (tmp_path / f"{name}.py").write_text(adapter(body).replace('"mine"', f'"{name}"'))
    files = [str(tmp_path / f"{name}.py") for name in bodies]
    experiment = dataclasses.replace(
        SMALL, methods=("random_edges", *files), n_discovery=(8,), n_evaluation=8, curves=False
    )
    table = run(experiment, tmp_path / "out")
    page = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "exceeded: 4 rows with more edges than requested" in page
    csv, parquet = (tmp_path / "out" / f"leaderboard.{kind}" for kind in ("csv", "parquet"))
    for each in (table, pd.read_csv(csv), pd.read_parquet(parquet)):
        rows: Any = each.set_index("method")["oversize"]
        assert rows.groupby(level=0).sum()[[*bodies]].tolist() == [2, 0, 2, 0]
        assert not rows[["full", "empty", "ones", "random_edges"]].any()


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
