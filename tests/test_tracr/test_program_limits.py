"""Programs at the ends of what can be done: long inputs whose numbers lie close, and too few inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import ProgramFailed
from bench.models.tracr import load_program
from command_line import CommandLine
from tracr_ground_truth import Program
from tracr_ground_truth.compile import exactness

pytest.importorskip("tracr")
from tracr.rasp import rasp


def counting() -> rasp.SOp:
    return rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.EQ))


@pytest.mark.parametrize("length", [8, 12])
def test_counts_of_many_tokens_are_told_apart(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compiled says what the program says on the whole data set; with Tracr's default it does not."""
    monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path))
    each = Program("counting", counting, "A test.", ("a", "b"), length, (length,))
    load_program(each).check()
    monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr("tracr_ground_truth.compile.exactness", lambda length: 100)
    with pytest.raises(ProgramFailed, match="a model that does not compute it"):
        load_program(each)


def half() -> rasp.SOp:
    everywhere = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.TRUE)
    is_a = rasp.numerical(rasp.tokens == "a")
    return rasp.numerical(rasp.Aggregate(everywhere, is_a, default=0)) > 0.5


def test_shares_that_tracr_takes_for_others_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five of eight: of shares it knows halves, thirds and so on. The hint names them."""
    monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path))
    with pytest.raises(
        ProgramFailed, match="maps a share of tokens, Tracr distinguishes only 1, 1/2, 1/3"
    ) as caught:
        load_program(Program("half", half, "A test.", ("a", "b"), 8, (8,)))
    assert "\n" not in str(caught.value)


def test_short_programs_are_compiled_as_tracr_would() -> None:
    assert [exactness(length) for length in (1, 6, 8)] == [100, 100, 144]


TWO_INPUTS = """
from tracr.rasp import rasp
from circuitmark import program

@program("ab", 1)
def is_a() -> rasp.SOp:
    "Whether the token is a."
    return rasp.Map(lambda token: token == "a", rasp.tokens)
"""


def test_a_program_of_two_inputs_is_no_model_but_has_a_truth(command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO_INPUTS)
    told = command.complaint("run", "--model", "tracr:two.py:is_a", "-m", "eap", "--out", "out")
    assert "the program 'is_a' has too few inputs (2)" in told
    assert "circuitmark verify-tracr -p two.py:is_a" in told
    answer = command("verify-tracr", "-p", "two.py:is_a", "-m", "eap", "--json", "--out", "truth")
    assert '"program": "is_a"' in answer.stdout
