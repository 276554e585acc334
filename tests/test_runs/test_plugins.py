"""A method in a user's file: executed once, told when it uses a name of long ago."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.names import get_method
from bench.runs.experiment import Experiment
from bench.runs.job import carry_out

PLUGIN = """
from circuitmark import Discovery, Method

class Mine(Method):
    name, description, citation = "mine", "a test", "@misc{x}"
    def discover(self, problem):
        return Discovery(scores=problem.graph.exists.float())
"""


def test_a_plugin_is_executed_once_a_process(tmp_path: Path) -> None:
    """What was chosen travels as data: the parent and the process of each discovery execute the file once."""
    plugin, log = tmp_path / "mine.py", tmp_path / "log"
    plugin.write_text(f"open({str(log)!r}, 'a').write('x')\n{PLUGIN}")
    experiment = Experiment(
        tasks=("gp",), methods=(str(plugin),), sizes=("5%",), data_seeds=2, n_discovery=(8,), n_evaluation=8
    )
    jobs = [job for job in experiment.jobs() if job.method.name == "mine"]
    assert len(jobs) == 2
    for job in jobs:
        assert carry_out([job], tmp_path / "one")[0].status == "ok"
    assert log.read_text() == "xxx"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "from bench.circuit import Circuit",
            "imports bench.circuit, which is now bench.engine.circuit: change",
        ),
        (
            "import methods.gates",
            "imports methods.gates, which is now methods.training.gates: change the import",
        ),
        (
            "import methods.nowhere",
            "cannot be imported: ModuleNotFoundError: No module named 'methods.nowhere'",
        ),
        ("import nowhere", "cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_a_plugin_with_an_old_name_is_told_the_new_one(line: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"{line}\n{PLUGIN}")
    with pytest.raises(UsageError, match=told) as caught:
        get_method(str(tmp_path / "mine.py"))
    assert "\n" not in str(caught.value)
