"""Circuits from files beside nulls: the numbers are those of a study, the areas those of a run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.discovery.discover import cut
from bench.engine.circuit import Circuit
from bench.exchange.contents import Contents
from bench.exchange.formats import write_circuit
from bench.exchange.scored import GRID, score_circuits
from bench.report import read_leaderboard, run
from bench.store.results import Store
from bench.study import Found, Study
from command_line import CommandLine
from problems import SMALL


@pytest.fixture(scope="module")
def study() -> Study:
    return Study("embedded", "gp", n_discovery=20, n_evaluation=24)


@pytest.fixture(scope="module")
def found(study: Study) -> Found:
    return study.discover("eap", [0.01, 0.05])


def written(folder: Path, study: Study, found: Found) -> list[str]:
    """Two circuits, each in a format of its own."""
    files = [str(folder / "one.json"), str(folder / "five.pt")]
    for file, size in zip(files, found, strict=True):
        write_circuit(Path(file), Contents(study.graph, found[size]))
    return files


def none_for_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def test_the_numbers_are_those_of_a_study(study: Study, found: Found, tmp_path: Path) -> None:
    files = written(tmp_path, study, found)
    told, notes = score_circuits(study, files, random_draws=3)
    table: Any = study.evaluate(
        {file: found[size] for file, size in zip(files, found, strict=True)}, random_draws=3
    )
    rows: Any = table.set_index("circuit")
    assert not notes
    assert [each["name"] for each in told["circuits"]] == files
    for each in told["circuits"]:
        for score in (
            "kl",
            "recovered",
            "recovered_low",
            "faithfulness",
            "complement_loss",
            "effective_edges",
        ):
            assert each[score] == none_for_nan(rows.loc[each["name"], score])
        assert each["kl"] < each["rewired"]["kl"]
        assert each["kl"] < each["random"]["kl"]
        assert each["forward_equivalents"] is None
    assert [each["edges_kept"] for each in told["circuits"]] == [15, 75]
    assert [each["random"]["kl"] for each in told["circuits"]] == rows.loc["random", "kl"].tolist()
    assert told["random"] == told["circuits"][0]["random"]
    assert (told["full"]["kl"], told["empty"]["kl"]) == (0, rows.loc["empty", "kl"])
    assert told["areas"] == []


def test_scores_are_cut_at_mibs_shares(study: Study, tmp_path: Path) -> None:
    """The areas are the columns of a run whose method returned these scores."""
    table = run(SMALL, tmp_path / "run")
    rows: Any = table[(table["method"] == "eap") & (table["size_requested"] == 0.05)]
    (stem,) = {each.stem for each in Store(tmp_path / "run").runs() if each.record.method == "eap"}
    (stored,) = [each for each in Store(tmp_path / "run").runs() if each.stem == stem]
    assert read_leaderboard(tmp_path / "run").equals(table)
    scores = study.discover("eap", [0.05]).discovery.signed
    assert scores is not None
    assert torch.equal(scores.abs(), stored.tensors["discovery.scores"])
    write_circuit(
        tmp_path / "scores.pt", Contents(study.graph, scores=torch.where(study.graph.exists, scores, 0))
    )
    told, _ = score_circuits(study, [tmp_path / "scores.pt"], random_draws=0)
    (area,) = told["areas"]
    for name in ("cpr", "cmd", "cpr_log", "cmd_log"):
        assert area[name] == pytest.approx(float(rows[name].iloc[0]), abs=1e-9)
    assert [each["share"] for each in told["circuits"]] == [*GRID, *GRID]
    assert {each["ranking"] for each in told["circuits"]} == {"absolute", "signed"}
    assert [each["edges_kept"] for each in told["circuits"][:4]] == [1, 3, 7, 15]


def test_scores_without_a_sign_are_cut_once(study: Study, tmp_path: Path) -> None:
    """A file that has a circuit as well is told, and the circuit is had by asking."""
    scores = study.graph.exists * torch.arange(len(study.graph.receivers)).double()[:, None]
    circuit = Circuit.of(study.graph, ["m3->logits"])
    write_circuit(tmp_path / "both.json", Contents(study.graph, circuit, scores))
    told, notes = score_circuits(study, [tmp_path / "both.json"], random_draws=0)
    assert [each["ranking"] for each in told["circuits"]] == ["absolute"] * len(GRID)
    assert notes == [
        f"{tmp_path / 'both.json'}: its scores are cut; --members scores its circuit of 1 edges instead"
    ]
    told, notes = score_circuits(study, [tmp_path / "both.json"], members=True, random_draws=0)
    assert [each["edges_kept"] for each in told["circuits"]] == [1]
    assert not notes


def test_nine_circuits_are_a_submission(study: Study, found: Found, tmp_path: Path) -> None:
    """In whatever order; their areas are those of the scores that they are cut from. Eight are none."""
    assert found.scores is not None
    write_circuit(tmp_path / "scores.pt", Contents(study.graph, scores=found.scores))
    files = []
    for share, circuit in cut(study.graph, found.discovery, GRID).items():
        files.append(tmp_path / f"{share:g}.json")
        write_circuit(files[-1], Contents(study.graph, circuit.effective("resample")))
    whole, _ = score_circuits(study, files[::-1], random_draws=0)
    expected, _ = score_circuits(study, [tmp_path / "scores.pt"], random_draws=0)
    (one,), (other,) = whole["areas"], expected["areas"]
    for name in ("cpr", "cmd"):
        assert one[name] == pytest.approx(other[name], abs=1e-6)
    assert score_circuits(study, files[1:], random_draws=0)[0]["areas"] == []


def test_circuits_that_are_no_grid_have_no_areas(study: Study, tmp_path: Path) -> None:
    """Nine of one size: the smallest shares have less."""
    files = [tmp_path / f"{i}.json" for i in range(9)]
    for i, file in enumerate(files):
        write_circuit(
            file, Contents(study.graph, Circuit.of(study.graph, ["embed->m0", "m0->m1", f"a0.h{i % 4}->m2"]))
        )
    assert score_circuits(study, files, random_draws=0)[0]["areas"] == []


def test_the_command_tells_json(command: CommandLine) -> None:
    """Of the whole model and of nothing there are no random ones; what is not to be had is null."""
    command("convert", "published:ioi", "ioi.txt")
    graph = Study("embedded", "gp", n_discovery=2, n_evaluation=2).graph
    for name, circuit in {"all": Circuit.full(graph), "none": Circuit.empty(graph)}.items():
        circuit.save(command.folder / f"{name}.safetensors")
    words = ("score", "all.safetensors", "none.safetensors", "-t", "gp", "--random-draws", "2")
    told = json.loads(command(*words, "--json").stdout)
    assert [each["edges_kept"] for each in told["circuits"]] == [1519, 0]
    assert [each["random"] for each in told["circuits"]] == [None, None]
    assert {"model", "task", "ablation", "graph", "full", "empty", "ones", "random", "areas"} <= told.keys()
    assert told["circuits"][0]["kl"] == 0
    printed = command(*words).stdout
    assert "embedded, gp, resample: circuits compared with nulls of their size" in printed
    assert "The cost of finding the circuits is unknown" in " ".join(printed.split())
    assert "1,519" in printed


def test_masks_of_weights_are_those_of_the_model(study: Study, command: CommandLine) -> None:
    weights = {"m9.W_in": torch.ones(2, 2, dtype=torch.bool)}
    Circuit(study.graph, study.graph.exists, weights).save(command.folder / "a.safetensors")
    line = command.complaint("score", "a.safetensors", "-t", "gp")
    assert "a.safetensors: it masks m9.W_in (2, 2), which this model does not have" in line


def test_no_number_is_not_a_number(study: Study, tmp_path: Path) -> None:
    """JSON has no NaN."""
    Circuit.of(study.graph, ["embed->m0"]).save(tmp_path / "a.safetensors")
    few = Study("embedded", "gp", n_discovery=2, n_evaluation=1)
    told, _ = score_circuits(few, [tmp_path / "a.safetensors"], random_draws=1)
    assert told["circuits"][0]["recovered_low"] is None
    assert "NaN" not in json.dumps(told)
    assert not math.isnan(told["circuits"][0]["kl"])
