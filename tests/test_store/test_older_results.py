"""Results of a version that told its engine by another mark: one line, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import OlderResults
from bench.files import load_tensors, save_tensors
from bench.names import choose_method
from bench.runs.experiment import Experiment
from bench.runs.run import run_experiment
from bench.scoring.leaderboard import leaderboard
from bench.store.recoveries import rows
from bench.store.results import Store
from bench.truth.verify import verify, verify_named

EXPERIMENT = Experiment(
    tasks=("gp",), methods=("random_edges",), sizes=("5%",), random_draws=1, n_discovery=(8,), n_evaluation=8
)


def age(folder: Path, record: str) -> dict[Path, bytes]:
    """Makes the files of a folder older than records with a format; returns their content."""
    for file in folder.glob("*.safetensors"):
        tensors, header = load_tensors(file)
        older = {name: value for name, value in header[record].items() if name != "format"}
        save_tensors(file, tensors, {record: {**older, "version": "0.1.0", "commit": "abc"}})
    return {file: file.read_bytes() for file in folder.glob("*.safetensors")}


def test_older_runs_are_left_as_they_are(tmp_path: Path) -> None:
    again: Callable[[], object] = lambda: run_experiment(EXPERIMENT, tmp_path, report=lambda _: None)  # noqa: E731
    again()
    before = age(tmp_path / "runs", "record")
    assert len(before) == 1
    for use in (again, lambda: leaderboard(Store(tmp_path))):
        with pytest.raises(
            OlderResults, match=r"older circuitmark \(version 0.1.0, commit abc\), which are left"
        ):
            use()
    assert {file: file.read_bytes() for file in (tmp_path / "runs").glob("*.safetensors")} == before
    assert OlderResults.exit_code == 2


def test_runs_that_know_no_kv_are_per_group(tmp_path: Path) -> None:
    """Of a version that counted no other way: they are shown, and not run again."""
    run_experiment(EXPERIMENT, tmp_path, report=lambda _: None)
    (file,) = (tmp_path / "runs").glob("*.safetensors")
    tensors, header = load_tensors(file)
    del header["record"]["kv"]
    save_tensors(file, tensors, header)
    before = file.read_bytes()
    run_experiment(EXPERIMENT, tmp_path, report=lambda _: None)
    assert [each.read_bytes() for each in (tmp_path / "runs").glob("*.safetensors")] == [before]
    assert set(leaderboard(Store(tmp_path))["kv"]) == {"per_group"}
    other = replace(EXPERIMENT, kv="per_head")
    assert not {job.key for job in other.jobs()} & {job.key for job in EXPERIMENT.jobs()}


def test_older_recoveries_are_left_as_they_are(tmp_path: Path) -> None:
    pytest.importorskip("tracr")
    verify([choose_method("eap")], ["x_proportion"], ["zero"], tmp_path)
    before = age(tmp_path / "tracr", "recovery")
    for use in (lambda: rows(tmp_path), lambda: verify_named(["eap"], ["reverse"], "zero", tmp_path, n=1)):
        with pytest.raises(OlderResults, match="choose another folder with --out"):
            use()
    assert {file: file.read_bytes() for file in (tmp_path / "tracr").glob("*.safetensors")} == before
