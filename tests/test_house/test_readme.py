"""What the README shows works: its method runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bench.names import choose_method
from bench.runs.experiment import Experiment
from bench.runs.job import execute
from bench.scoring.leaderboard import leaderboard
from bench.store.results import Store
from bench.truth.verify import ABLATIONS, verify
from checkout import ROOT

README = (ROOT / "README.md").read_text()


def test_the_method_of_the_readme_runs(tmp_path: Path) -> None:
    """Copied as it stands, it beats random circuits."""
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "Method" in block)
    (tmp_path / "my_method.py").write_text(code)
    spec = f"{tmp_path / 'my_method.py'}:damping=0.3"
    experiment = Experiment(
        tasks=("gp",), methods=("random_edges", spec), sizes=("5%",), random_draws=1,
        n_discovery=(20,), n_evaluation=20,
    )  # fmt: skip
    for job in experiment.jobs():
        assert execute(job, tmp_path / "out", threads=1, n_processes=1) == "ok"
    kl = leaderboard(Store(tmp_path / "out")).set_index("method")["kl"]
    assert kl["my_method"] < kl["random_edges"] / 10


def test_the_program_of_the_readme_is_verified(tmp_path: Path) -> None:
    """Copied as it stands, it compiles, its circuit is proved, and a method is held to it."""
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "@program" in block)
    (tmp_path / "my_program.py").write_text(code)
    spec = f"{tmp_path / 'my_program.py'}:previous"
    outcome = verify([choose_method("eap_ig")], [spec], ABLATIONS, tmp_path / "out")
    (program,) = outcome.programs
    assert not outcome.unproved
    assert {"tok->a0.h0.v", "a0.h0->logits"} <= set(program["resample"]) < set(program["zero"])
    assert [row["status"] for row in outcome.recovery] == ["ok", "ok"]


def test_commands_are_spelled_as_the_program_knows_them() -> None:
    """Every command and option of the README exists."""
    import typer

    from bench.cli import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = re.findall(r"^\.venv/bin/circuitmark (.*)$", README, re.M)
    assert len(lines) >= 6
    for line in lines:
        name, *words = shlex.split(line.partition("  #")[0])
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, line


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https:)([^)]+)\)", README))))
def test_links_lead_to_files(link: str) -> None:
    assert (ROOT / link).exists()
