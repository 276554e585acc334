"""Running from start to end on the embedded model: the store, resuming, statuses, stable outputs."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from bench.engine.circuit import Circuit
from bench.errors import DamagedFile, MixedSettings, UsageError
from bench.files import load_header, load_tensors, save_tensors
from bench.names import get_method, parse_sizes
from bench.runs.experiment import Experiment
from bench.runs.job import carry_out
from bench.scoring.leaderboard import COLUMNS, leaderboard, write_tables
from bench.store.asked import ask
from bench.store.results import Store
from checkout import ROOT
from problems import CLOCKS, SMALL

PLUGIN = textwrap.dedent(
    '''
    """A method of somebody's own."""
    import torch
    from circuitmark import Discovery, Method, Problem

    class Mine(Method):
        """Does what the test says."""
        name, description, citation = "mine", "a test", "@misc{{x}}"
        stochastic = True

        def skip(self, problem: Problem) -> str | None:
            return "too large for me" if problem.seed == 1 else None

        def discover(self, problem: Problem) -> Discovery:
            {body}
    '''
)


def run(experiment: Experiment, out: Path) -> list[str]:
    """Executes what is not finished, as the command does."""
    jobs, store = experiment.jobs(), Store(out)
    ask(out, ((job.dimensions, job.lineage, job.stem) for job in jobs))
    return [carry_out([job], out)[0].status for job in jobs if store.status(job.stem) in (None, "failed")]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    assert run(SMALL, out) == ["ok", "ok"]
    return out


def test_the_table_is_the_same_whatever_order_jobs_end_in(results: Path, tmp_path: Path) -> None:
    """Nor does a clock decide it that was set back meanwhile."""
    shutil.copytree(results, tmp_path / "other")
    for i, file in enumerate(sorted((tmp_path / "other" / "runs").glob("*.safetensors"))):
        tensors, header = load_tensors(file)
        header["record"]["created"] = f"200{9 - i}"
        save_tensors(file, tensors, header)
    tables = [leaderboard(Store(folder)).drop(columns="created") for folder in (results, tmp_path / "other")]
    assert tables[0].equals(tables[1])


def test_table_has_the_stable_columns(results: Path) -> None:
    table = leaderboard(Store(results))
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    assert set(table["method"]) == {"full", "empty", "ones", "random_edges", "eap"}
    assert len(table) == 3 + 2 * 2
    assert (table["status"] == "ok").all()
    eap = table[table["method"] == "eap"].set_index("size_requested")
    random = table[table["method"] == "random_edges"]
    assert list(eap.index) == [0.01, 0.05]
    assert list(eap["edges_kept"]) == [15, 75]
    assert eap["edge_sparsity"].tolist() == pytest.approx([1 - 15 / 1519, 1 - 75 / 1519])
    assert (eap["recovered"] > random["recovered"].to_numpy()).all()
    assert set(table["these_prompts"]) == {"at least 8 prompts per template are needed, not 1"}
    assert table["kl_low"].isna().all()
    assert (eap["forward_equivalents"] > 1).all()
    assert eap["cpr"].nunique() == 1
    assert eap["objective"].unique().tolist() == ["difference"]
    assert (eap["peak_memory_mb"] > 100).all()
    assert (eap["cpu_seconds"] > 0).all()
    short = (1 - eap["complement_loss"]).abs().to_numpy()
    expected = (1 - random["complement_loss"]).abs().to_numpy() - short
    assert eap["complement_loss_margin"].tolist() == pytest.approx(expected.tolist())
    assert random["complement_loss_margin"].isna().all()
    assert random["cpr"].notna().all()
    assert (eap["kl"].to_numpy() < random["kl"].to_numpy()).all()


def test_every_ranking_has_mibs_columns(results: Path) -> None:
    """Random ones too, though two sizes alone were asked for; the full and the empty circuit rank nothing."""
    areas = leaderboard(Store(results)).set_index("method")[["cpr", "cmd", "cpr_log", "cmd_log", "acc_auc"]]
    assert areas.loc[["eap", "random_edges"]].notna().all(axis=None)
    assert areas.loc[["full", "empty", "ones"]].isna().all(axis=None)


def test_without_curves_a_row_lacks_its_areas_alone(results: Path, tmp_path: Path) -> None:
    """No circuit of a curve is run; what is shared with a run that has them is the same to the bit."""
    assert run(dataclasses.replace(SMALL, curves=False), tmp_path) == ["ok", "ok"]
    areas = ["cpr", "cmd", "cpr_log", "cmd_log", "acc_auc"]
    with_them, without = (leaderboard(Store(out)).drop(columns=list(CLOCKS)) for out in (results, tmp_path))
    assert without[areas].isna().all(axis=None)
    same = with_them.columns.difference([*areas, "job", "stem", "commit"])
    pd.testing.assert_frame_equal(with_them[same], without[same])
    for at in (results, tmp_path):
        named = {c["curve"] for r in Store(at).runs() for c in r.record.circuits.values()}
        assert named == ({"", "absolute", "signed"} if at == results else {""})


def test_written_tables_are_the_same_table(results: Path) -> None:
    store = Store(results)
    table = leaderboard(store)
    write_tables(results, table)
    from_csv = pd.read_csv(results / "leaderboard.csv")
    from_parquet = pd.read_parquet(results / "leaderboard.parquet")
    assert list(from_csv.columns) == list(from_parquet.columns) == list(table.columns)
    assert from_csv["kl"].tolist() == from_parquet["kl"].tolist() == table["kl"].tolist()


def test_circuits_are_saved_and_are_those_scored(results: Path) -> None:
    files = sorted((results / "circuits").glob("*eap*/*.safetensors"))
    assert [file.name for file in files] == ["0.01.safetensors", "0.05.safetensors", "unaided.safetensors"]
    small, large = (Circuit.load(file) for file in files[:2])
    assert (len(small), len(large)) == (15, 75)
    assert small & large == small  # top-n circuits are nested
    assert small.edges()[0][0] == "embed"


def test_rerunning_does_nothing_and_a_killed_run_goes_on(results: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*.safetensors")}
    assert run(SMALL, results) == []
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*.safetensors")} == before
    first, _second = SMALL.jobs()
    carry_out([first], tmp_path)  # and then killed
    assert run(SMALL, tmp_path) == ["ok"]
    # and a job gives the same scores again, but for what a clock says
    once, again = (leaderboard(Store(at)).drop(columns=[*CLOCKS]) for at in (results, tmp_path))
    pd.testing.assert_frame_equal(once, again)


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": ("2%",)},
        {"ablations": ("zero",)},
        {"n_discovery": (21,)},
        {"split": "validation"},
        {"discovery_ablations": ("zero",)},
        {"n_evaluation": 25},
        {"dtype": "float64"},
        {"split_embed": True},
        {"kv": "per_head"},
        {"curves": False},
        {"methods": ("eap:absolute=false",)},
    ],
    ids=str,
)
def test_key_holds_what_determines_the_result(change: dict[str, object]) -> None:
    base = dataclasses.replace(SMALL, methods=("eap",))
    keys = {job.key for job in base.jobs() if job.method.name != "random_edges"}
    changed = dataclasses.replace(base, **change)  # type: ignore[arg-type]
    assert not keys & {job.key for job in changed.jobs()}


def test_key_follows_the_methods_file(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(PLUGIN.format(body="return Discovery(scores=problem.graph.exists.float())"))
    experiment = dataclasses.replace(SMALL, methods=(str(plugin),))
    before = [job.key for job in experiment.jobs() if job.method.text == str(plugin)]
    assert before == [job.key for job in experiment.jobs() if job.method.text == str(plugin)]
    plugin.write_text(plugin.read_text() + "\nchanged = True\n")
    assert before != [job.key for job in experiment.jobs() if job.method.text == str(plugin)]


OUTCOMES = {
    "fine": ("return Discovery(scores=torch.rand(problem.graph.exists.shape))", "ok", ""),
    "raises": ("raise RuntimeError('no luck')", "failed", "RuntimeError: no luck"),
    "too_few": ("return Discovery(scores=torch.zeros(2, 2))", "failed", "ValueError: .*scores"),
    "infinite": ("return Discovery(scores=problem.graph.exists / 0)", "failed", "ValueError: .*all finite"),
    "nothing": ("return Discovery()", "failed", "ValueError: .*neither scores nor edges"),
    "exits": ("raise SystemExit(0)", "failed", "SystemExit: 0"),
    "strange": (
        "return Discovery(edges={s: ~problem.graph.exists for s in problem.sizes})", "failed", "not an edge"
    ),
    "spoils": ("problem.graph.exists.fill_(False); problem.graph.owners.fill_(1); 1 / 0", "failed", "Zero"),
}  # fmt: skip


def test_a_plugins_outcome_is_recorded(tmp_path: Path) -> None:
    """A method that fails leaves a row that says why, and is tried again the next time.

    Whatever one does to the graph that it was handed, the next one is handed a whole one.
    """
    for name, (body, _, _) in OUTCOMES.items():
        (tmp_path / f"{name}.py").write_text(PLUGIN.format(body=body).replace('"mine"', f'"{name}"'))
    files = {name: str(tmp_path / f"{name}.py") for name in OUTCOMES}
    methods = ("random_edges", *files.values(), "eap")
    experiment = dataclasses.replace(SMALL, methods=methods, sizes=("5%",), curves=False)
    out = tmp_path / "out"
    assert run(experiment, out) == ["ok", *(status for _, status, _ in OUTCOMES.values()), "ok"]
    rows: Any = leaderboard(Store(out)).set_index("method")
    for name, (_, status, reason) in OUTCOMES.items():
        assert rows.loc[name, "status"] == status
        assert re.search(reason, rows.loc[name, "status_reason"] or ""), name
    assert rows.loc["eap", "edges_kept"] == 75
    assert rows["kl"]["eap"] < 0.01
    assert run(dataclasses.replace(experiment, methods=("random_edges", files["raises"])), out) == ["failed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("x = 1", "defines 0 methods"),
        (
            PLUGIN.format(body="pass").replace('"mine"', '"eap"'),
            "a name that circuitmark or an installed package already uses: rename it",
        ),
        (PLUGIN.format(body="pass").replace("citation = ", "cited = "), "has no citation"),
        (PLUGIN.format(body="pass") + "    def __init__(self, x): pass", "missing 1 required"),
    ],
)
def test_a_plugin_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    """One line says what is wrong with the file, before anything is run."""
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UsageError, match=message):
        get_method(str(tmp_path / "mine.py"))


def test_twins_and_nothing_are_refused() -> None:
    for change, message in [
        ({"methods": ("eap", "eap:absolute=true")}, "same method"),
        ({"tasks": ()}, "'tasks' is empty"),
        ({"methods": ()}, "'methods' is empty"),
    ]:
        with pytest.raises(UsageError, match=message):
            dataclasses.replace(SMALL, **change).jobs()  # type: ignore[arg-type]


def test_a_declined_problem_is_final(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(PLUGIN.format(body="return Discovery(scores=torch.rand(problem.graph.exists.shape))"))
    experiment = dataclasses.replace(
        SMALL, methods=(str(plugin), "random_edges"), method_seeds=2, random_draws=2, sizes=("5%",)
    )
    assert run(experiment, tmp_path / "out") == ["ok", "declined", "ok", "ok"]
    assert run(experiment, tmp_path / "out") == []
    table = leaderboard(Store(tmp_path / "out"))
    assert table[table["status"] == "declined"]["status_reason"].tolist() == ["too large for me"]


def test_sizes_add_up_and_settings_do_not_mix(tmp_path: Path) -> None:
    """More sizes join the table; other data or another model of the same name are kept out."""
    one = dataclasses.replace(SMALL, methods=("random_edges",), sizes=("5%", "10%"))
    run(one, tmp_path)
    run(dataclasses.replace(one, sizes=("10%", "20%")), tmp_path)
    table = leaderboard(Store(tmp_path))
    assert table[table["method"] == "random_edges"]["size_requested"].tolist() == [0.05, 0.1, 0.2]
    job = one.jobs()[0]
    store = Store(tmp_path)
    store.check_setting(job.evaluation, job.dimensions.model, job.model_hash)
    with pytest.raises(MixedSettings, match="n_evaluation=24, not 25"):
        store.check_setting(dataclasses.replace(job.evaluation, n_evaluation=25), "other", "x")
    with pytest.raises(MixedSettings, match="another model named 'embedded'"):
        store.check_setting(job.evaluation, "embedded", "x")


def test_a_changed_method_supersedes_and_can_be_changed_back(tmp_path: Path) -> None:
    """The table shows the method as it is now: also after its file was edited and edited back."""
    plugin = tmp_path / "mine.py"
    out = tmp_path / "out"
    experiment = dataclasses.replace(SMALL, methods=("random_edges", str(plugin)), sizes=("5%",))

    def shown(score: str) -> float:
        plugin.write_text(PLUGIN.format(body=f"return Discovery(scores={score})"))
        run(experiment, out)
        rows = leaderboard(Store(out)).set_index("method").loc[["mine"]]
        assert rows["status"].tolist() == ["ok"]
        return float(rows["kl"].iloc[0])

    plugin.write_text(PLUGIN.format(body="raise RuntimeError"))
    assert run(experiment, out) == ["ok", "failed"]  # and leaves no trace once it works
    good = "problem.edge_gradients(problem.batches[0], 'difference').abs()"
    first = shown(good)
    assert shown("problem.graph.exists.float()") > first
    assert shown(good) == first


def test_truncated_run_is_named(results: Path, tmp_path: Path) -> None:
    source = next((results / "runs").glob("*.safetensors"))
    (tmp_path / "runs").mkdir()
    broken = tmp_path / "runs" / source.name
    broken.write_bytes(source.read_bytes()[:-50])
    for call in (lambda: leaderboard(Store(tmp_path)), lambda: Store(tmp_path).status(source.stem)):
        with pytest.raises(DamagedFile, match=rf"{source.name} cannot be read.*move it away"):
            call()


def test_record_knows_where_it_comes_from(results: Path) -> None:
    record = load_header(next((results / "runs").glob("*eap*.safetensors")))["record"]
    for name in (
        "ablation",
        "direction",
        "graph",
        "position_policy",
        "sizes",
        "data_seed",
        "method_seed",
        "format",
        "threads",
        "dtype",
        "objective",
        "forwards",
        "backwards",
        "tokens",
    ):
        assert name in record
    for name in ("versions", "commit", "dirty", "hardware"):
        assert name in record["provenance"]
    assert record["forwards"] == 2
    assert json.dumps(record)


def test_sizes() -> None:
    assert parse_sizes(["5%", "0.01", "5 %"]) == (0.01, 0.05)
    assert parse_sizes(["100%"]) == (1.0,)
    assert parse_sizes(["1.4%", "0.93%"]) == (0.0093, 0.014)
    for text, message in [
        ("5", "did you mean '5%'"),
        ("abc", "not a size"),
        ("0%", "not above 0"),
        ("-1%", "not above 0"),
        ("101%", "at most 1"),
        ("", "not a size"),
        ("nan", "not above 0"),
    ]:
        with pytest.raises(UsageError, match=message):
            parse_sizes([text])


def test_configuration(tmp_path: Path) -> None:
    """All configurations can be run, the default one is complete; a wrong one is named."""
    for shipped in (ROOT / "configs").rglob("*.yaml"):
        if shipped.name != "smollm2.yaml":  # whose model may not be at hand
            assert Experiment.from_file(shipped).jobs()
    path = ROOT / "configs" / "default.yaml"
    default = Experiment.from_file(path)
    assert set(yaml.safe_load(path.read_text())) <= {f.name for f in dataclasses.fields(Experiment)}
    assert default.sizes == Experiment().sizes
    assert {job.dimensions.task for job in default.jobs()} == {"ioi", "gt", "gp"}
    for text, message in [
        ("tesks: [gp]", "did you mean 'tasks'"),
        ("[1", "cannot be read as YAML"),
        ("3", "is not a list of"),
        ("data_seeds: many", "data_seeds must be a valid integer, not 'many'"),
        ("ablation: zero", "did you mean 'ablations'"),
        ("discovery_ablations: [none]", "discovery_ablations.0 must be"),
    ]:
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(UsageError, match=message):
            Experiment.from_file(tmp_path / "c.yaml")
    with pytest.raises(UsageError, match="cannot read"):
        Experiment.from_file(tmp_path / "none.yaml")


def test_random_circuits_are_always_run_and_drawn_often() -> None:
    jobs = dataclasses.replace(SMALL, methods=("eap",), random_draws=3).jobs()
    assert [(job.method.text, job.dimensions.method_seed) for job in jobs] == [
        ("random_edges", 0),
        ("random_edges", 1),
        ("random_edges", 2),
        ("eap", 0),
    ]
