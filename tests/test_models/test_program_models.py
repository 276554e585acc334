"""A compiled program as the model of an ordinary run: it brings its own task."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.models.tracr import load_program
from bench.names import get_program
from bench.runs.experiment import Experiment
from bench.runs.job import carry_out
from bench.scoring.leaderboard import leaderboard
from bench.store.results import Store

SMALL = Experiment(
    model="tracr:reverse", methods=("random_edges", "eap_ig"), sizes=("5%", "20%"), random_draws=1,
    n_discovery=(40,), n_evaluation=40,
)  # fmt: skip


def run(experiment: Experiment, out: Path) -> list[str]:
    return [carry_out([job], out)[0].status for job in experiment.jobs()]


def test_a_ranking_recovers_a_program_and_random_circuits_do_not(tmp_path: Path) -> None:
    """The two edges that matter under resample are 2 % of reverse's."""
    assert run(SMALL, tmp_path) == ["ok", "ok"]
    table = leaderboard(Store(tmp_path)).set_index(["method", "size_requested"]).sort_index()
    assert table["kl"].loc["eap_ig"].max() < 1e-6 < table["kl"].loc["random_edges"].min()
    assert table.loc[("eap_ig", 0.05), "faithfulness"] == pytest.approx(1)
    assert table.loc[("eap_ig", 0.05), "exact_match"] == 1
    assert set(table["task"]) == {"tracr"}


def test_numbers_are_scored_by_their_squared_error(tmp_path: Path) -> None:
    """One number has no distribution: kl and accuracies stay unscored."""
    run(
        Experiment(model="tracr:x_proportion", methods=SMALL.methods, sizes=("10%",), random_draws=1),
        tmp_path,
    )
    table = leaderboard(Store(tmp_path)).set_index("method")
    assert table["squared_error"]["eap_ig"] < 1e-8 < table["squared_error"]["empty"]
    assert table[["kl", "accuracy", "logit_diff"]].isna().all(axis=None)
    assert table.loc["eap_ig", "faithfulness"] == pytest.approx(1)


def test_discovery_and_evaluation_share_no_input() -> None:
    (job, *_) = SMALL.jobs()
    data = job.study().data
    seen = {tuple(row.tolist()) for batch in data.discovery for row in (*batch.clean, *batch.corrupted)}
    asked = {tuple(row.tolist()) for batch in data.evaluation.batches for row in batch.clean}
    assert asked
    assert not seen & asked
    every = load_program(get_program("reverse")).compiled.inputs
    assert seen | asked <= {tuple(row.tolist()) for row in every}


def test_other_tasks_are_refused() -> None:
    with pytest.raises(UsageError, match="brings its own task"):
        Experiment(model="tracr:reverse", tasks=("gp",)).jobs()
    with pytest.raises(UsageError, match="did you mean 'reverse'"):
        Experiment(model="tracr:revers").jobs()
