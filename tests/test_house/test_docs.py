"""What README and docs say works: commands exist, links lead somewhere, examples run, lists are complete."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.models.load import load_model
from bench.names import choose_method, choose_task, options_of
from bench.runs.experiment import Experiment
from bench.runs.job import carry_out
from bench.scoring.catalogue import METRICS, RECOVERY_METRICS
from bench.scoring.leaderboard import leaderboard
from bench.store.results import Store
from bench.study import Study
from bench.truth.verify import ABLATIONS, verify
from checkout import ROOT
from doc_pages import PAGES, README, blocks, commands, example, file_of
from methods.base import find_methods
from tasks import Task, find_tasks


def _read(words: list[str]) -> None:
    """Reads a command line as the program does, and runs nothing; an error where it is not spelled right, or
    names a method, a task or a configuration that is not there.
    """
    import typer

    from bench.cli import app

    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    if hasattr(command, "commands"):  # only an option of the group itself is left
        assert {*words} <= {"--help", *(option for parameter in command.params for option in parameter.opts)}
        return
    read = command.make_context("circuitmark", words).params
    named = read.get("method") or ()
    for method in [named] if isinstance(named, str) else named:
        assert method.partition(":")[0].endswith(".py") or choose_method(method)
    tasks = read.get("task") or ()
    for task in [tasks] if isinstance(tasks, str) else tasks:
        assert "." in task or choose_task(task)  # a file, or a name
    assert not read.get("config") or (ROOT / read["config"]).exists()


def test_commands_are_spelled_as_the_program_knows_them() -> None:
    """Commands, sub-commands, options and arguments."""
    found = list(commands())
    assert {"run", "list", "report", "verify-tracr", "rescore", "cite", "models"} <= {
        words[0] for _, _, words in found
    }
    for page, line, words in found:
        try:
            _read(words)
        except Exception as error:
            pytest.fail(f"{page.name}: {line}: {error!r}")


@pytest.mark.parametrize(
    "words",
    [
        "runn",
        "run --size 5%",
        "models get x",
        "list metric",
        "cite",
        "--versions",
        "run -m eap:step=1",
        "run -t io",
    ],
)
def test_a_misspelled_command_is_noticed(words: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011
        _read(words.split())


def _anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in _anchors(target), f"{page.name}: {link}"


def test_readme_is_short_and_leads_to_every_page() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 200
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in text


def test_the_method_of_the_readme_runs(tmp_path: Path) -> None:
    """Copied as it stands, it beats random circuits."""
    (tmp_path / "my_method.py").write_text(example(README, "my_method.py"))
    spec = f"{tmp_path / 'my_method.py'}:damping=0.3"
    experiment = Experiment(
        tasks=("gp",), methods=("random_edges", spec), sizes=("5%",), random_draws=1,
        n_discovery=(20,), n_evaluation=20,
    )  # fmt: skip
    for job in experiment.jobs():
        assert carry_out([job], tmp_path / "out")[0].status == "ok"
    kl = leaderboard(Store(tmp_path / "out")).set_index("method")["kl"]
    assert kl["my_method"] < kl["random_edges"] / 10


def test_the_program_of_the_readme_is_verified(tmp_path: Path) -> None:
    """Copied as it stands, it compiles, its circuit is proved, and a method is held to it."""
    (tmp_path / "my_program.py").write_text(example(README, "my_program.py"))
    spec = f"{tmp_path / 'my_program.py'}:previous"
    outcome = verify([choose_method("eap_ig")], [spec], ABLATIONS, tmp_path / "out")
    (program,) = outcome.programs
    assert not outcome.unproved
    assert {"tok->a0.h0.v", "a0.h0->logits"} <= set(program["resample"]) < set(program["zero"])
    assert [row["status"] for row in outcome.recovery] == ["ok", "ok"]


def test_the_task_of_the_docs_makes_examples() -> None:
    """Copied as it stands, for the embedded model's tokenizer; its splits share no prompt."""
    namespace: dict[str, Any] = {}
    exec(example(ROOT / "docs" / "tasks.md", "task"), namespace)
    task: Task = namespace["SecondName"]()
    tokenizer = load_model("embedded").tokenizer
    made = {split: task.examples(tokenizer, split, 50, 0) for split in ("discovery", "evaluation")}
    assert [len(examples) for examples in made.values()] == [50, 50]
    prompts = [{tuple(row) for row in examples.clean.tolist()} for examples in made.values()]
    assert not prompts[0] & prompts[1]


NOTEBOOKS = [page for page in PAGES if any(b.language == "python" and not file_of(b) for b in blocks(page))]


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.name)
def test_notebooks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cell after cell, as they stand, with fewer prompts and random circuits by default."""
    monkeypatch.chdir(tmp_path)
    few = {"n_discovery": 20, "n_evaluation": 20}
    for function, fewer in ((Study.__init__, few), (Study.evaluate, {"random_draws": 2})):
        monkeypatch.setattr(function, "__kwdefaults__", (function.__kwdefaults__ or {}) | fewer)
    fewer_runs = few | {"n_discovery": (20,), "random_draws": 1, "circuit_tests": False, "curves": False}
    defaults = [fewer_runs.get(name, value) for name, value in vars(Experiment()).items()]
    monkeypatch.setattr(Experiment.__init__, "__defaults__", tuple(defaults))
    namespace: dict[str, Any] = {"__name__": "notebook"}
    for block in blocks(page):
        if block.language == "python" and not file_of(block):
            exec(block.text, namespace)
    assert len(namespace["found"]) == 2


def test_every_column_is_described() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    rows = "".join(re.findall(r"^\| (`[^|]*)\|", text, re.M))
    described = re.findall(r"`(\w+)`", rows)
    assert sorted(described) == sorted(metric.name for metric in (*METRICS, *RECOVERY_METRICS))


def test_every_key_of_a_configuration_is_in_the_tutorial_with_its_default() -> None:
    (table,) = (ROOT / "docs" / "tutorial.md").read_text().split("| key | default | what |")[1:]
    told: dict[str, str] = {}
    for line in table.split("\n\n")[0].splitlines()[2:]:
        keys, defaults = (cell.strip().replace("`", "") for cell in line.split("|")[1:3])
        names = keys.split(", ")
        told |= zip(names, [defaults] if len(names) == 1 else defaults.split(", "), strict=True)
    shipped = {field.name: field.default for field in fields(Experiment)}
    for name, default in told.items():
        value = "" if default == "none" else yaml.safe_load(default)
        assert (tuple(value) if isinstance(value, list) else value) == shipped[name], name
    assert set(told) == set(shipped)


def test_every_method_option_and_task_is_described() -> None:
    pages = {path.stem: path.read_text() for path in (ROOT / "docs" / "methods").glob("*.md")}
    methods, missing = find_methods()
    assert not missing
    assert set(pages) == set(methods)
    table = (ROOT / "docs" / "methods.md").read_text()
    for name, method in methods.items():
        assert pages[name].startswith(f"# `{name}`\n")
        assert f"| [`{name}`](methods/{name}.md) |" in table
        for option in options_of(method):
            assert re.search(rf"`{option}(=[\w.]+)?`", pages[name]), f"{name}: {option}"
        for preset in method.presets:
            assert f"`preset={preset}`" in pages[name]
    text = (ROOT / "docs" / "tasks.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.M)) == sorted(find_tasks())
    for task in find_tasks().values():
        assert all(re.search(rf"`{option}=\w+`", text) for option in options_of(task))


def test_architecture_names_every_layer_in_order() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c.get("containers") == ["bench"])
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = re.search(r"^\| in `bench/` \| holds \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.M)
    assert table
    names = "".join(row.split("|")[1] for row in table[1].splitlines())
    assert re.findall(r"`(\w+)(?:/|\.py)`", names) == [n for layer in layers for n in layer.split(" : ")]
