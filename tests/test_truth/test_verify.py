"""Methods on compiled programs: how recovery is scored, stored, held to what used to hold, and told."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from torch import Tensor

from bench.discovery.data import measure_of
from bench.discovery.discover import discover
from bench.discovery.problem import BenchProblem
from bench.engine.ablation import AblationName, make_reference
from bench.engine.circuit import Circuit
from bench.models.tracr import ProgramModel, load_program
from bench.names import choose_method, get_method
from bench.report import write_report
from bench.scoring.metrics import CURVE_SHARES, circuit_recovery, ranking_recovery
from bench.store.recoveries import rows
from bench.truth.expectations import HELD
from bench.truth.recovery import DISCOVERY_PAIRS, program_study, recover
from bench.truth.verify import ABLATIONS, QUICK, Verification, verify
from command_line import CommandLine, in_a_process
from methods.eap import EAP
from tracr_ground_truth import Program, find_programs
from tracr_ground_truth.compile import TOLERANCE, Compiled
from tracr_ground_truth.truth import Truth

pytest.importorskip("tracr")
SHIPPED = find_programs()[0]
ALL = torch.ones(2, 3, dtype=torch.bool)


def mask(*flat: int) -> Tensor:
    return torch.tensor(flat, dtype=torch.bool).view(2, 3)


def test_circuit_recovery_by_hand() -> None:
    true, other, none = mask(1, 1, 0, 0, 0, 0), mask(0, 0, 0, 1, 1, 0), mask(*[0] * 6)
    for kept, tpr, fpr, f1, exact in [
        (true, 1, 0, 1, True),
        (mask(1, 0, 0, 0, 0, 0), 1 / 2, 0, 2 / 3, False),
        (mask(1, 1, 1, 0, 0, 0), 1, 1 / 4, 4 / 5, False),
        (none, 0, 0, 0, False),
    ]:
        expected = {"tpr": tpr, "fpr": fpr, "f1": pytest.approx(f1), "exact": exact}
        assert circuit_recovery(kept, [true], ALL) == expected
        assert circuit_recovery(kept, [other, true], ALL)["f1"] == expected["f1"]
    empty = circuit_recovery(none, [none], ALL)
    assert (empty["exact"], math.isnan(empty["tpr"])) == (True, True)


def test_ranking_recovery_by_hand() -> None:
    true, other = mask(1, 1, 0, 0, 0, 0), mask(0, 0, 0, 0, 1, 1)
    names = ("auroc", "average_precision", "exact_at_true_size", "margin")
    best = torch.tensor([[6.0, 5, 4], [3, 2, 1]])
    tied = torch.tensor([[6.0, 4, 4], [3, 2, 1]])
    absent = torch.tensor([[6.0, 5, float("nan")], [3, 2, 1]])
    for scores, truths, exists, expected in [
        (best, [true], ALL, (1, 1, True, 1 / 6)),
        (best, [other, true], ALL, (1, 1, True, 1 / 6)),
        (torch.ones(2, 3), [true], ALL, (0.5, 1 / 3, False, 0)),
        (tied, [true], ALL, (7.5 / 8, (1 + 2 / 3) / 2, False, 0)),
        (absent, [true], mask(1, 1, 0, 1, 1, 1), (1, 1, True, 2 / 6)),
        (best, [ALL], ALL, [math.nan] * 4),
    ]:
        found = ranking_recovery(scores, truths, exists)
        assert found == pytest.approx(dict(zip(names, expected, strict=True)), nan_ok=True)
    assert ranking_recovery(best, [other], ALL)["auroc"] == 0


@given(st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=6, max_size=6))
def test_auroc_is_the_share_of_pairs_in_order(edges: list[tuple[int, bool]]) -> None:
    """Of a true and another edge the true one scores higher; a tie is half."""
    order = [(a > b) + (a == b) / 2 for a, true in edges for b, other in edges if true and not other]
    if order:
        scores, true = zip(*edges, strict=True)
        found = ranking_recovery(torch.tensor(scores).double().view(2, 3), [mask(*true)], ALL)
        assert found["auroc"] == pytest.approx(sum(order) / len(order))
        assert found["exact_at_true_size"] == (min(order) == 1)


def problem_of(model: ProgramModel, ablation: AblationName) -> BenchProblem:
    """What a method is handed for 40 pairs, in float64."""
    masked = model.masked.to(dtype=torch.float64)
    reference = partial(make_reference, masked, ablation, one_length=False)
    return BenchProblem(masked, model.batches(40, 1), measure_of(model), reference, CURVE_SHARES, 0)


@torch.no_grad()
def outputs(problem: BenchProblem, ablation: AblationName, kept: Tensor | None) -> Tensor:
    """Outputs at all positions but BOS, one input at a time, cut to its length."""
    (batch,) = problem.batches
    found = []
    for clean, corrupted, length in zip(batch.clean, batch.corrupted, batch.lengths, strict=True):
        ids, other = clean[None, :length], corrupted[None, :length]
        reference = problem.model.senders(other) if ablation == "resample" else None
        found.append(problem.model.run(ids, None if kept is None else kept.double(), reference)[0, 1:])
    return torch.cat(found)


def naive_loss(problem: BenchProblem, ablation: AblationName, said: Tensor) -> float:
    """-<out, full - empty>, number by number."""
    empty = outputs(problem, ablation, torch.zeros_like(problem.graph.exists)).flatten().tolist()
    full = outputs(problem, ablation, None).flatten().tolist()
    return -math.fsum(o * (f - e) for o, f, e in zip(said.flatten().tolist(), full, empty, strict=True))


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", ["x_proportion", "count", "reverse_any_length"])
def test_objectives(name: str, ablation: AblationName) -> None:
    problem = problem_of(load_program(SHIPPED[name]), ablation)
    (batch,) = problem.batches
    kept = torch.rand(problem.graph.exists.shape, generator=torch.Generator().manual_seed(0)).double()
    said, full = outputs(problem, ablation, kept), outputs(problem, ablation, None)
    ours = problem.run(batch, kept)
    assert torch.allclose(ours, said)
    wanted = naive_loss(problem, ablation, said)
    assert float(problem.loss("difference", ours, batch)) == pytest.approx(wanted, abs=1e-9)
    naive = float((full - said).square().sum())
    if full.shape[1] > 1:
        naive = rel_entr(softmax(full.numpy(), 1), softmax(said.numpy(), 1)).sum()
    assert naive > 1e-3
    assert float(problem.loss("kl", ours, batch)) == pytest.approx(naive)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_eap_is_exact_where_the_model_is_linear(ablation: AblationName) -> None:
    """A value path of x_proportion: the score is by how much the loss changes when the edge is removed."""
    problem = problem_of(load_program(SHIPPED["x_proportion"]), ablation)
    scores = EAP(absolute=False).discover(problem).scores
    assert scores is not None
    whole = naive_loss(problem, ablation, outputs(problem, ablation, None))
    for edge in ("m0->a1.h0.v", "a1.h0->logits"):
        at = problem.graph.parse_edge(edge)
        kept = problem.graph.exists.clone()
        kept[at] = False
        change = naive_loss(problem, ablation, outputs(problem, ablation, kept)) - whole
        assert abs(change) > 1e-3
        assert float(scores[at]) * problem.n_examples == pytest.approx(change)


PLUGIN = """
from pathlib import Path
import torch
from circuitmark import Discovery, Method

class Mine(Method):
    name, description, citation = "mine", "A test.", "@misc{x}"
    def skip(self, problem):
        SKIP
    def discover(self, problem):
        with open(Path(__file__).with_name("log"), "a") as log:
            log.write(f"{problem.n_examples} {tuple(problem.sizes)}\\n")
        exists = problem.graph.exists
        BODY
"""


def plugin(folder: Path, body: str = "return Discovery(scores=exists.double())", skip: str = "pass") -> str:
    """A method in a file; the calls of `discover` are counted in a file beside it."""
    (folder / "mine.py").write_text(PLUGIN.replace("SKIP", skip).replace("BODY", body))
    return str(folder / "mine.py")


def on_x_proportion(method: str, out: Path) -> Verification:
    return verify([choose_method(method)], ["x_proportion"], ["zero"], out)


def reachable(thing: Any, seen: dict[int, Any]) -> list[Any]:
    """All that hangs on an object, through attributes, containers and what functions are bound to."""
    if id(thing) not in seen and not isinstance(thing, type | str | bytes | int | float):
        seen[id(thing)] = thing
        inner = [*thing.args, *thing.keywords.values()] if isinstance(thing, partial) else []
        inner += getattr(thing, "__dict__", {}).values()
        inner += thing.values() if isinstance(thing, dict) else ()
        for part in [*inner, *(thing if isinstance(thing, list | tuple) else ())]:
            reachable(part, seen)
    return list(seen.values())


def test_a_method_sees_neither_truth_nor_its_size(tmp_path: Path) -> None:
    model = load_program(SHIPPED["x_proportion"])
    truth = model.truth("zero")
    row = recover(model, truth, "zero", choose_method(plugin(tmp_path)), tmp_path / "out")
    assert rows(tmp_path / "out") == [row]
    assert (tmp_path / "log").read_text() == f"{DISCOVERY_PAIRS} ()\n"
    study = program_study("x_proportion", "zero", None, smaller=1)  # what its process makes
    problem = study.problem(method_seed=1)
    discover(get_method("eap"), problem)
    things = reachable(problem, {})
    assert any(thing is study.model.weights["embed.W_E"] for thing in things)  # the walk goes deep
    assert not [thing for thing in things if isinstance(thing, Truth | Compiled | Program | ProgramModel)]
    masks = [thing.tolist() for thing in things if isinstance(thing, Tensor) and thing.dtype == torch.bool]
    assert model.masked.graph.exists.tolist() in masks
    assert not any(hidden.tolist() in masks for hidden in (*truth.circuits, truth.structural))


def test_a_method_runs_once_until_its_file_changes(tmp_path: Path) -> None:
    method, out, log = plugin(tmp_path), tmp_path / "out", tmp_path / "log"
    first, again = (on_x_proportion(method, out).recovery[0] for _ in range(2))
    assert len(log.read_text().splitlines()) == 1
    assert {**again, "created": ""} == {**first, "created": ""}
    Path(method).write_text(Path(method).read_text() + "changed = True\n")
    assert on_x_proportion(method, out).recovery[0]["key"] != first["key"]
    assert len(log.read_text().splitlines()) == 2


def test_failures_are_told_and_tried_again(tmp_path: Path) -> None:
    method, out = plugin(tmp_path, "raise ValueError('two\\nlines')"), tmp_path / "out"
    for times in (1, 2):
        outcome = on_x_proportion(method, out)
        assert outcome.recovery[0]["status"] == "failed"
        assert list(outcome.failed) == ["mine on x_proportion under zero: ValueError: two lines"]
        assert len((tmp_path / "log").read_text().splitlines()) == times
    row = on_x_proportion(plugin(tmp_path, skip="return 'too hard'"), out).recovery[0]
    assert (row["status"], row["status_reason"]) == ("declined", "too hard")
    assert all(row[name] is None for name in ("auroc", "f1", "margin", *HELD))


def test_the_necessary_edges_and_any_minimal_set_are_right(tmp_path: Path) -> None:
    model = load_program(SHIPPED["majority"])
    truth = model.truth("zero")
    (fewer,) = truth.minimal[TOLERANCE]
    for kept, exact in ((fewer, True), (truth.circuits[0], True), (truth.structural, False)):
        method = choose_method(plugin(tmp_path, f"return Discovery(unaided=torch.tensor({kept.tolist()}))"))
        row = recover(model, truth, "zero", method, tmp_path / "out")
        assert (row["unaided_exact"], row["is_minimal"], row["minimal_sets"]) == (exact, False, 1)


def test_more_sets_than_can_be_tried_are_unscored_and_counted(tmp_path: Path) -> None:
    """Null in the JSON; the report marks the program and says how many there are."""
    model = load_program(SHIPPED["x_proportion"])
    truth = replace(model.truth("zero"), minimal={})
    row = recover(model, truth, "zero", choose_method("random_edges"), tmp_path)
    assert (row["is_minimal"], row["minimal_sets"]) == (None, None)
    write_report(tmp_path, tmp_path)
    assert "Not searched (1 truth)" in (tmp_path / "tracr.md").read_text()


@pytest.mark.parametrize("scores", ["exists / 0", "exists[1:].double()", "exists.double().requires_grad_()"])
def test_scores_that_are_none_are_a_failure(scores: str, tmp_path: Path) -> None:
    """Not finite, of another shape, or with a gradient: the method's failure, not the command's."""
    outcome = on_x_proportion(plugin(tmp_path, f"return Discovery(scores={scores})"), tmp_path / "out")
    assert outcome.recovery[0]["status"] in ("failed", "ok")


def test_json_is_alone_on_stdout(tmp_path: Path) -> None:
    words = "verify-tracr -p x_proportion -m eap -m random_edges --json --out out"
    told = json.loads(in_a_process(*words.split(), cwd=tmp_path).stdout)
    (about,), model = told["programs"], load_program(SHIPPED["x_proportion"])
    graph = model.masked.graph
    truths = {ablation: model.truth(ablation) for ablation in ABLATIONS}
    expected: dict[str, Any] = {"program": "x_proportion", "edges": graph.n_edges, "redundant": False,
                                "structural": list(Circuit(graph, model.structural))}  # fmt: skip
    expected |= {ablation: list(Circuit(graph, truth.circuits[0])) for ablation, truth in truths.items()}
    assert about | expected == about
    errors = {ablation: truth.error for ablation, truth in truths.items()}
    assert about["proof_error"] == pytest.approx(errors, rel=1e-5, abs=1e-5)  # in float32
    assert about["is_minimal"] == dict.fromkeys(ABLATIONS, True)
    assert about["minimal"] == {
        ablation: {"0.25": [about[ablation]], "0.05": [about[ablation]]} for ablation in ABLATIONS
    }
    assert {(row["method"], row["ablation"]) for row in told["folds"]} == {
        (m, a) for m in ("eap", "random_edges") for a in ABLATIONS
    }
    assert told["compared"] == []  # random circuits are compared with nobody
    ran = {(row["method"], row["program"], row["ablation"]): row for row in told["recovery"]}
    assert ran.keys() == {(m, "x_proportion", a) for m in ("eap", "random_edges") for a in ABLATIONS}
    for (method, *_), row in ran.items():  # random circuits have an order, and settle on no circuit
        assert None not in [row[name] for name in ("auroc", "average_precision")]
        settled = [row[name] for name in ("tpr", "fpr", "f1")]
        assert (None in settled) == (method == "random_edges") == (settled == [None] * 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-m eapp", "unknown method 'eapp'; did you mean 'eap'?"),
        ("-p revers", "unknown program 'revers'; did you mean 'reverse'?"),
        ("--ablation zeroo", "unknown ablation 'zeroo'; did you mean 'zero'?"),
        ("--ablation mean", "unknown ablation 'mean'"),
        ("-p none.py:f", "there is no file none.py"),
        ("--quick -p reverse", "--quick chooses the programs itself: leave out -p or --quick"),
    ],
)
def test_mistakes_are_one_line(words: str, message: str, command: CommandLine) -> None:
    assert command.complaint("verify-tracr", *words.split()).startswith(f"circuitmark: {message}")


@pytest.mark.every
def test_quick_programs_are_of_all_sizes() -> None:
    """By a rule that knows no method; all are compiled for it."""
    by_edges = sorted(SHIPPED, key=lambda name: load_program(SHIPPED[name]).masked.graph.n_edges)
    assert ("x_proportion", "reverse", *by_edges[2::5]) == QUICK


def test_a_quick_run_takes_these(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.truth.verify.QUICK", ("count", "hist"))
    answer = command("verify-tracr", "--quick", "-m", "random_edges", "--json", "--out", "out")
    assert [about["program"] for about in json.loads(answer.stdout)["programs"]] == ["count", "hist"]


def test_one_ablation_alone(command: CommandLine, tmp_path: Path) -> None:
    """And a method that fails makes the command fail."""
    words = f"verify-tracr -p x_proportion -m {plugin(tmp_path, '1 / 0')} --ablation zero --json --out out"
    answer = command(*words.split(), code=1)
    assert "failed: mine on x_proportion under zero: ZeroDivisionError" in answer.stderr
    found = json.loads(answer.stdout)
    assert [(row["ablation"], row["status"]) for row in found["recovery"]] == [("zero", "failed")]
    assert found["programs"][0]["resample"] is found["programs"][0]["proof_error"]["resample"] is None


@pytest.mark.parametrize(("words", "code"), [("verify-tracr", 2), ("list programs", 0)])
def test_without_tracr_the_command_says_how_to_install_it(words: str, code: int, tmp_path: Path) -> None:
    absent = (
        "import sys; sys.modules.update(tracr=None, jax=None); import circuitmark.__main__ as c; c.main()"
    )
    words_typed = [sys.executable, "-c", absent, *words.split()]
    done = subprocess.run(words_typed, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == code, done.stderr
    said, silent = (done.stdout, done.stderr) if code == 0 else (done.stderr, done.stdout)
    assert re.search(r"not installed: tracr\S*; install it with: pip install 'circuitmark\[tracr\]'", said)
    assert (silent, said.count("Traceback"), list(tmp_path.iterdir())) == ("", 0, [])
