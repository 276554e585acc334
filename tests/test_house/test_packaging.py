"""The wheel: what is in it, and that it works installed elsewhere, beside decoys."""

from __future__ import annotations

import shutil
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
                   "bench/conformance/templates/method.py.txt",
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
    assert not [name for name in names if "__pycache__" in name or "models/seeds" in name]


def environment(folder: Path, *wheels: Path) -> Path:
    """A fresh environment with wheels and our dependencies, without the checkout; where its commands are."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    # the dependencies, without the .pth that leads to the checkout
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    install = ["install", "--quiet", "--no-deps", "--no-index", "--force-reinstall", *map(str, wheels)]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    return folder / "bin"


def test_wheel_works_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """Installed without the checkout, started in a folder with decoys of the rooms' names."""
    binaries = environment(tmp_path / "venv", wheel)
    decoys = tmp_path / "decoys"
    (decoys / "reports").mkdir(parents=True)
    (decoys / "tasks.py").write_text("raise SystemExit('a decoy was imported')")
    command = str(binaries / "circuitmark")

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

    absent = run("run", "--quick", "-t", "gp", "--model", "embedded:1")
    assert absent.returncode != 0
    assert "'embedded:1' comes with a checkout" in " ".join(absent.stderr.split())

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


@pytest.mark.every
def test_a_users_project_sees_the_types(wheel: Path, tmp_path: Path) -> None:
    """What a type checker says of a file that uses the wheel."""
    (tmp_path / "mine.py").write_text(USE)
    python = str(environment(tmp_path / "venv", wheel) / "python")
    command = [sys.executable, "-m", "mypy", "--python-executable", python, "mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("mine.py")]
    assert 'Revealed type is "bench.engine.circuit.Circuit | None"' in lines[0], done.stdout
    assert "pandas.core.frame.DataFrame" in lines[1]
    assert 'Revealed type is "str"' in lines[2]
    assert "incompatible type \"Literal['zer0']\"" in lines[3]
    assert len(lines) == 4


@pytest.mark.every
def test_a_method_of_another_package(wheel: Path, tmp_path: Path) -> None:
    """Installed beside ours: listed, checked, run; and its own pytest holds it to a compiled program."""
    source = tmp_path / "plugin_package"
    shutil.copytree(ROOT / "tests" / "plugin_package", source, ignore=shutil.ignore_patterns("__pycache__"))
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(build, check=True, capture_output=True)
    binaries = environment(tmp_path / "venv", wheel, next(tmp_path.glob("circuitmark_knockout-*.whl")))

    def run(*words: str, cwd: Path = tmp_path) -> str:
        done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    command = str(binaries / "circuitmark")
    assert "knockout" in run(command, "list", "methods")
    assert "Discovery examples used of each batch" in run(command, "list", "methods", "knockout")
    assert "failed" not in run(command, "check", "knockout")
    run(command, "run", "-m", "knockout:examples=2", "-t", "gp", "--sizes", "1%", "--quick")
    assert "knockout" in (tmp_path / "results" / "leaderboard.csv").read_text()
    tested = run(str(binaries / "python"), "-m", "pytest", "-rA", cwd=source)
    assert "PASSED circuitmark knockout::recovers[reverse-zero]" in tested
    assert "PASSED circuitmark knockout::recovers[reverse-resample]" in tested
    assert "PASSED test_knockout.py::test_it_is_used_by_name" in tested
    assert "skipped" not in tested
