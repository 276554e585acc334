"""Whatever stands in a file: nothing that is wrong is accepted, a line names it, and nothing hangs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

import bench.truth.expectations
from bench.discovery.checkpoint import Checkpoint
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.errors import DamagedFile, UsageError, UserError
from bench.files import load_tensors, save_tensors
from bench.runs.experiment import Experiment
from bench.runs.run import run_experiment
from bench.scoring.leaderboard import leaderboard
from bench.store.recoveries import Recovery, rows, stored_recovery
from bench.store.results import Store
from bench.truth.expectations import HELD, read_expectations
from malformed import ANY, GONE, TENSORS, header, in_time, tensor

Change = Callable[[Path], None]
GRAPH = EdgeGraph(n_layers=2, n_heads=2, n_kv_heads=1)
SPENT = {"seconds": 1.5, "forwards": 3}
SEEDS = Experiment(tasks=("gp",), methods=("random_edges",), sizes=("5%", "20%"), random_draws=2,
                   n_discovery=(8,), n_evaluation=8)  # fmt: skip


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole file of each kind that holds tensors."""
    folder = tmp_path_factory.mktemp("made")
    run_experiment(SEEDS, folder / "results", report=lambda _: None)
    mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) > 0.5
    Circuit(GRAPH, GRAPH.exists.clone(), {"m0.W_in": mask}).save(folder / "circuit.safetensors")
    save_tensors(folder / "checkpoint.safetensors", {"at": torch.ones(3)}, {"spent": SPENT})
    row: dict[str, Any] = dict.fromkeys(Recovery.__annotations__, "")
    row |= dict.fromkeys(("tpr", "fpr", "f1", "auroc", "average_precision", "margin", "seconds"), 0.5)
    row |= {"program": "reverse", "ablation": "zero", "method": "eap", "status": "ok", "settings": {}}
    row |= {"n_edges": 9, "n_true": 1, "method_seed": 1, "format": 1, "unaided_edges": 1, "stochastic": False}
    row |= dict.fromkeys(("redundant", *HELD, "published_exact"), False) | {"key": "k"}
    row |= {"true_edges": "tok->m0 m0->logits", "found_edges": "tok->m0"}
    row |= {"minimal_sets": 1, "is_minimal": True, "cut_low": 0.1, "cut_high": 0.2, "top_score": 0.3}
    recovery = {"scores": torch.rand(GRAPH.shape), "unaided": GRAPH.exists.clone()}
    save_tensors(folder / "tracr" / "recovery.safetensors", recovery, {"recovery": row})
    return folder


def refused(read: Callable[[], object], name: str, kind: type[UserError] = UserError) -> None:
    """One line that names the file, and no other error."""
    with in_time(), pytest.raises(kind) as told:
        read()
    assert name in str(told.value)
    assert "\n" not in str(told.value)
    assert "delete" not in str(told.value)


RUN = {
    **{f"no {name}": header("record", name, value=GONE) for name in ("task", "created", "sizes")},
    "no record": header("record", value=GONE),
    "a record that is a list": header("record", value=[]),
    "a seed that is a text": header("record", "data_seed", value="0"),
    "a negative seed": header("record", "method_seed", value=-1),
    "a huge seed": header("record", "method_seed", value=10**40),
    "a seed that is a fraction": header("record", "data_seed", value=0.5),
    "half a character": lambda path: path.write_bytes(path.read_bytes().replace(b'gp\\"', b'g\\ud800\\"')),
    "a status of its own": header("record", "status", value="fine"),
    "an ablation of its own": header("record", "ablation", value="noise"),
    "a size above 1": header("record", "sizes", value=[5]),
    "a size that is NaN": header("record", "circuits", "size 0.05", "size_requested", value=float("nan")),
    "negative edges": header("record", "circuits", "size 0.05", "edges_kept", value=-1),
    "a circuit without counts": header("record", "circuits", "size 0.05", value={}),
    "endless seconds": header("record", "seconds", value=float("inf")),
    "no examples": header("record", "n_evaluation", value=0),
    "a format that is a text": header("record", "format", value="1"),
    "a newer format": header("record", "format", value=10**6),
    "a measure of its own": header("record", "measure", value="luck"),
    "ok without outputs": lambda path: save_tensors(path, {}, load_tensors(path)[1]),
    "failed with outputs": header("record", "status", value="failed"),
    "no answers": tensor("answers.correct", lambda _: None),
    "no full outputs": tensor("outputs.full.kl", lambda _: None),
    "no circuit's outputs": tensor("outputs.size 0.05.kl", lambda _: None),
    "fewer answers": tensor("answers.template", lambda held: held[:-1]),
    "fewer outputs": tensor("outputs.full.kl", lambda held: held[:-1]),
    "outputs of another type": tensor("outputs.empty.argmax", lambda held: held.double()),
    "outputs of another shape": tensor("outputs.empty.log_z", lambda held: held[:, None]),
    "other candidates": tensor("answers.candidates", lambda held: torch.cat([held, held], 1)),
    "no examples at all": tensor("answers.candidates", lambda held: held[:0]),
}  # fmt: skip


@pytest.mark.parametrize("change", [*TENSORS.values(), *RUN.values()], ids=[*TENSORS, *RUN])
def test_no_malformed_run_is_accepted(change: Change, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "results", tmp_path / "results")
    file = min((tmp_path / "results" / "runs").glob("*.safetensors"))
    change(file)
    newer = change is RUN["a newer format"]
    refused(lambda: leaderboard(Store(tmp_path / "results")), "results" if newer else file.name)


CIRCUIT = {
    "another format": header("format", value="circuitmark-circuit-9"),
    "no graph": header("graph", value=GONE),
    "a graph that is a text": header("graph", value="gpt2"),
    "a graph without heads": header("graph", "n_heads", value=0),
    "a graph without KV heads": header("graph", "n_kv_heads", value=0),
    "a million layers": header("graph", "n_layers", value=10**6),
    "a million million heads": header("graph", "n_heads", value=10**12),
    "uneven heads": header("graph", "n_heads", value=3),
    "layers that are a text": header("graph", "n_layers", value="2"),
    "layers that are a fraction": header("graph", "n_layers", value=2.0),
    "another count": header("edges_kept", value=1),
    "no edges": tensor("edges", lambda _: None),
    "edges of numbers": tensor("edges", lambda held: held.float()),
    "edges of another graph": tensor("edges", lambda held: held[:-1]),
    "edges that are none": tensor("edges", lambda held: ~held),
    "fewer bits": tensor("weights.m0.W_in", lambda held: held[:-1]),
    "bits in rows": tensor("weights.m0.W_in", lambda held: held[:, None]),
    "no bits": tensor("weights.m0.W_in", lambda _: None),
    "a negative shape": header("weights", "m0.W_in", value=[-5, -7]),
    "a shape without end": header("weights", "m0.W_in", value=[0, 2**62, 2**62]),
    "shapes that are texts": header("weights", "m0.W_in", value=["5", "7"]),
    "bits of nothing": header("weights", value={}),
}


@pytest.mark.parametrize("change", [*TENSORS.values(), *CIRCUIT.values()], ids=[*TENSORS, *CIRCUIT])
def test_no_malformed_circuit_is_accepted(change: Change, made: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(made / "circuit.safetensors", tmp_path))
    change(file)
    refused(lambda: Circuit.load(file), file.name, DamagedFile)


def test_another_circuit_in_its_place_is_noticed(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "results", tmp_path / "results")
    one, other = sorted((tmp_path / "results" / "circuits").glob("*/0.05.safetensors"))
    assert leaderboard(Store(tmp_path / "results"))["seed_overlap"].notna().any()
    shutil.copy(other, one)
    refused(lambda: leaderboard(Store(tmp_path / "results")), str(one), DamagedFile)


CHECKPOINT = {
    "nothing spent": header("spent", value=GONE),
    "a text spent": header("spent", value="much"),
    "a list spent": header("spent", value=[1, 2]),
    "seconds as a text": header("spent", "seconds", value="1"),
    "seconds below 0": header("spent", "seconds", value=-1.0),
    "NaN seconds": header("spent", "seconds", value=float("nan")),
    "endless seconds": header("spent", "seconds", value=float("inf")),
    "no forwards": header("spent", "forwards", value=GONE),
    "forwards that are None": header("spent", "forwards", value=None),
    "something else spent": header("spent", "money", value=1),
}


@pytest.mark.parametrize("change", [*TENSORS.values(), *CHECKPOINT.values()], ids=[*TENSORS, *CHECKPOINT])
def test_a_malformed_checkpoint_is_passed_over(change: Change, made: Path, tmp_path: Path) -> None:
    """The discovery starts anew, and nothing is charged."""
    file = Path(shutil.copy(made / "checkpoint.safetensors", tmp_path))
    charged: list[Any] = []
    checkpoint = Checkpoint(file, lambda: SPENT, charged.append)
    change(file)
    with in_time():
        assert (checkpoint.load(), charged) == ({}, [])


RECOVERY = {
    **{f"no {n}": header("recovery", n, value=GONE) for n in ("program", "status", "true_edges", "tpr")},
    "no row": header("recovery", value=GONE),
    "a row that is a text": header("recovery", value="all"),
    "a share above 1": header("recovery", "auroc", value=1.5),
    "a share that is NaN": header("recovery", "f1", value=float("nan")),
    "a status of its own": header("recovery", "status", value="fine"),
    "an ablation of its own": header("recovery", "ablation", value="noise"),
    "exact as a number": header("recovery", "unaided_exact", value=1),
    "edges that are none": header("recovery", "found_edges", value="tok<-m0"),
    "edges of no node": header("recovery", "true_edges", value="a->b"),
    "edges as a list": header("recovery", "true_edges", value=["tok->m0"]),
    "a negative seed": header("recovery", "method_seed", value=-1),
    "endless seconds": header("recovery", "seconds", value=float("inf")),
    "a method that is a list": header("recovery", "method", value=["eap"]),
    "a format below 1": header("recovery", "format", value=0),
    "a count as a text": header("recovery", "n_true", value="1"),
}  # fmt: skip


@pytest.mark.parametrize("change", [*TENSORS.values(), *RECOVERY.values()], ids=[*TENSORS, *RECOVERY])
def test_no_malformed_recovery_is_accepted(change: Change, made: Path, tmp_path: Path) -> None:
    (tmp_path / "tracr").mkdir()
    file = Path(shutil.copy(made / "tracr" / "recovery.safetensors", tmp_path / "tracr"))
    assert rows(tmp_path)[0]["method"] == "eap"
    change(file)
    refused(lambda: rows(tmp_path), file.name, DamagedFile)
    assert stored_recovery(file, "k", GRAPH.shape) is None


def test_what_was_found_before_must_fit_the_program(made: Path, tmp_path: Path) -> None:
    def found(change: Change) -> object:
        file = Path(shutil.copy(made / "tracr" / "recovery.safetensors", tmp_path))
        change(file)
        return stored_recovery(file, "k", GRAPH.shape)

    assert found(lambda _: None) is not None
    assert found(tensor("scores", lambda held: held[:-1])) is None
    assert found(tensor("scores", lambda held: held > 0.5)) is None
    assert found(tensor("unaided", lambda held: held.float())) is None


CONFIG: dict[str, str | bytes] = {
    "references without end": "a: &a [x, x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "a reference to itself": "tasks: &t [*t]",
    "data_seeds beyond reason": "data_seeds: 100000000",
    "draws beyond reason": "random_draws: 100000000",
    "a number of digits beyond reason": "data_seeds: " + "9" * 5000,
    "sizes beyond reason": f"sizes: [{', '.join(['1%'] * 2000)}]",
    "a megabyte": f"sizes: [{', '.join(['1%'] * 250_000)}]",
    "lists within lists": "tasks: " + "[" * 300 + "]" * 300,
    "a key twice": "data_seeds: 1\ndata_seeds: 2",
    "a tab": "\tdata_seeds: 1",
    "a text cut short": "model: 'emb",
    "Latin-1": "model: ä".encode("latin-1"),
    "UTF-16": "data_seeds: 1".encode("utf-16"),
    "half a character": 'model: "\\ud800"',
    "a tag": "data_seeds: !!python/object/apply:os.getcwd []",
    "a tag of nothing": "data_seeds: !!int ''",
    "no such day": "model: 2020-13-45",
    "a day": "model: 2020-01-01",
    "a list as key": "? [seeds]\n: 1",
    "a number as key": "1: 2",
    "two documents": "data_seeds: 1\n---\ndata_seeds: 2",
    "a fraction": "data_seeds: 1.5",
    "true": "data_seeds: true",
    "not a number": "n_evaluation: .nan",
    "below 1": "n_discovery: [8, 0]",
    "nothing": "data_seeds:",
    "a mapping": "tasks: {gp: 1}",
    "a list for one": "model: [embedded]",
    "an unknown key": "seed: 1",
    "an unknown ablation": "ablations: [noise]",
    "an unknown one for methods": "discovery_ablations: [resample, noise]",
    "unknown wordings": "wordings: last half",
    "an unknown type": "dtype: float8",
    "an unknown split": "split: test",
}  # fmt: skip


@pytest.mark.parametrize("change", [*ANY, *CONFIG])
def test_no_malformed_configuration_is_accepted(change: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("data_seeds: 2\nsizes: [5%, 0.1]", encoding="utf-8")
    if change in ANY:
        ANY[change](file)
    else:
        text = CONFIG[change]
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    named = "" if change == "an unknown type" else "config.yaml"  # that is told when it is checked
    refused(lambda: Experiment.from_file(file).check(), named, UsageError)


def test_a_configuration_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbfdata_seeds: 2\n")
    assert Experiment.from_file(tmp_path / "config.yaml").data_seeds == 2


def expected(**changes: Any) -> str:
    """Expectations, with something in them changed."""
    whole = {
        "always": {"acdc zero": {name: ["reverse"] for name in HELD}},
        "counts": {"edge_pruning zero": {name: {"reverse": "7/8"} for name in HELD}},
    }
    return json.dumps({name: held for name, held in (whole | changes).items() if held is not GONE})


def of_counts(text: Any) -> str:
    return expected(counts={"m zero": {name: {"reverse": text} for name in HELD}})


EXPECTED = {
    "a list": "[]",
    "no JSON": "{'always': {}}",
    "a comma more": expected()[:-1] + ",}",
    "always left out": expected(always=GONE),
    "counts left out": expected(counts=GONE),
    "always a number": expected(always=3),
    "always of lists": expected(always={"acdc zero": ["reverse"]}),
    "a column left out": expected(always={"acdc zero": {HELD[0]: []}}),
    "a column of its own": expected(always={"acdc zero": {**{name: [] for name in HELD}, "luck": []}}),
    "a method without ablation": expected(always={"acdc": {name: [] for name in HELD}}),
    "a program that is a number": expected(always={"acdc zero": {name: [1] for name in HELD}}),
    "a text for programs": expected(always={"acdc zero": dict.fromkeys(HELD, "reverse")}),
    "half a character": expected(always={"acdc zero": {name: ["\ud800"] for name in HELD}}),
    "more than all": of_counts("9/8"),
    "of none": of_counts("0/0"),
    "below none": of_counts("-1/8"),
    "a count of texts": of_counts("many"),
    "a count without end": of_counts("1/" + "9" * 5000),
    "a count that is a list": of_counts([7, 8]),
    "another script's digits": of_counts("\u0667/\u0668"),
    "too large": expected() + " " * 2**22,
}


@pytest.mark.parametrize("change", [*ANY, *EXPECTED])
def test_no_malformed_expectations_are_accepted(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "expectations.json"
    monkeypatch.setattr(bench.truth.expectations, "_path", lambda: file)
    file.write_text(expected(), encoding="utf-8")
    assert read_expectations().counts["edge_pruning zero"][HELD[0]] == {"reverse": (7, 8)}
    if change in ANY:
        ANY[change](file)
    else:
        file.write_text(EXPECTED[change], encoding="utf-8")
    refused(read_expectations, file.name, DamagedFile)


def test_files_of_before_have_no_hashes(made: Path, tmp_path: Path) -> None:
    with safe_open(made / "circuit.safetensors", framework="pt") as file:
        held = {"circuitmark": file.metadata()["circuitmark"]}
    save_file(load_tensors(made / "circuit.safetensors")[0], tmp_path / "old.safetensors", metadata=held)
    assert Circuit.load(tmp_path / "old.safetensors") == Circuit.load(made / "circuit.safetensors")


@pytest.mark.parametrize("kind", ["run", "circuit", "checkpoint", "recovery"])
def test_a_changed_name_of_the_hashes_is_noticed(kind: str, made: Path, tmp_path: Path) -> None:
    """It does not make the file one of before, which had none."""
    source = min(made.rglob("runs/*.safetensors" if kind == "run" else f"{kind}.safetensors"))
    changed = source.read_bytes().replace(b'\\"sha256\\"', b'\\"rha256\\"')
    assert changed != source.read_bytes()
    (tmp_path / source.name).write_bytes(changed)
    with pytest.raises(DamagedFile, match="its header is not the one that was written"):
        load_tensors(tmp_path / source.name)


@pytest.mark.parametrize("kind", ["run", "circuit", "checkpoint", "recovery"])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_are_noticed(kind: str, made: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Wherever a byte is changed, what is read is what was written, or nothing is."""
    source = min(made.rglob("runs/*.safetensors" if kind == "run" else f"{kind}.safetensors"))
    whole = bytearray(source.read_bytes())
    # the header is short beside the tensors, and has more ways to go wrong
    end = data.draw(st.sampled_from([8, min(4000, len(whole)), len(whole)]))
    for place in data.draw(st.lists(st.integers(0, end - 1), min_size=1, max_size=3)):
        whole[place] ^= data.draw(st.integers(1, 255))
    file = tmp_path / source.name
    file.write_bytes(whole[: len(whole) - data.draw(st.sampled_from([0, 0, 0, 1, 100]))])
    try:
        tensors, held = load_tensors(file)
    except DamagedFile:
        return
    wanted, header = load_tensors(source)
    assert held == header
    assert set(tensors) == set(wanted)
    assert all(tensors[name].equal(wanted[name]) for name in wanted)
