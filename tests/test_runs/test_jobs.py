"""Jobs: what is run together, which seeds tell them apart, and what may stand beside them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from bench.engine.circuit import Circuit
from bench.errors import MixedSettings, UsageError
from bench.files import load_tensors, save_tensors
from bench.runs.experiment import Experiment, Job, bundles
from bench.runs.job import carry_out
from bench.runs.run import How, _open
from bench.scoring.leaderboard import leaderboard
from bench.scoring.rewired import rewired
from bench.store.asked import ask
from bench.store.record import BENCHMARK
from bench.store.results import Run, Store
from careless import SCORES, adapter
from problems import SMALL


def run(experiment: Experiment, out: Path) -> None:
    """Executes all jobs, as the command does."""
    jobs = experiment.jobs()
    ask(out, ((job.dimensions, job.lineage, job.stem) for job in jobs))
    for bundle in bundles(jobs):
        carry_out(bundle, out)


def is_the_same_alone(job: Job, folder: Path) -> None:
    """Whether a job that ran together with others has the outputs and circuits that it has by itself."""
    carry_out([job], folder / "alone")
    (one, header), (other, its) = (
        load_tensors(Store(folder / out).path(job.stem)) for out in ("together", "alone")
    )
    assert one.keys() == other.keys()
    assert all(tensor.equal(other[name]) for name, tensor in one.items())
    for name in ("circuits", "ablation"):
        assert header["record"][name] == its["record"][name]
    assert header["record"]["ablation"] == job.dimensions.ablation


def test_random_draws_that_share_processes_are_what_each_is_alone(tmp_path: Path) -> None:
    experiment = dataclasses.replace(
        SMALL, methods=("random_edges", "eap", "edge_pruning", "random_edges:kind=uniform"), random_draws=12
    )
    jobs = experiment.jobs()
    ran = bundles(jobs)
    assert [[job.dimensions.method_seed for job in bundle] for bundle in ran] == [
        [0], [0], [0], [*range(10)], [10, 11]
    ]  # fmt: skip
    assert [bundle[0].method.name for bundle in ran][:3] == ["eap", "edge_pruning", "random_edges"]
    two = ran[-1]
    assert [ended.status for ended in carry_out(two, tmp_path / "together")] == ["ok", "ok"]
    for job in two:
        is_the_same_alone(job, tmp_path)


def test_a_discovery_serves_all_ablations_that_it_is_scored_under(tmp_path: Path) -> None:
    """It is made once, and each run is what it is alone."""
    experiment = dataclasses.replace(
        SMALL, methods=("eap", "acdc"), sizes=("5%",), random_draws=1,
        ablations=("resample", "zero", "mean"), discovery_ablations=("zero", "mean"),
    )  # fmt: skip
    jobs = experiment.jobs()
    assert len({job.stem for job in jobs}) == len(jobs) == 2 * 2 * 3 + 3
    ran = bundles(jobs)
    assert [(bundle[0].dimensions.discovery_ablation, len(bundle)) for bundle in ran if len(bundle) > 1] == [
        ("zero", 3), ("mean", 3), ("zero", 3), ("mean", 3)
    ]  # fmt: skip
    ended = carry_out(ran[0], tmp_path / "together")
    assert [each.status for each in ended] == ["ok"] * 3
    assert not any((tmp_path / "together" / "unfinished").glob("*"))
    together = Store(tmp_path / "together")
    costs = {run.record.cpu_seconds for run in together.runs()}
    assert len(costs) == 1  # of one discovery
    assert all(run.record.data_seconds for run in together.runs())
    assert {run.record.shortest_path for run in together.runs()} == {1}
    for job in ran[0]:
        is_the_same_alone(job, tmp_path)
    table = leaderboard(Store(tmp_path / "alone"))
    empty = table[table["method"] == "empty"].set_index("ablation")["kl"]
    assert empty.nunique() == 3


def test_what_is_scored_stays_where_another_ablation_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = dataclasses.replace(SMALL, ablations=("resample", "zero")).jobs()[-2:]

    def half(asked: Any, out: Path, *_: object) -> SimpleNamespace:
        Store(out).save(asked[0].job.stem, Run(asked[0].record))
        return SimpleNamespace(status="failed", reason="no memory", traceback="")

    monkeypatch.setattr("bench.runs.job.discover_apart", lambda *_: None)
    monkeypatch.setattr("bench.runs.job.score_apart", half)
    assert [ended.status for ended in carry_out(bundle, tmp_path)] == ["ok", "failed"]
    assert [Store(tmp_path).status(job.stem) for job in bundle] == ["ok", "failed"]


def test_a_file_s_name_is_no_longer_than_file_systems_have() -> None:
    names = (
        "rate",
        "price",
        "tolerance",
        "start",
        "multiplier_rate",
        "memory",
        "settling",
        "halving",
        "hold",
    )
    typed = ",".join(
        f"{name}={3 if name in ('settling', 'halving', 'hold') else 0.123456789}" for name in names
    )
    job = Experiment(tasks=("gp",), methods=(f"edge_pruning:{typed},node_gates=true",)).jobs()[-1]
    assert len(job.dimensions.params) > 150
    assert len(f"{job.stem}.found.safetensors.12345678.part") < 255


def test_circuits_have_the_size_asked_for(tmp_path: Path) -> None:
    """A method that names fewer edges is filled up from its scores, if it has any, and the row says so."""
    fewer = (
        "edges = {size: problem.graph.exists & False for size in problem.sizes}\nedges[0.05][3, 0] = True\n"
    )
    (tmp_path / "fewer.py").write_text(adapter(f"{fewer}return Discovery(edges=edges, scores={SCORES})"))
    without = adapter(f"{fewer}return Discovery(edges=edges)").replace('"mine"', '"scoreless"')
    (tmp_path / "none.py").write_text(without)
    methods = tuple(str(tmp_path / name) for name in ("fewer.py", "none.py"))
    run(dataclasses.replace(SMALL, methods=methods, random_draws=1), tmp_path / "out")
    table = leaderboard(Store(tmp_path / "out")).set_index(["method", "size_requested"])
    told = table[["edges_kept", "edges_filled"]]
    assert told.loc["mine"].to_numpy().tolist() == [[15, 15], [75, 74]]
    assert told.loc["scoreless"].to_numpy().tolist() == [[0, 0], [1, 0]]
    assert told.loc["random_edges"].to_numpy().tolist() == [[15, 0], [75, 0]]
    (file,) = (tmp_path / "out" / "circuits").glob("*mine*/0.05.safetensors")
    assert len(Circuit.load(file)) == 75


def test_every_circuit_is_beside_one_with_other_edges_of_its_sorts(tmp_path: Path) -> None:
    """The null's score is that of the circuit which the method seed rewires; random circuits have none."""
    experiment = dataclasses.replace(SMALL, methods=("eap",), random_draws=1)
    run(experiment, tmp_path)
    (job,) = (job for job in experiment.jobs() if job.method.name == "eap")
    rows = leaderboard(Store(tmp_path)).to_dict("records")
    study, generator = job.study(), torch.Generator().manual_seed(0)
    for size in sorted(job.sizes):
        circuit = Circuit.load(Store(tmp_path).circuit(job.stem, size))
        null = rewired(circuit, generator)
        (row,) = (row for row in rows if (row["method"], row["size_requested"]) == ("eap", size))
        assert row["edges_rewired"] == len(circuit) - len(circuit & null) == round(0.2 * len(circuit))
        (again,) = study.evaluate(null, random_draws=0)["recovered"][:1]
        assert row["recovered_rewired"] == pytest.approx(again)
        assert row["recovered_rewired"] < row["recovered"]
    assert all(math.isnan(row["recovered_rewired"]) for row in rows if row["method"] == "random_edges")


def test_versions_of_the_benchmark_do_not_mix(tmp_path: Path) -> None:
    """Neither in a run nor in a table; all of an older version can still be shown."""
    experiment = dataclasses.replace(SMALL, methods=("random_edges",), sizes=("5%",), random_draws=2)
    run(experiment, tmp_path)
    store, job = Store(tmp_path), experiment.jobs()[0]
    table = leaderboard(store)
    for file in sorted((tmp_path / "runs").glob("*.safetensors")):
        tensors, header = load_tensors(file)
        assert header["record"].pop("benchmark") == BENCHMARK  # as older versions left it
        save_tensors(file, tensors, header)
        with pytest.raises(MixedSettings, match="version 1 of the benchmark"):
            store.check_setting(job.evaluation, job.dimensions.model, job.model_hash)
        if file.stem != job.stem:
            break
        with pytest.raises(MixedSettings, match="versions 1 and 2 of the benchmark"):
            leaderboard(store)
    assert leaderboard(store).drop(columns="benchmark").equals(table.drop(columns="benchmark"))


def test_seeds_are_told_apart(tmp_path: Path) -> None:
    """Every method runs on every discovery set, one that draws at random several times on each."""
    methods = ("eap", "edge_pruning")
    experiment = dataclasses.replace(SMALL, methods=methods, data_seeds=2, method_seeds=3, random_draws=4)
    ran = [
        (job.method.name, job.dimensions.data_seed, job.dimensions.method_seed) for job in experiment.jobs()
    ]
    assert sorted(ran) == [
        *(("eap", data, 0) for data in range(2)),
        *(("edge_pruning", data, seed) for data in range(2) for seed in range(3)),
        *(("random_edges", 0, seed) for seed in range(4)),
    ]
    assert len({job.stem for job in experiment.jobs()}) == len(ran)


def test_an_evaluation_seed_draws_fresh_prompts() -> None:
    """For all methods the same; discovery prompts stay."""
    (public, *_), (fresh, *_) = (dataclasses.replace(SMALL, evaluation_seed=seed).jobs() for seed in (0, 1))
    here, there = public.study().data, fresh.study().data
    assert public.key != fresh.key
    assert all(a.clean.equal(b.clean) for a, b in zip(here.discovery, there.discovery, strict=True))
    prompts = [{str(p) for b in data.evaluation.batches for p in b.clean.tolist()} for data in (here, there)]
    assert not prompts[0] & prompts[1]


def test_methods_with_scores_cut_by_nodes(tmp_path: Path) -> None:
    """Under the name of the option that says so; random circuits stay those of edges."""
    experiment = dataclasses.replace(SMALL, granularity="node", sizes=("5%",))
    assert [(job.dimensions.method, job.dimensions.params) for job in experiment.jobs()] == [
        ("random_edges", ""), ("eap", "selection=nodes"),
    ]  # fmt: skip
    run(experiment, tmp_path)
    table = leaderboard(Store(tmp_path)).set_index("method")
    assert 10 < table.edges_kept["eap"] <= 75
    assert table.edges_kept["random_edges"] == 75
    for methods, complaint in (
        (("eap:absolute=false,selection=nodes",), None),
        (("acdc",), "acdc has no option selection=nodes"),
        (("eap:stable=0.9",), "eap:stable=0.9 cannot cut its circuits by nodes: stable filters edges"),
    ):
        chosen = dataclasses.replace(experiment, methods=methods)
        if complaint is None:
            assert chosen.jobs()[-1].dimensions.params == "absolute=false,selection=nodes"
        else:
            with pytest.raises(UsageError, match=complaint):
                chosen.jobs()
    with pytest.raises(UsageError, match="granularity"):
        dataclasses.replace(experiment, granularity="nodes").jobs()  # type: ignore[arg-type]


def test_what_is_run_again_is_what_was_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed, and what was skipped since the model cannot do the task; what declined is final."""
    statuses = ("ok", "failed", "skipped", "declined")
    jobs = cast(Any, [SimpleNamespace(stem=stem) for stem in ("new", *statuses)])
    store = Store(tmp_path)
    monkeypatch.setattr(store, "status", lambda stem: stem if stem in statuses else None)
    for how, wanted in (
        (How(), ["new"]),
        (How(retry_failed=True), ["new", "failed"]),
        (How(even_if_unable=True), ["new", "skipped"]),
    ):
        assert [job.stem for job in _open(jobs, store, how)] == wanted
