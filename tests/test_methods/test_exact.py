"""Every edge alone, held to a run without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from golden_cases import task
from methods.base import Discovery
from methods.exact import Exact
from methods.training.parts import parts_of
from problems import killed_at


@pytest.mark.parametrize("objective", ["kl", "difference"])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "neox", "compiled"])
def test_scores_are_those_of_runs_without_the_edge(kind: str, objective: Any) -> None:
    p = task(kind, "resample")
    scores = Exact(objective=objective, absolute=False, examples=0).discover(p).scores
    assert scores is not None
    slow = torch.zeros_like(scores)
    for row, column in p.graph.exists.nonzero().tolist():
        for batch in p.batches:
            without = p.graph.exists.double()
            without[row, column] = 0
            loss = p.loss(objective, p.run(batch, without), batch)
            slow[row, column] += loss - p.loss(objective, p.clean(batch), batch)
    torch.testing.assert_close(scores, slow / p.n_examples, rtol=1e-8, atol=1e-10)
    assert scores.abs().max() > 1e-3


def test_some_of_the_examples_are_the_first_ones() -> None:
    p = task("gpt2", "resample")
    n = len(p.batches[0]) + 1
    assert n < p.n_examples
    fewer = task("gpt2", "resample")
    fewer.batches = [p.batches[0], p.batches[1].part(0, 1)]
    fewer.n_examples = n
    found, wanted = Exact(examples=n).discover(p).scores, Exact(examples=0).discover(fewer).scores
    assert found is not None
    assert wanted is not None
    torch.testing.assert_close(found, wanted)


def test_a_checkpoint_of_other_batches_is_left(saves_at_every_call: None, tmp_path: Path) -> None:
    """They are cut otherwise where less memory is free: parts of the one are no parts of the other."""
    path = tmp_path / "x.safetensors"
    with pytest.raises(KeyboardInterrupt):
        killed_at(3, Exact(), task("gpt2", "zero"), path)
    halved, whole = task("gpt2", "zero"), task("gpt2", "zero")
    halved.batches = [part for batch in halved.batches for part in parts_of([batch], -(-len(batch) // 2))]
    assert len(halved.batches) > len(whole.batches)
    resumed, wanted = killed_at(0, Exact(), halved, path).scores, Exact().discover(whole).scores
    assert resumed is not None
    assert wanted is not None
    torch.testing.assert_close(resumed, wanted)


def test_a_killed_run_goes_on(saves_at_every_call: None, tmp_path: Path) -> None:
    """From the receiver at which it was killed, and ends with the same scores."""

    def run(kill_at: int, path: Path | None) -> tuple[Discovery, int]:
        p = task("gpt2", "zero")
        done: list[int] = []
        p._progress = lambda n, total, note: done.append(n)
        return killed_at(kill_at, Exact(), p, path), len(done)

    whole, rows = run(0, None)
    path = tmp_path / "x.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run(rows // 2, path)
    resumed, left = run(0, path)
    assert left == rows - rows // 2
    assert resumed.scores is not None
    assert whole.scores is not None
    assert resumed.scores.equal(whole.scores)
