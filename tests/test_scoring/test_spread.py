"""What scores vary with, on log KL that is a sum of known parts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.errors import MixedSettings
from bench.scoring.comparison.spread import LEAST, Spread, spreads
from bench.store.results import Run, Store
from command_line import CommandLine
from made_runs import GROUPS, PER, run

MODELS = {"tiny": -0.1, "tiny:1": 0.0, "tiny:2": 0.1}
DATA, METHOD = (0.0, 0.2, 0.4), (-0.3, 0.0, 0.3)
TEMPLATE = np.linspace(-1, 1, GROUPS)
PROMPT = np.array([-0.5, 0.5] * (PER // 2))


def made(model: str, data: int, method: int, log_kl: np.ndarray) -> Run:
    each = run("one", {0.1: 0.5}, data)
    record = replace(each.record, model=model, method_seed=method)
    tensors = {**each.tensors, "outputs.size 0.1.kl": torch.tensor(np.exp(log_kl))}
    return Run(record, tensors, f"{model}-{data}-{method}")


def sums(methods: int = 3) -> Iterator[Run]:
    """Three models, data seeds and method seeds, without interactions."""
    answers = np.repeat(TEMPLATE, PER) + np.tile(PROMPT, GROUPS) - 2
    for model, effect in MODELS.items():
        for data, of_data in enumerate(DATA):
            for method in range(methods):
                yield made(model, data, method, answers + effect + of_data + METHOD[method])


def only(found: list[Spread]) -> Spread:
    (one,) = found
    return one


def test_parts_by_hand() -> None:
    """Of the twelve templates that no method saw; what prompts lend to their templates is taken off."""
    spread = only(spreads(sums()))
    assert (spread.models, spread.data_seeds, spread.method_seeds) == (3, 3, 3)
    assert (spread.templates, spread.answers, spread.row.place.model) == (12, 12 * PER, "tiny")
    told = spread.to_json()["standard_deviations"]
    assert (told["model"], told["data"], told["method"]) == pytest.approx((0.1, 0.2, 0.3))
    of_prompt = PER * 0.5**2 / (PER - 1)
    assert told["prompt"] == pytest.approx(math.sqrt(of_prompt))
    assert told["template"] == pytest.approx(math.sqrt(TEMPLATE[12:].var(ddof=1) - of_prompt / PER))
    assert (told["rest_of_run"], told["rest_of_prompt"]) == pytest.approx((0, 0), abs=1e-7)


def test_one_level_alone_says_nothing_and_takes_nothing_from_the_others() -> None:
    """As of a method that draws nothing at random."""
    told = only(spreads(sums(methods=1))).to_json()["standard_deviations"]
    assert told["method"] is None
    assert (told["model"], told["data"]) == pytest.approx((0.1, 0.2))


def test_what_is_estimated_below_0_is_told_as_0() -> None:
    """Templates whose means are all alike, while their prompts differ."""
    answers = np.tile(PROMPT, GROUPS) - 2
    runs = [made("tiny", data, 0, answers + effect) for data, effect in enumerate(DATA)]
    spread = only(spreads(runs))
    assert spread.variances["template"] == pytest.approx(-(PER * 0.5**2 / (PER - 1)) / PER)
    told = spread.to_json()
    assert told["standard_deviations"]["template"] == 0
    assert "template" in told["below_0"]


def test_every_combination_is_there_once() -> None:
    """Seeds that one model lacks are left out of all."""
    fewer = [each for each in sums() if (each.record.model, each.record.data_seed) != ("tiny:1", 2)]
    spread = only(spreads(fewer))
    assert (spread.models, spread.data_seeds, spread.method_seeds) == (3, 2, 3)
    assert spread.to_json()["standard_deviations"]["data"] == pytest.approx(0.2 / math.sqrt(2))
    apart = [each for each in sums() if each.record.data_seed == list(MODELS).index(each.record.model)]
    spread = only(spreads(apart))
    assert spread.data_seeds == 0
    assert set(spread.to_json()["standard_deviations"].values()) == {None}


def test_other_settings_are_rows_of_their_own() -> None:
    runs = [*sums(), *(replace(e, record=replace(e.record, n_discovery=50)) for e in sums())]
    assert [spread.row.n_discovery for spread in spreads(runs)] == [8, 50]
    halves = [replace(e, record=replace(e.record, wordings="first half")) for e in sums()]
    whole, half = spreads([*halves, *sums()])
    assert (whole.row.wordings, half.row.wordings) == ("all", "first half")
    assert whole.variances == only(spreads(sums())).variances


def test_no_kl_is_too_small_for_a_log() -> None:
    nothing = [made("tiny", data, 0, np.full(GROUPS * PER, -np.inf)) for data in range(2)]
    assert only(spreads(nothing)).variances["prompt"] == pytest.approx(0)
    tiny = [made("tiny", d, 0, np.full(GROUPS * PER, math.log(LEAST) - d)) for d in range(2)]
    assert only(spreads(tiny)).variances["prompt"] == pytest.approx(0)


def test_other_prompts_are_refused() -> None:
    one, other, *_ = sums()
    shifted = {**other.tensors, "answers.candidates": other.tensors["answers.candidates"] + 1}
    elsewhere = Run(replace(other.record, model="tiny:1"), shifted, "x")
    with pytest.raises(MixedSettings, match="models named tiny were scored on different prompts of gp"):
        spreads([one, elsewhere])


def test_the_command(command: CommandLine, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for each in sums():
        store.save(each.stem, each)
    words = ("compare", str(store.folder), "--variance")
    told = json.loads(command(*words, "--json").stdout)
    assert told["variance"] == [spread.to_json() for spread in spreads(store.runs())]
    table = command(*words).stdout
    assert "3 x 3 x 3" in table
    assert "0.100" in table


def test_one_run_is_one_line(command: CommandLine, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    each = run("one", {0.1: 0.5})
    store.save(each.stem, each)
    line = command.complaint("compare", str(store.folder), "--variance")
    assert "has no method with two runs" in line
