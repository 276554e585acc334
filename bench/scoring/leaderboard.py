"""The leaderboard: one long table derived from the stored raw outputs of a results folder."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DamagedFile
from bench.files import write_atomically
from bench.scoring.beside_exact import with_exact
from bench.scoring.beside_random import with_random
from bench.scoring.catalogue import METRICS
from bench.scoring.cells import BASELINE, EDGES, is_oversize, pruned_of
from bench.scoring.dictionary import leaderboard_schema
from bench.scoring.evaluate import (
    ABSOLUTE,
    EMPTY,
    FULL,
    ONES,
    SIGNED,
    RawOutputs,
    curves,
    recovered_by,
    rewired_of,
    score,
    unsaid,
)
from bench.scoring.groups import gaps_of, say_together
from bench.scoring.knockouts import KnockOuts
from bench.scoring.measures import MEASURES
from bench.scoring.overlap import with_overlap
from bench.scoring.tested import columns_of
from bench.store.record import Dimensions, Setting, names_of, told_apart_by
from bench.store.results import Run, Store

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "model",
    "task",
    "method",
    "params",
    "data_seed",
    "method_seed",
    "ablation",
    "discovery_ablation",
    "size_requested",
    "edges_kept",
    "edges_filled",
    "edge_sparsity",
    "effective_edges",
    "weight_density",
    "kl",
    "kl_low",
    "kl_high",
    "recovered",
    "recovered_low",
    "recovered_high",
    "recovered_new_low",
    "recovered_new_high",
    "log_gap",
    "accuracy",
    "exact_match",
    "logit_diff",
    "faithfulness",
    "complement_kl",
    "complement_accuracy",
    "complement_loss",
    "choice_accuracy",
    "complement_choice_accuracy",
    "complement_choice_probability",
    "chance",
    "prob_diff",
    "kl_candidates",
    "graph",
    "kv",
    "objective",
    "cpu_seconds",
    "seconds",
    "forward_equivalents",
    "peak_memory_mb",
    "status",
    "status_reason",
)
"""Columns of leaderboard.csv that other programs may rely on, first and in this order."""
ORDER = ("model", "task", "method", "params", "n_discovery", "wordings", "data_seed", "method_seed",
         "ablation", "discovery_ablation", "size_requested")  # fmt: skip
"""Sort order of the rows."""


def leaderboard(store: Store) -> pd.DataFrame:
    """The long form: a row per model, task, method, seed, ablation and size; metrics are computed again.

    Raises:
        DamagedFile: a run cannot be read.
    """
    import pandas as pd

    bounds: dict[tuple[Any, ...], tuple[Any, list[dict[str, Any]]]] = {}
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for run in store.runs():
        setting = told_apart_by(Setting, run.record)
        try:
            # under mean ablation they depend on the discovery prompts: those of the lowest seed
            data = (run.record.data_seed, run.record.n_discovery, run.record.wordings)
            if run.tensors and (setting not in bounds or data < bounds[setting][0]):
                bounds[setting] = data, _bounds(run)
            for row in _rows(run):  # of jobs without circuits, the last is shown
                told = (*(row[name] for name in names_of(Dimensions)), run.source)
                rows[(*told, row.get("size_requested"))] = row
        except (KeyError, ValueError) as error:
            raise DamagedFile(
                f"{store.path(run.stem)} is not a complete run ({error}): move it away and run again"
            ) from error
    say_together(rows.values())
    table = pd.DataFrame([*(row for _, each in bounds.values() for row in each), *rows.values()])
    names = [*COLUMNS, *(metric.name for metric in METRICS if metric.name not in COLUMNS)]
    table = table.reindex(columns=[*names, *sorted(set(table.columns) - set(names))])
    if table.empty:
        return table
    whole = dict.fromkeys(("data_seed", "method_seed", "n_discovery", "data_seeds"), "Int64")
    # full and empty have none of these
    # in a fixed order, whatever order jobs ended in, sums over rows are the same to the bit
    table = table.astype(whole).sort_values(list(ORDER), kind="stable", ignore_index=True)
    return with_exact(with_overlap(with_random(table), store), store)


def write_tables(folder: Path, table: pd.DataFrame) -> None:
    """Writes leaderboard.csv, the same as parquet, and what its columns mean."""
    write_atomically(folder / "leaderboard.csv", table.to_csv(index=False).encode())
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomically(folder / "leaderboard.parquet", buffer.getvalue())
    schema = json.dumps(leaderboard_schema(table), indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / "leaderboard.schema.json", schema.encode())


def _rows(run: Run) -> list[dict[str, Any]]:
    """A row per size; for a job without circuits, one row without a size."""
    shared = {**run.record.row(), "stem": run.stem, "source": run.source}
    if not run.tensors:
        return [shared]
    raw = RawOutputs.from_tensors(run.tensors)
    measure = MEASURES[run.record.measure]
    circuits = run.record.circuits
    absolute, signed = (
        {c["size_requested"]: name for name, c in circuits.items() if c["curve"] == which}
        for which in (ABSOLUTE, SIGNED)
    )
    areas = curves(raw, absolute, signed, measure)
    rows = []
    for name, circuit in circuits.items():
        size = circuit["size_requested"]
        if circuit["complement"] is not None and size not in run.superseded:
            # points that are only on a curve have no complement, and no row
            scores = score(raw, name, circuit["complement"], measure)
            oversize = is_oversize(circuit, run.record.n_edges)
            kind = {"pruned": pruned_of(circuit["weight_density"]), "oversize": oversize}
            said = unsaid(raw.answers)
            tests: dict[str, float | str] = {}
            if run.record.method != BASELINE["method"]:  # others are compared with the null
                knocked = KnockOuts.from_tensors(run.tensors, name)
                tests = columns_of(raw, name, circuit["complement"], measure, knocked, circuit["edges_kept"])
            gaps = gaps_of(raw, name)
            if not measure.of_numbers:
                scores["recovered_rewired"] = recovered_by(raw, rewired_of(size))
            rows.append({**shared, **circuit, **kind, **scores, **said, **areas, **tests, **gaps})
    return rows


def _bounds(run: Run) -> list[dict[str, Any]]:
    """The rows of the full and of the empty circuit, each the other's complement, and of the mask of ones.

    Runs of versions that did not run that mask have no row of it.
    """
    about = (
        *names_of(Setting),
        "graph",
        "n_edges",
        "n_evaluation",
        "split",
        "measure",
        "dtype",
        "direction",
        "position_policy",
        "bos",
        "prompt_start",
    )
    shared = {name: getattr(run.record, name) for name in about}
    raw = RawOutputs.from_tensors(run.tensors)
    rows = []
    for name, complement, share in ((FULL, EMPTY, 1.0), (EMPTY, FULL, 0.0), (ONES, EMPTY, 1.0)):
        if name not in raw.runs:
            continue
        edges = round(share * run.record.n_edges)
        rows.append(
            {
                **shared,
                "method": name,
                "params": "",
                "size_requested": share,
                "edges_kept": edges,
                "edges_filled": 0,
                "pruned": EDGES,
                "oversize": False,
                "effective_edges": edges,
                "edge_sparsity": 1 - share,
                "weight_density": 1.0,
                "status": "ok",
                "status_reason": "",
                **score(raw, name, complement, MEASURES[run.record.measure]),
                **unsaid(raw.answers),
            }
        )
    return rows
