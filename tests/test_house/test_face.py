"""The face: what `import circuitmark` offers, and that our rooms are taken whatever else is so called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import circuitmark
from circuitmark.rooms import HOME, ROOMS

ALL = "from circuitmark import Circuit, Discovery, Experiment, Method, Study, leaderboard, run"


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A folder that holds modules of the rooms' names; whoever imports one is told so."""
    for room in ROOMS[:3]:
        (tmp_path / f"{room}.py").write_text(f"print('a stranger: {room}')\n")
    for room in ROOMS[3:]:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text(f"print('a stranger: {room}')\n")
    return tmp_path


def python(code: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_everything_promised_is_there() -> None:
    for name in circuitmark.__all__:
        assert getattr(circuitmark, name), name
    assert dir(circuitmark) == sorted(circuitmark.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Methods'"):
        circuitmark.Methods  # noqa: B018


def test_importing_costs_nothing(tmp_path: Path) -> None:
    code = "import sys, circuitmark; print([m for m in ('torch', 'bench', 'numpy') if m in sys.modules])"
    assert python(code, tmp_path).stdout.strip() == "[]"


def test_our_rooms_are_taken(crowded: Path) -> None:
    done = python(f"{ALL}; import tasks, tasks.gp; print(tasks.__file__)", crowded)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(HOME / "tasks" / "__init__.py")
    assert done.stderr.count("UserWarning") == 1
    for room in ROOMS:
        assert f"{room} ({crowded / room}" in done.stderr


def test_nothing_is_hidden_where_nothing_is_asked(crowded: Path) -> None:
    """A package that merely looks at circuitmark keeps its own `tasks`."""
    done = python("import circuitmark, circuitmark.rooms, tasks", crowded)
    assert done.stdout.strip() == "a stranger: tasks"


def test_a_stranger_that_is_there_already(crowded: Path) -> None:
    done = python("import methods; from circuitmark import Method", crowded)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: circuitmark has a package 'methods'")
    assert str(crowded / "methods.py") in last
    assert "rename that one" in last


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_children_take_our_rooms(crowded: Path, start: str) -> None:
    script = crowded / "script.py"
    script.write_text(
        "import multiprocessing\n"
        "from circuitmark import Circuit\n"
        "from circuitmark.rooms import take\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from bench.names import get_task\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context('{start}')\n"
        "    with ProcessPoolExecutor(1, context, take) as pool:\n"
        "        print(pool.submit(get_task, 'gp').result().name)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=crowded, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "gp", done.stderr
    assert done.stderr.count("UserWarning") == 1


def test_jobs_take_our_rooms(crowded: Path) -> None:
    (crowded / "c.yaml").write_text(
        "circuit_tests: false\ncurves: false\nn_discovery: 8\nn_evaluation: 8\nrandom_draws: 1\n"
        "sizes: [5%]\ntasks: [gp]\nmethods: [random_edges]\n"
    )
    words = ["run", "--config", "c.yaml", "-j", "2"]
    command = [sys.executable, "-m", "circuitmark", *words]
    done = subprocess.run(command, cwd=crowded, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "a stranger" not in done.stdout + done.stderr
    assert done.stderr.count("UserWarning") == 1


@pytest.mark.parametrize(
    "words", [("-m", "circuitmark", "list", "tasks"), ("-m", "circuitmark", "--version")]
)
def test_the_module_is_the_command(words: tuple[str, ...], crowded: Path) -> None:
    done = subprocess.run([sys.executable, *words], cwd=crowded, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("ioi_t1" if "list" in words else circuitmark.__version__) in done.stdout
    assert "a stranger" not in done.stdout
