"""Circuits for the page's viewer are those of the runs, with their scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.exchange.drawn import drawn_edge
from bench.exchange.viewed import viewed
from bench.files import load_tensors
from bench.report import run
from bench.runs.experiment import Experiment
from bench.store.results import Store
from reports import Viewed
from reports.circuits.viewed import told


def test_circuits_and_scores_are_those_of_the_first_seed(tmp_path: Path) -> None:
    experiment = Experiment(
        tasks=("gp",), methods=("random_edges", "eap", "acdc:attempts=1,examples=4"),
        sizes=("0.4%", "1%"), data_seeds=2,
        n_discovery=(8,), n_evaluation=8, random_draws=1, circuit_tests=False, curves=False,
    )  # fmt: skip
    run(experiment, tmp_path, n=2)
    store = Store(tmp_path)
    held = {circuit.name: circuit for circuit in viewed(store)}
    assert held.keys() == {"eap", "acdc (examples=4,attempts=1)"}
    (stem,) = (r.stem for r in store.runs() if (r.record.method, r.record.data_seed) == ("eap", 0))
    scores = load_tensors(store.path(stem))[0]["discovery.scores"]
    (small, six), (large, fifteen) = held["eap"].sizes
    assert (small, len(six), large, len(fifteen)) == ("0.4 %", 6, "1 %", 15)
    assert six < fifteen
    tops = scores.abs().flatten().topk(15).values
    own = torch.tensor(sorted(map(abs, held["eap"].scores.values()), reverse=True), dtype=tops.dtype)
    assert own.allclose(tops)
    (place,) = told(list(held.values()))
    assert place["place"] == "gp · embedded · resample"
    assert '"circuits-held">[{' in (tmp_path / "index.html").read_text()


def test_circuits_too_large_to_draw_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment(
        tasks=("gp",), methods=("eap",), sizes=("0.4%", "1%", "2%"), n_discovery=(8,), n_evaluation=8,
        random_draws=1, circuit_tests=False, curves=False,
    )  # fmt: skip
    run(experiment, tmp_path)
    for limits in ({"MOST": 10}, {"SIZES": 1}):
        with monkeypatch.context() as patched:
            for name, value in limits.items():
                patched.setattr(f"bench.exchange.viewed.{name}", value)
            (eap,) = viewed(Store(tmp_path))
            assert ([size for size, _ in eap.sizes], eap.larger) == (["0.4 %"], 2)


def test_nodes_and_edges_are_told_by_number() -> None:
    small = frozenset(map(drawn_edge, ["embed->a0.h2.q", "a0.h2->logits"]))
    large = small | {drawn_edge("embed->m0")}
    (place,) = told([Viewed("here", "one", [("1 %", small), ("2 %", large)], {"embed->m0": 0.12345})])
    assert place["nodes"] == [
        ["embed", 0, 0.0, None],
        ["a0.h2", 1, 1.0, 0],
        ["m0", 2, 0.0, 0],
        ["logits", 3, 0.0, None],
    ]
    (circuit,) = place["circuits"]
    assert circuit["edges"] == [
        [1, 3, "a0.h2->logits", None, 3], [0, 1, "embed->a0.h2.q", None, 3], [0, 2, "embed->m0", 0.123, 2],
    ]  # fmt: skip


def test_a_place_of_empty_circuits_has_nothing_to_draw() -> None:
    assert told([Viewed("here", "one", [("1 %", frozenset())], {})]) == []
