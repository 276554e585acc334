"""What a method returns is checked whole: refused in one line, or fit for everything that follows."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
import torch

from bench.conformance.problems import PROBLEMS, SIZES
from bench.discovery.checked import cleaned, notes_of
from bench.discovery.discover import Declined
from bench.study import Found, Study
from careless import SCORES, WRONG, adapter
from methods.base import Method

pytestmark = pytest.mark.skipif("CIRCUITMARK_SHAPES" in os.environ, reason="types are checked before")
"""By our own check: under CIRCUITMARK_SHAPES the type checks would speak first."""


@pytest.fixture(scope="module")
def study() -> Study:
    return PROBLEMS["gpt2"].study("cpu")


def method(body: str, more: str = "") -> Method:
    """An adapter whose `discover` has such a body."""
    namespace: dict[str, Any] = {}
    exec(adapter(body) + more, namespace)
    made: Method = namespace["Mine"]()
    return made


def found(study: Study, body: str) -> Found:
    return study.discover(method(body), SIZES)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused_in_one_line(what: str, study: Study) -> None:
    body, line = WRONG[what]
    with pytest.raises((TypeError, ValueError)) as refused:
        found(study, body)
    said = str(refused.value)
    assert re.match(line, said), said
    assert said.isprintable()
    assert len(said) < 250


def test_what_is_found_is_the_benchs_own(study: Study) -> None:
    """Scores that are a weight of the model, and one mask for all sizes, in memory of their own."""
    shape = tuple(study.graph.exists.shape)
    body = (
        "weight = problem.model.weights['a0.W_O']\n"
        f"scores = weight.as_strided({shape}, (1, 1))\n"
        "kept = problem.graph.exists\n"
        "return Discovery(scores=scores.requires_grad_(False), unaided=kept, weights={0.1: {}})"
    )
    discovery = found(study, body).discovery
    weight = study.model.weights["a0.W_O"]
    assert discovery.scores is not None
    assert discovery.unaided is not None
    assert discovery.scores.untyped_storage().data_ptr() != weight.untyped_storage().data_ptr()
    assert discovery.scores.is_contiguous()
    assert discovery.unaided.data_ptr() != study.graph.exists.data_ptr()


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float8_e4m3fn", "int8", "int64", "float64"])
def test_scores_of_any_real_type_rank_alike(kind: str, study: Study) -> None:
    body = f"return Discovery(scores=torch.arange(297).view(27, 11).remainder(7).to(torch.{kind}))"
    plain = body.replace(kind, "float32")
    assert dict(found(study, body)) == dict(found(study, plain))


def test_ranks_beyond_what_float32_tells_apart(study: Study) -> None:
    body = "return Discovery(scores=2**40 + torch.arange(297).view(27, 11))"
    discovery = found(study, body).discovery
    assert discovery.scores is not None
    assert len(discovery.scores.unique()) == 297


def test_parameters_and_gradients_are_let_go_of(study: Study) -> None:
    discovery = found(study, f"return Discovery(scores=torch.nn.Parameter({SCORES}))").discovery
    assert type(discovery.scores) is torch.Tensor
    assert not discovery.scores.requires_grad


def test_texts_are_put_on_one_line(study: Study) -> None:
    body = f"return Discovery(scores={SCORES}, objective='k\\nl\\x07\\t!', trace={{'a\\x1b[1m\\rb': [1]}})"
    discovery = found(study, body).discovery
    assert discovery.objective == "k l !"
    assert discovery.trace == {"a [1m b": [1.0]}
    twice = f"return Discovery(scores={SCORES}, trace={{'a b': [1], 'a\\nb': [1]}})"
    with pytest.raises(ValueError, match="trace has the name 'a b' twice"):
        found(study, twice)


def test_a_trace_may_be_an_array_and_need_not_be_even_without_steps(study: Study) -> None:
    import numpy as np  # noqa: F401  # the adapter's

    body = (
        "import numpy as np\n"
        "trace = {'tried': np.arange(3), 'kept': torch.arange(2), 'last': (float('inf'), True)}\n"
        f"return Discovery(scores={SCORES}, trace=trace)"
    )
    assert found(study, body).trace == {"tried": [0, 1, 2], "kept": [0, 1], "last": [float("inf"), 1]}


def test_what_is_sound_but_says_little_is_noted(study: Study) -> None:
    def notes(body: str) -> str:
        return notes_of(found(study, body).discovery, study.graph)

    assert notes(f"return Discovery(scores={SCORES}, trace={{'step': [0], 'loss': [1.0]}})") == ""
    zeros = "scores = torch.zeros(problem.graph.exists.shape)"
    assert notes(f"{zeros}\nreturn Discovery(scores=scores)") == (
        "all scores are 0: all edges tie, and ties go to the edge computed first"
    )
    noisy = f"{zeros}\nscores[~problem.graph.exists] = torch.nan\nreturn Discovery(scores=scores + 0.5)"
    assert notes(noisy).startswith("all scores are 0.5")
    lost = f"return Discovery(scores={SCORES}, trace={{'step': [0, 1], 'loss': [float('nan'), 1.0]}})"
    assert notes(lost) == "1 of the trace's values are NaN or infinite: figures leave them out"


@pytest.mark.parametrize("reason", ["True", "3", "' '", "''", "['no gradient']", "False"])
def test_a_reason_to_decline_is_a_text(reason: str, study: Study) -> None:
    skip = f"\n    def skip(self, problem):\n        return {reason}\n"
    with pytest.raises(TypeError, match=r"skip returned .*, expected None or a reason for the user to read"):
        study.discover(method(f"return Discovery(scores={SCORES})", skip), SIZES)


def test_a_reason_is_cleaned(study: Study) -> None:
    """It is never refused for its spelling: then nobody would read it."""
    skip = "\n    def skip(self, problem):\n        return 'no\\n\\x00gradient' + chr(0xDC00) + ' x' * 9999\n"
    with pytest.raises(Declined) as declined:
        study.discover(method("return None", skip), SIZES)
    said = str(declined.value)
    assert said.startswith("no gradient x x")
    assert said.endswith("…")
    assert len(said) == 1000
    assert said.isprintable()


def test_cleaned() -> None:
    assert cleaned("Ünï ok") == "Ünï ok"
    assert cleaned("a\u2028b\u202ec\x00\ud800d") == "a b c d"
    assert cleaned("x" * 11, 10) == "x" * 9 + "…"
