"""When a stored result is stale: what changes a hash, and what does not."""

from __future__ import annotations

import ast
import inspect
import json
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

import bench.store.keys
from bench.names import choose_method, get_task
from bench.runs.experiment import Experiment
from bench.store.keys import code_of, engine, golden_file, key_of, syntax
from tracr_ground_truth import find_programs

SOURCE = '''
"""A module."""
from helpers.deep import value
import methods.base

class Some:
    """A class."""
    option: int = 3
    """An option."""
    def text(self) -> str:
        """A method."""
        return f"{self.option!r:>{4}} {value}" or None
'''


def test_a_syntax_tree_is_told_alike_everywhere() -> None:
    """A literal: another Python must give the same, or every result made with one is stale for the other."""
    tree = ast.parse(dedent(SOURCE))
    assert key_of(syntax(tree)) == "56e7eb0bca79"


@pytest.mark.parametrize(
    ("old", "new", "stale"),
    [
        ("class Some:", "# a comment\n\nclass Some:", False),
        ('"""A class."""', "", False),
        ('"""An option."""', '"""Another text."""', False),
        ("3\n", "(\n    3)\n", False),
        ("option: int = 3", "option: int = 4", True),
        ("option: int = 3", 'option: int = "3"', True),
        ("or None", "or False", True),
        ("or None", "or 0", True),
        ("!r:>{4}", "!r:>{5}", True),
        ("import value", "import value as other", True),
    ],
)
def test_what_a_change_of_a_file_makes_stale(old: str, new: str, stale: bool, tmp_path: Path) -> None:
    assert SOURCE.count(old) == 1 or old == "3\n"
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    before = code_of(file)
    file.write_text(SOURCE.replace(old, new))
    assert (code_of(file) != before) == stale


def test_what_a_file_imports_counts(tmp_path: Path) -> None:
    """Modules and packages beside it, and what those import; not what merely lies there."""
    file, folder = tmp_path / "mine.py", tmp_path / "helpers"
    folder.mkdir()
    (folder / "__init__.py").write_text("start = 1\n")
    (folder / "deep.py").write_text("from . import other\nvalue = 1\n")
    (folder / "other.py").write_text("deeper = 1\n")
    (folder / "unused.py").write_text("nothing = 1\n")
    file.write_text(SOURCE)
    hashes = {code_of(file)}
    for name in ("__init__", "deep", "other"):
        (folder / f"{name}.py").write_text((folder / f"{name}.py").read_text().replace("1", "2"))
        hashes.add(code_of(file))
    assert len(hashes) == 4
    (folder / "unused.py").write_text("nothing = 2\n")
    assert code_of(file) in hashes
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (file, *folder.iterdir()):
        target = elsewhere / path.relative_to(tmp_path)
        target.parent.mkdir(exist_ok=True)
        target.write_text(path.read_text())
    assert code_of(elsewhere / "mine.py") == code_of(file)  # wherever it lies


def files_of(*files: Path) -> set[str]:
    """The files of our leaves on which the code of some files depends."""
    waiting, seen = [file.resolve() for file in files], set[Path]()
    while waiting:
        if (file := waiting.pop()) not in seen:
            seen.add(file)
            waiting += bench.store.keys._imported(file, ast.parse(file.read_text()))
    return {bench.store.keys._label(file, ()) for file in seen}


def test_what_a_method_and_a_task_of_ours_depend_on() -> None:
    """All that they import of their room, its folders too; not the engine, which counts by its numbers."""
    eap, discogp = (choose_method(name).files[0] for name in ("eap", "discogp"))
    shared = {f"methods/selection/{name}.py" for name in ("__init__", "effects", "nodes", "order")}
    shared |= {f"methods/{name}.py" for name in ("rules/__init__", "rules/gradient_rules")}
    shared |= {f"methods/training/{name}.py" for name in ("__init__", "parts")}
    assert files_of(eap) == {"methods/__init__.py", "methods/base.py", "methods/eap.py"} | shared
    training = {f"methods/training/{name}.py" for name in ("__init__", "gumbel_gates", "gates", "course")}
    assert training | {"methods/thresholds/best.py"} <= files_of(discogp)
    ioi = Path(inspect.getfile(type(get_task("ioi"))))
    assert {"tasks/ioi.py", "tasks/words.py", "tasks/space.py"} <= files_of(ioi)


def test_the_engine_counts_by_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Experiment(tasks=("gp",), methods=("eap",)).jobs()[-1]
    before, numbers = (engine(), job.key), json.loads(golden_file().read_text())
    copy = tmp_path / "golden.json"
    monkeypatch.setattr(bench.store.keys, "golden_file", lambda: copy)
    for text, same in ((json.dumps(numbers, indent=3), True), (json.dumps({**numbers, "more": 1.0}), False)):
        copy.write_text(text)
        engine.cache_clear()
        assert ((engine(), replace(job).key) == before) == same
    engine.cache_clear()


def test_a_programs_code_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its options count, and what compiles it."""
    pytest.importorskip("tracr")
    programs, code = find_programs()[0], bench.store.keys.program_code
    codes = {name: code(program) for name, program in programs.items()}
    assert len(set(codes.values())) == len(programs)
    reverse = programs["reverse"]
    assert code(replace(reverse)) == codes["reverse"]
    assert code(replace(reverse, length=reverse.length + 1)) != codes["reverse"]
    monkeypatch.setattr(bench.store.keys, "COMPILER", ("data.py",))
    assert code(reverse) != codes["reverse"]
