"""Methods, tasks and programs of other packages, by their entry points: installed here as what pip leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.names import choose_method, get_method, get_program, get_task
from bench.store.keys import code_of
from command_line import CommandLine

METHOD = """
from circuitmark import Discovery, Method

class {name}(Method):
    name, description, citation = "{name}", "of another package", "@misc{{x}}"
    def discover(self, problem):
        return Discovery(scores=problem.graph.exists.double())
"""
TASK = "from tasks.gp import GenderedPronoun\n\nclass Again(GenderedPronoun):\n    name = 'again'\n"
PROGRAM = """
from circuitmark import program

@program("ab", 3)
def said():
    '''The tokens as they are.'''
    from tracr.rasp import rasp
    return rasp.Map(lambda token: token, rasp.tokens)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def install(site: Path, package: str, module: str, source: str, **groups: str) -> None:
    """A distribution of one module; `groups` has an entry point each."""
    (site / f"{module}.py").write_text(source)
    about = site / f"{package.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    entries = "".join(f"[circuitmark.{group}]\n{entry}\n" for group, entry in groups.items())
    (about / "entry_points.txt").write_text(entries)


def test_they_are_listed_and_used_by_name(site: Path, command: CommandLine) -> None:
    install(site, "theirs", "theirs_a", METHOD.format(name="other_a"), methods="other_a = theirs_a:other_a")
    install(site, "their-task", "theirs_b", TASK, tasks="again = theirs_b:Again")
    install(site, "their-program", "theirs_c", PROGRAM, programs="said = theirs_c:said")
    assert get_method("other_a").description == "of another package"
    assert get_task("again").name == "again"
    assert get_program("said").description == "The tokens as they are."
    assert choose_method("other_a").files == (site / "theirs_a.py",)
    for kind, name in (("methods", "other_a"), ("tasks", "again"), ("programs", "said")):
        assert name in [row["name"] for row in json.loads(command("list", kind, "--json").stdout)]


def test_one_that_cannot_be_imported_keeps_nobody_from_working(site: Path, command: CommandLine) -> None:
    install(site, "broken", "theirs_d", "import nowhere_at_all", methods="other_d = theirs_d:Mine")
    install(site, "stopped", "theirs_e", "raise SystemExit(2)", methods="other_e = theirs_e:Mine")
    install(site, "no-method", "theirs_f", "Mine = 3", methods="other_f = theirs_f:Mine")
    listed = {row["name"]: row for row in json.loads(command("list", "methods", "--json").stdout)}
    reason = "broken cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'"
    assert listed["other_d"]["description"] == reason
    assert listed["other_e"]["description"] == "stopped cannot be imported: SystemExit: 2"
    assert "no-method offers theirs_f:Mine under that name" in listed["other_f"]["description"]
    assert listed["eap"]["options"]
    assert get_method("eap").name == "eap"
    assert f"the method 'other_d' cannot be used: {reason}" in command.complaint("cite", "other_d")


def test_a_name_offered_twice_is_an_error_where_it_is_used(site: Path, command: CommandLine) -> None:
    both = METHOD.format(name="other_g"), METHOD.format(name="eap")
    install(site, "first", "theirs_g", both[0], methods="other_g = theirs_g:other_g")
    install(site, "second", "theirs_h", both[0], methods="other_g = theirs_h:other_g")
    install(site, "third", "theirs_i", both[1], methods="eap = theirs_i:eap")
    for name, owners in (("other_g", "first and second"), ("eap", "circuitmark and third")):
        told = f"{owners} offer the same name"
        with pytest.raises(UsageError, match=f"the method '{name}' cannot be used: {told}"):
            get_method(name)
        listed = {
            row["name"]: row["description"] for row in json.loads(command("list", "methods", "--json").stdout)
        }
        assert listed[name].startswith(told)
    assert get_method("eap_ig").name == "eap_ig"


def test_an_entry_point_bears_the_name_of_what_it_offers(site: Path) -> None:
    install(site, "theirs", "theirs_j", METHOD.format(name="other_j"), methods="mine = theirs_j:other_j")
    with pytest.raises(
        UsageError, match="theirs offers the method 'other_j' under this name: rename the entry point"
    ):
        get_method("mine")


def test_the_code_of_a_package_counts(site: Path) -> None:
    """What a method imports from its own package, by either way; not what stands beside the package."""
    package = site / "theirs_k"
    package.mkdir()
    files = {"__init__": "", "method": "from theirs_k.core import a\nfrom . import near\nimport beside\n",
             "core": "a = 1\n", "near": "b = 1\n", "unused": "c = 1\n"}  # fmt: skip
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    (site / "beside.py").write_text("d = 1\n")
    codes = [code_of(package / "method.py")]
    for changed in (package / "core.py", package / "near.py", package / "unused.py", site / "beside.py"):
        changed.write_text("e = 2\n")
        codes.append(code_of(package / "method.py"))
    assert len(set(codes[:3])) == 3
    assert codes[2:] == [codes[2]] * 3
