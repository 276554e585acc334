"""The wheel: what is in it, and that it works installed elsewhere, beside decoys."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from checkout import ROOT
from circuitmark.rooms import ROOMS


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of what git tracks, with results and rubbish beside it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    (source / "results").mkdir(exist_ok=True)
    (source / "results" / "leaderboard.csv").write_text("a,b\n")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("circuitmark-*.whl"))


def test_wheel_holds_rooms_and_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("circuitmark/__main__.py", "bench/models/embedded/model.safetensors", "methods/eap.py",
                   "bench/models/embedded/tokenizer.json", "bench/store/golden.json",
                   "reports/page.html.j2", "reports/page.css",
                   "reports/page.js", "tasks/words.py", "tracr_ground_truth/__init__.py",
                   "reports/recovery/section.html.j2", "reports/recovery/section.css",
                   *(f"{room}/py.typed" for room in ("circuitmark", *ROOMS))):  # fmt: skip
        assert needed in names
    packages = {file.parent for room in ROOMS for file in (ROOT / room).rglob("*.py")}
    packed = {str(PurePosixPath(name).parent) for name in names if name.endswith(".py")}
    assert {folder.relative_to(ROOT).as_posix() for folder in packages} <= packed
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"bench", "methods", "tasks", "tracr_ground_truth", "reports", "circuitmark",
                    "circuitmark-0.1.0.dist-info"}  # fmt: skip
    assert not [name for name in names if "__pycache__" in name]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, and without the checkout."""
    environment = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    site = next(environment.glob("lib/python*/site-packages"))
    # the dependencies, without the .pth that leads to the checkout
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
    install = ["install", "--quiet", "--no-deps", "--no-index", "--force-reinstall", str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    return environment


def test_wheel_works_elsewhere(installed: Path, tmp_path: Path) -> None:
    """Started in a folder with decoys of the rooms' names."""
    decoys = tmp_path / "decoys"
    (decoys / "reports").mkdir(parents=True)
    (decoys / "tasks.py").write_text("raise SystemExit('a decoy was imported')")
    command = str(installed / "bin" / "circuitmark")

    def run(*words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *words], cwd=decoys, env=extra or None, capture_output=True, text=True, check=False
        )

    listed = run("list", "tasks")
    assert listed.returncode == 0, listed.stderr
    assert "ioi_t1" in listed.stdout
    done = run("run", "--quick", "-t", "gp", "-m", "random_edges", "--sizes", "5%")
    assert done.returncode == 0, done.stderr
    assert (decoys / "results" / "index.html").exists()

    shadowed = run("list", "tasks", PYTHONPATH=str(decoys))
    assert shadowed.returncode == 0, shadowed.stderr
    assert "ioi_t1" in shadowed.stdout
    assert f"instead of tasks ({decoys / 'tasks.py'})" in shadowed.stderr


USE = """import circuitmark as cm

study = cm.Study("embedded", "gp", ablation="zero")
reveal_type(study.discover("eap", [0.01]).unaided)
reveal_type(study.evaluate)
reveal_type(cm.__version__)
cm.Study("embedded", "gp", ablation="zer0")
"""


@pytest.mark.slow
def test_a_users_project_sees_the_types(installed: Path, tmp_path: Path) -> None:
    """What a type checker says of a file that uses the wheel."""
    (tmp_path / "mine.py").write_text(USE)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--python-executable",
        str(installed / "bin" / "python"),
        "mine.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("mine.py")]
    assert 'Revealed type is "bench.engine.circuit.Circuit | None"' in lines[0], done.stdout
    assert "pandas.core.frame.DataFrame" in lines[1]
    assert 'Revealed type is "str"' in lines[2]
    assert "incompatible type \"Literal['zer0']\"" in lines[3]
    assert len(lines) == 4
