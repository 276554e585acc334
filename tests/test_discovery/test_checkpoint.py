"""How often an unfinished discovery is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

import bench.discovery.checkpoint
from bench.discovery.checkpoint import Checkpoint


@pytest.mark.parametrize(("takes", "waits"), [(0.1, 20.0), (10.0, 200.0)])
def test_writing_takes_a_small_share_of_the_time(
    takes: float, waits: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def tensors() -> Mapping[str, Tensor]:
        nonlocal now
        now += takes
        return {"at": torch.tensor(now)}

    monkeypatch.setattr("time.monotonic", lambda: now)
    path = tmp_path / "x.safetensors"
    checkpoint = Checkpoint(path, dict, lambda spent: None)

    def written(at: float) -> bool:
        nonlocal now
        now, before = at, path.stat().st_mtime_ns if path.exists() else 0
        checkpoint.save(tensors)
        return path.exists() and path.stat().st_mtime_ns != before

    assert not written(19.9)
    assert written(20.0)
    again = now + waits
    assert not written(again - 0.1)
    assert written(again)


def test_what_is_saved_is_loaded_and_charged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.discovery.checkpoint, "SECONDS_BETWEEN", 0.0)
    path = tmp_path / "x.safetensors"
    charged: list[Mapping[str, float]] = []
    Checkpoint(path, lambda: {"forwards": 3}, charged.append).save(lambda: {"a": torch.ones(2)})
    again = Checkpoint(path, lambda: {"forwards": 0}, charged.append)
    for _ in range(2):
        assert again.load()["a"].equal(torch.ones(2))
    assert charged == [{"forwards": 3}]
