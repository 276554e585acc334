"""How prompts begin: one BOS or none, on both sides, with the answers where they were."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.discovery.start import begins_with_bos, started
from bench.errors import MixedSettings, UsageError
from bench.runs.experiment import Experiment
from bench.runs.run import How, run_experiment
from bench.store.record import Bos
from bench.store.results import Store
from bench.study import Study
from command_line import CommandLine
from model_folders import edit, good_folder
from tasks import Examples


@dataclass(frozen=True)
class Begins:
    """As much of a tokenizer as says how texts begin."""

    bos_token_id: int | None
    unk_token_id: int | None = None
    model_max_length: int = 64

    def __len__(self) -> int:
        return 10

    def __call__(self, text: list[str], *, add_special_tokens: bool = True) -> Any:
        raise AssertionError("nothing is to be tokenised")


BOS = Begins(9)


def examples(*prompts: list[int]) -> Examples:
    """Corrupted prompts have another last token; the answer follows the last but one."""
    other = [[*prompt[:-1], 7] for prompt in prompts]
    n = len(prompts)
    made = Examples.from_tokens(
        prompts, other, np.tile([1, 2], (n, 1)), np.tile([True, False], (n, 1)), np.arange(n)
    )
    return replace(made, positions=made.lengths - 2)


def rows(made: Examples, side: str = "clean") -> list[list[int]]:
    return [row[:n].tolist() for row, n in zip(getattr(made, side), made.lengths, strict=True)]


@pytest.mark.parametrize(
    ("bos", "plain", "begun", "twice"),
    [
        ("auto", [3, 4], [9, 3, 4], [9, 3, 4]),
        ("yes", [9, 3, 4], [9, 3, 4], [9, 3, 4]),
        ("no", [3, 4], [3, 4], [3, 4]),
    ],
)
def test_prompts_begin_as_wanted(bos: Bos, plain: list[int], begun: list[int], twice: list[int]) -> None:
    """Where a tokenizer puts nothing before them, where it puts one, and where the text has its own."""
    made = started(examples([3, 4], [9, 3, 4], [9, 9, 3, 4], [9, 3, 9, 4]), BOS, bos)
    last = [9, 3, 9, 4] if bos != "no" else [3, 9, 4]
    assert rows(made) == [plain, begun, twice, last]
    assert rows(made, "corrupted") == [[*prompt[:-1], 7] for prompt in rows(made)]
    assert (made.positions == made.lengths - 2).all()
    assert made.candidates.tolist() == [[1, 2]] * 4
    assert begins_with_bos(made, BOS) == (bos == "yes")


def test_what_begins_as_wanted_is_left_as_it_is() -> None:
    made = examples([9, 3, 4], [9, 4, 4, 4])
    assert started(made, BOS, "auto") is made
    assert started(made, BOS, "yes") is made
    without = Begins(None)
    assert started(made, without, "auto") is made
    assert not begins_with_bos(made, without)
    for bos in ("yes", "no"):
        with pytest.raises(UsageError, match="tokenizer has no BOS: leave --bos out"):
            started(made, without, bos)


def test_a_study_of_prompts_that_begin_with_bos(command: CommandLine) -> None:
    """Each has one token more, and the record says so; folders of one start take no other."""
    folder = command.folder / "model"
    folder.mkdir()
    good_folder(folder)
    edit(folder / "tokenizer_config.json", bos_token="[PAD]")
    sets = {
        bos: Study(str(folder), "gp", bos=bos, n_discovery=8, n_evaluation=8).data
        for bos in ("auto", "yes", "no")
    }
    plain, begun, same = ([*(batch.lengths.tolist() for batch in data.discovery)] for data in sets.values())
    assert begun == [[n + 1 for n in batch] for batch in plain]
    assert same == plain
    assert [data.evaluation.start for data in sets.values()] == ["no BOS", "BOS", "no BOS"]
    assert {int(token) for batch in sets["yes"].discovery for token in batch.clean[:, 0]} == {0}

    experiment = Experiment(
        model=str(folder), tasks=("gp",), methods=("random_edges",), sizes=("5%",), random_draws=1,
        n_discovery=(8,), n_evaluation=8, bos="yes",
    )  # fmt: skip
    out = command.folder / "out"
    run_experiment(experiment, out, How(even_if_unable=True), report=lambda _: None)
    (run,) = Store(out).runs()
    assert (run.record.bos, run.record.prompt_start) == ("yes", "BOS")
    with pytest.raises(MixedSettings, match="out holds runs with bos=yes, not auto"):
        run_experiment(replace(experiment, bos="auto"), out, report=lambda _: None)


def test_a_configuration_says_yes_and_no(tmp_path: Path) -> None:
    """Which YAML takes for truth values."""
    for said in ("yes", "no", "auto"):
        (tmp_path / "c.yaml").write_text(f"bos: {said}\n")
        assert Experiment.from_file(tmp_path / "c.yaml").bos == said
