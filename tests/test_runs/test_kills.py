"""A run that is killed again and again ends like one that never was, and makes nothing twice."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from bench.runs.run import run_experiment
from command_line import COMMAND
from problems import CLOCKS, SMALL

KILLS = int(os.environ.get("CIRCUITMARK_KILLS", "1"))
"""Of each kind of run; `make test-every` makes more of them."""
CONFIG = """
tasks: [gp]
methods: [eap, "acdc:attempts=2", "edge_pruning:halving=4,hold=4,settling=4,rate=0.5"]
sizes: [5%]
random_draws: 2
circuit_tests: false
curves: false
n_discovery: [20]
n_evaluation: 24
"""
NOT_THE_SAME = [*CLOCKS, "jobs", "forwards", "tokens"]
"""Clocks; and ACDC does over again what it did since its last checkpoint."""


def start(folder: Path, *how: str) -> subprocess.Popen[str]:
    words = [COMMAND, "run", "--config", "c.yaml", "--out", "out", *how]
    return subprocess.Popen(words, cwd=folder, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "out" / "leaderboard.csv").drop(columns=NOT_THE_SAME)


def stored(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("out/runs/[!.]*.safetensors")}


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("-j 1", marks=pytest.mark.every),
        pytest.param("-j 2", marks=pytest.mark.slow),
        pytest.param("--scheduler local:2", marks=pytest.mark.every),
    ],
)
def test_kills_lose_nothing(how: str, tmp_path: Path) -> None:
    if "local" in how:
        pytest.importorskip("distributed")
    moments = random.Random(how)
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "c.yaml").write_text(CONFIG)
    began = time.monotonic()
    assert start(tmp_path / "whole", *how.split()).wait(timeout=600) == 0
    takes = time.monotonic() - began
    kills, folders = 0, 0
    while kills < KILLS:
        folder = tmp_path / f"{folders}"
        folders += 1
        folder.mkdir()
        (folder / "c.yaml").write_text(CONFIG)
        done = dict[str, int]()
        ended = False
        while not ended:
            process = start(folder, *how.split())
            if kills < KILLS:
                try:
                    ended = process.wait(timeout=moments.uniform(0, takes)) == 0
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    kills += 1
            else:
                ended = process.wait(timeout=600) == 0
                assert ended, process.stderr
            now = stored(folder)
            assert done.items() <= now.items()
            done = now
        pd.testing.assert_frame_equal(table(folder), table(tmp_path / "whole"), check_exact=True)
        assert not list(folder.rglob("*.part"))
        assert not (folder / "out" / "unfinished").exists()


def test_what_a_kill_left_of_a_finished_job_is_cleared(tmp_path: Path) -> None:
    """It stored its run and did not come to clear up; what another job is at stays."""
    experiment = dataclasses.replace(SMALL, methods=("random_edges",), random_draws=1)
    run_experiment(experiment, tmp_path, report=lambda _: None)
    (job,) = experiment.jobs()
    left = [tmp_path / "unfinished" / f"{job.stem}{end}" for end in (".safetensors", ".found.safetensors")]
    other = tmp_path / "unfinished" / "other.safetensors"
    for file in (*left, other):
        file.parent.mkdir(exist_ok=True)
        file.touch()
    run_experiment(experiment, tmp_path, report=lambda _: None)
    assert not any(file.exists() for file in left)
    assert other.exists()
    other.unlink()
    left[0].touch()
    run_experiment(experiment, tmp_path, report=lambda _: None)
    assert not other.parent.exists()
