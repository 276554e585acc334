"""`circuitmark check`: our adapters pass it, each careless one fails the very check that is meant for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench.conformance import checks
from bench.conformance.check import NAMES, Verdict, check
from bench.conformance.problems import PROBLEMS
from careless import CARELESS, SOUND, adapter
from command_line import CommandLine
from methods.base import find_methods
from problems import BRIEF

SLOW = ("acdc", "discogp")


def failed(verdict: Verdict) -> set[tuple[str, str]]:
    """Checks and problems that failed."""
    return {(c.name, c.problem) for c in verdict.checks if c.outcome == "failed"}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A sound adapter in a file."""
    file = tmp_path / "mine.py"
    file.write_text(SOUND)
    return file


@pytest.mark.parametrize(
    "method", [pytest.param(m, marks=[pytest.mark.slow] * (m in SLOW)) for m in find_methods()[0]]
)
def test_ours_conform(method: str) -> None:
    """Trainings are cut short; what they find is no matter here."""
    verdict = check(BRIEF.get(method, method))
    assert verdict.passed, str(verdict)
    advised = {c.name for c in verdict.checks if c.outcome == "passed" and c.reason}
    assert advised == ({"beside_random"} if method == "random_edges" else set())


def test_what_runs_a_method_whose_seed_decides_is_one_itself() -> None:
    verdict = check("ensemble:methods=random_edges+eap", ["gpt2"], ["seed"])
    assert verdict.passed, str(verdict)


@pytest.mark.parametrize("what", CARELESS)
def test_a_careless_adapter_fails_the_check_that_is_meant(what: str, tmp_path: Path) -> None:
    meant, source = CARELESS[what]
    (tmp_path / "mine.py").write_text(source)
    verdict = check(str(tmp_path / "mine.py"), ["gpt2"])
    problems = {
        "declines": {"all"} if what == "declines everything" else {"gpt2", "all"},
        "options": {"all"},
        "citation": {"all"},
    }
    assert failed(verdict) == {(meant, problem) for problem in problems.get(meant, {"gpt2"})}, str(verdict)


def test_nothing_is_left_changed(tmp_path: Path) -> None:
    """Not by an adapter that leaves torch other than it was, nor by the check itself."""
    file = tmp_path / "mine.py"
    file.write_text(adapter("torch.set_default_dtype(torch.float64)\ntorch.set_num_threads(3)\nreturn 1"))
    before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    assert ("untouched", "gpt2") in failed(check(str(file), ["gpt2"], ["untouched"]))
    assert (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()) == before


def test_a_long_discovery_says_how_far_it_is(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LONG", 0.0)
    assert failed(check(str(mine), ["llama"])) == {("progress", "llama")}
    mine.write_text(SOUND.replace("        return", "        problem.progress(1, 1)\n        return"))
    assert check(str(mine), ["llama"]).passed


def test_what_cannot_be_read_is_told(mine: Path) -> None:
    mine.write_text(adapter("return Discovery(edges=3)"))
    verdict = check(str(mine), ["gpt2"])
    assert {name for name, _ in failed(verdict)} >= {"discovery"}
    assert "edges is int, expected a mapping from sizes" in str(verdict)


def test_the_command(command: CommandLine, mine: Path) -> None:
    """JSON alone on stdout, whatever the adapter prints; the exit code; how to see a failure again."""
    answer = json.loads(command("check", "mine.py", "--json").stdout)
    assert answer["adapter"] == "mine.py"
    assert answer["passed"] is True
    assert {c["problem"] for c in answer["checks"]} == {*PROBLEMS, "planted", "all"}
    assert {c["name"] for c in answer["checks"]} == set(NAMES)
    assert all(c.keys() == {"name", "problem", "outcome", "reason"} for c in answer["checks"])

    mine.write_text(adapter("print('hello')\nreturn Discovery(scores=problem.graph.exists.float().T)"))
    said = command("check", "mine.py", "--problem", "llama", "--json", code=1)
    assert {c["name"] for c in json.loads(said.stdout)["checks"] if c["outcome"] == "failed"} == {"discovery"}
    assert "to see it again: circuitmark check mine.py --problem llama --check discovery" in said.stderr
    one = command("check", "mine.py", "--problem", "llama", "--check", "discovery", code=1)
    assert "failed: discovery on llama: the method's scores are" in one.stdout

    for words, expected in (
        (("nothing.py",), "there is no file nothing.py"),
        (("eapp",), "unknown method 'eapp'; did you mean 'eap'?"),
        (("eap", "--problem", "lama"), "unknown problem 'lama'; did you mean 'llama'?"),
        (("eap", "--check", "size"), "unknown check 'size'; did you mean 'sizes'?"),
        (("eap", "--device", "cuba"), "the device 'cuba' cannot be used"),
    ):
        assert expected in command.complaint("check", *words)
