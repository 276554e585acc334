"""Which runs count, once each, and what they are called: the same in tables and in comparisons."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bench.report import write_report
from bench.scoring.catalogue import METRICS
from bench.scoring.cells import cells_of, scored
from bench.scoring.comparison.compare import compare
from bench.scoring.evaluate import RawOutputs, new_log_gaps
from bench.scoring.leaderboard import leaderboard
from bench.store.asked import ask
from bench.store.results import Run, Store
from made_runs import run
from reports.leaderboard.entries import tidy
from reports.parts.methods import label_of, label_of_typed
from reports.parts.metric import read_metrics

READ = read_metrics([asdict(metric) for metric in METRICS])


def test_of_a_size_that_two_runs_have_the_last_one_counts(tmp_path: Path) -> None:
    """As in the table: asked for fewer sizes first, and for more with some of them again."""
    store = Store(tmp_path)
    first, last = run("one", {0.01: 0.5, 0.2: 0.1}), run("one", {0.01: 0.4, 0.1: 0.2})
    for stem, each in (("z", first), ("a", last)):
        store.save(stem, each)
    ask(tmp_path, [(each.record, "one", stem) for stem, each in (("z", first), ("a", last))])
    table = leaderboard(store)
    rows = table[table["method"] == "one"]
    assert dict(zip(rows["size_requested"], rows["stem"], strict=True)) == {0.01: "a", 0.1: "a", 0.2: "z"}
    circuits = scored(store.runs())
    assert {each.size: each.stem for each in circuits} == {0.01: "a", 0.1: "a", 0.2: "z"}
    assert len(circuits) == 3
    (cell,) = next(iter(cells_of(circuits).values())).values()
    assert all(len(gaps) == 1 for gaps in cell.gaps.values())


def test_a_method_has_one_name_everywhere(tmp_path: Path) -> None:
    """Whatever tells it apart: prompts, wordings, the ablation that it was given."""
    store = Store(tmp_path)
    plain = run("one", {0.01: 0.5, 0.1: 0.2})
    others: list[dict[str, Any]] = [
        {}, {"n_discovery": 50}, {"wordings": "first half"}, {"discovery_ablation": "zero"},
        {"params": "steps=3", "n_discovery": 50, "discovery_ablation": "mean", "wordings": "second half"},
    ]  # fmt: skip
    for i, other in enumerate(others):
        store.save(f"{i}", replace(plain, record=replace(plain.record, lineage=f"{i}", **other)))
    table = tidy(leaderboard(store), READ)
    rows = table[table["method"] == "one"]
    shown = set(map(label_of, rows["method"], rows["params"]))
    (cells,) = cells_of(scored(store.runs())).values()
    assert {label_of_typed(name) for name in cells} == shown
    assert len(shown) == len(others)
    assert shown >= {
        "one (n_discovery=8)",
        "one (steps=3, n_discovery=50, wordings=second half, discovery_ablation=mean)",
    }


def test_the_default_and_an_option_keep_their_names(tmp_path: Path) -> None:
    """Objectives are options, and not said twice."""
    store = Store(tmp_path)
    for params, objective in (("", "kl"), ("objective=difference", "difference")):
        each = run("eap_ig", {0.01: 0.5, 0.1: 0.2})
        store.save(objective, replace(each, record=replace(each.record, params=params, objective=objective)))
    table = tidy(leaderboard(store), READ)
    assert set(table[table["method"] == "eap_ig"]["params"]) == {"", "objective=difference"}
    pairs = compare(cells_of(scored(store.runs())))
    assert {(pair.a, pair.b) for pair in pairs} == {("eap_ig", "eap_ig:objective=difference")}


def test_full_and_empty_are_of_the_lowest_seed(tmp_path: Path) -> None:
    """Where the ablation is a mean over discovery prompts, each data seed has its own."""
    store = Store(tmp_path)
    for seed, stem in ((3, "a"), (1, "b"), (2, "c")):
        each = run("one", {0.01: 0.5}, seed)
        tensors = {**each.tensors, "outputs.empty.kl": each.tensors["outputs.empty.kl"] + seed}
        store.save(stem, Run(replace(each.record, ablation="mean"), tensors))
    table = leaderboard(store).set_index("method")
    assert table.loc["empty", "kl"] == pytest.approx(2.0 + 1)


def test_random_draws_are_jobs_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed in range(3):
        each = run("random_edges", {0.01: 1.0})
        store.save(f"{seed}", replace(each, record=replace(each.record, method_seed=seed)))
    store.save("one", run("one", {0.01: 0.5}))
    write_report(tmp_path, tmp_path)
    assert "4 jobs ok." in (tmp_path / "leaderboard.md").read_text()
    assert len(pd.read_csv(tmp_path / "leaderboard.csv").query("status == 'ok'")) == 3 + 4


def test_templates_on_which_the_empty_circuit_is_the_model_count_in_no_cell() -> None:
    """As pairs of inputs of which a program says the same: no circuit is any part of the way there."""
    made = run("eap", {0.01: 0.5})
    (whole,) = scored([made])
    gone = made.tensors["answers.template"] == 20
    tensors = {**made.tensors, "outputs.empty.kl": made.tensors["outputs.empty.kl"].masked_fill(gone, 0)}
    (found,) = scored([replace(made, tensors=tensors)])
    assert set(whole.templates) - set(found.templates) == {20}
    assert found.gaps.tolist() == np.delete(whole.gaps, whole.templates.index(20)).tolist()
    raw = RawOutputs.from_tensors(tensors)
    gaps, fewest = new_log_gaps(raw, "size 0.01")
    assert (gaps.tolist(), fewest) == (found.gaps.tolist(), found.fewest)
    idle = {**tensors, "outputs.empty.kl": torch.zeros_like(tensors["outputs.empty.kl"])}
    assert scored([replace(made, tensors=idle)]) == []
