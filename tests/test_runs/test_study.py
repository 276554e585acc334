"""A study: what a notebook does with one model, one task and one ablation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.engine.circuit import Circuit
from bench.errors import ModelError, UsageError
from bench.exchange.drawn import show_circuit
from bench.report import read_leaderboard, run
from bench.scoring.catalogue import METRICS
from bench.study import Study
from methods.base import Discovery, Method, Problem
from methods.eap import EAP
from problems import SMALL

SIZES = (0.01, 0.05)


@pytest.fixture(scope="module")
def study() -> Study:
    return Study("embedded", "gp", n_discovery=20, n_evaluation=24)


class Planted(Method):
    """As somebody would write it in a notebook's cell."""

    name, description, citation = "planted", "The edges into the logits first", "@misc{me}"

    def discover(self, problem: Problem) -> Discovery:
        rows = torch.arange(len(problem.graph.receivers)).double()
        scores = rows[:, None].expand(problem.graph.exists.shape)
        return Discovery(scores=scores, unaided=problem.graph.exists, trace={"step": [0.0, 1.0]})


def test_the_numbers_are_those_of_the_command(study: Study, tmp_path: Path) -> None:
    """A study and a stored run go the same way, to the bit."""
    table = run(SMALL, tmp_path)
    assert read_leaderboard(tmp_path).equals(table)
    stored: Any = table[table["method"] == "eap"].set_index("size_requested")
    bounds: Any = table[table["task"] == "gp"].set_index("method")
    scored: Any = study.evaluate(study.discover("eap", SIZES), random_draws=0).set_index("circuit")
    compared = [name for name in scored.columns if name in stored.columns]
    assert {"kl", "kl_low", "faithfulness", "complement_kl", "effective_edges"} <= {*compared}
    for size in SIZES:
        assert scored.loc[size, compared].equals(stored.loc[size, compared])
    for name in ("full", "empty", "ones"):
        for column in ("kl", "accuracy", "faithfulness"):
            assert scored.loc[name, column] == bounds.loc[name, column]


def test_tests_of_circuits_are_those_of_the_command(study: Study, tmp_path: Path) -> None:
    """But for those beside random circuits; without being asked for there are none."""
    leaderboard = run(replace(SMALL, circuit_tests=True), tmp_path)
    stored: Any = leaderboard[leaderboard["method"] == "eap"].set_index("size_requested")
    circuits: dict[Any, Circuit] = {**study.discover("eap", SIZES), "all": Circuit.full(study.graph)}
    table: Any = study.evaluate(circuits, random_draws=0, tests=True).set_index("circuit")
    names = [
        metric.name for metric in METRICS if metric.name.startswith(("p_", "idle", "incomplete", "unneed"))
    ]
    names = [name for name in names if name not in ("p_sufficiency", "p_necessity")]
    assert {"p_minimality", "p_equivalence", "p_independence", "idle_share"} <= {*names}
    for size in SIZES:
        told, expected = (rows.loc[size, names].astype(float) for rows in (table, stored))
        np.testing.assert_allclose(told, expected, rtol=1e-5)
        assert expected.notna().sum() == len(names) - 2  # 24 prompts are too few for independence
        assert stored.loc[size, "untested"].startswith(table.loc[size, "untested"])
    assert "a circuit of more than 100 edges" in table.loc["all", "untested"]
    assert not {*names} & {*study.evaluate(circuits, random_draws=0).columns}


@pytest.mark.parametrize("method", ["eap", EAP, EAP()])
def test_a_method_as_text_class_and_instance(study: Study, method: Any) -> None:
    found = study.discover(method, ["1%", 0.05])
    assert list(found) == [0.01, 0.05]
    assert [len(found[size]) for size in found] == [15, 75]
    assert found.scores is not None
    assert found.scores.shape == study.graph.exists.shape
    assert found.seconds > 0
    assert found[0.05] == study.discover("eap", SIZES)[0.05]


def test_a_method_of_a_cell(study: Study) -> None:
    found = study.discover(Planted, [0.01])
    assert {receiver for _, receiver in found[0.01].edges()} == {"logits"}
    assert found.unaided == Circuit.full(study.graph)
    assert found.trace == {"step": [0.0, 1.0]}


def test_a_circuit_is_scored_beside_full_empty_and_random(study: Study) -> None:
    circuit = study.discover("eap", [0.05])[0.05]
    table = study.evaluate(circuit, random_draws=4)
    assert table["circuit"].tolist() == ["circuit", "full", "empty", "ones", "random"]
    assert table["edges_kept"].tolist() == [75, 1519, 0, 1519, 75]
    assert not table["isolated"].any()
    rows: Any = table.set_index("circuit")
    assert rows.loc["full", "kl"] == 0 < rows.loc["circuit", "kl"] < rows.loc["random", "kl"]
    assert rows.loc["random", "kl_low"] < rows.loc["random", "kl"] < rows.loc["random", "kl_high"]
    drawn: Any = study.evaluate({seed: study.discover("random_edges", [0.05], method_seed=seed)[0.05]
                            for seed in range(4)}, random_draws=0)["kl"][:4]  # fmt: skip
    assert rows.loc["random", "kl"] == pytest.approx(drawn.mean(), rel=1e-12)
    assert rows.loc["random", "kl_high"] == pytest.approx(drawn.mean() + 3.182446 * drawn.sem(), rel=1e-6)
    once: Any = study.evaluate(circuit, random_draws=1).set_index("circuit")
    assert math.isnan(once.loc["random", "kl_low"])


def test_full_and_empty_circuits_have_no_random_ones(study: Study) -> None:
    table = study.evaluate({"all": Circuit.full(study.graph), "none": Circuit.empty(study.graph)})
    assert table["circuit"].tolist() == ["all", "none", "full", "empty", "ones"]
    assert table["kl"][0] == 0
    assert table["kl"][1] == table["kl"][3]


def test_a_program_brings_its_task() -> None:
    study = Study("tracr:reverse", ablation="zero")
    assert study.evaluate(study.discover("acdc", [0.2]), random_draws=0)["kl"][0] >= 0
    with pytest.raises(UsageError, match="brings its own task: leave 'gp' out"):
        Study("tracr:reverse", "gp")


@pytest.mark.parametrize(
    ("model", "about", "told"),
    [
        ("embedded", {"split": "tests"}, "unknown split 'tests'"),
        ("embedded", {"wordings": "third half"}, "unknown wordings 'third half'"),
        ("embedded", {"dtype": "float23"}, "unknown dtype 'float23'"),
        ("embedded", {"device": "cuba"}, "the device 'cuba' cannot be used"),
        ("tracr:reverse", {"split": "validation"}, "has no validation split"),
        ("tracr:reverse", {"device": "cuda"}, "runs only on the CPU"),
    ],
)
def test_settings_that_are_not_there(model: str, about: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Study(model, "gp" if model == "embedded" else None, **about)


def test_mistakes_are_named(study: Study) -> None:
    with pytest.raises(UsageError, match="needs a task"):
        Study("embedded")
    with pytest.raises(UsageError, match="unknown ablation 'zeros'; did you mean 'zero'"):
        Study("embedded", "gp", ablation="zeros", n_discovery=2, n_evaluation=2)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="did you mean 'embedded'"):
        Study("embeded", "gp")
    with pytest.raises(UsageError, match="did you mean 'eap'"):
        study.discover("eapp", [0.1])
    with pytest.raises(UsageError, match="is not above 0 and at most 1"):
        study.discover("eap", [5])
    with pytest.raises(UsageError, match="belongs to another graph"):
        study.evaluate(Circuit.empty(Study("tracr:reverse").graph))


def test_how_a_circuit_looks(study: Study) -> None:
    html = show_circuit(study.discover("eap", [0.01])[0.01])
    assert "15 of 1,519 edges (0.99%)" in html
    assert "<img" in html
    assert "<img" in show_circuit(Circuit.full(study.graph))
    assert "<img" not in show_circuit(Circuit.empty(study.graph))
