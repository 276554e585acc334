"""How well methods recover true circuits, as tables: over all programs, and program by program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import Methods
from reports.parts.metric import read_metrics
from reports.parts.numbers import DASH
from reports.recovery.fold import RANKED, UNAIDED, Recoveries, fold
from reports.recovery.methods import method_grid
from reports.recovery.programs import program_grid


@dataclass(frozen=True)
class RecoveryGrids:
    """The tables of a report on recoveries."""

    unaided: Grid
    ranked: Grid
    unaided_by_program: Grid
    ranked_by_program: Grid
    troubles: Grid | None
    """Runs that did not end ok, with the reason; None if all did."""


def recovery_grids(
    table: pd.DataFrame, metrics: Sequence[Mapping[str, str]], methods: Methods
) -> RecoveryGrids:
    """The tables on recoveries.

    Args:
        table: a row per method, params, program, ablation and run (seed, kernels).
        metrics: describe its columns (name, label, description, unit, better).
        methods: names the random baseline.

    Raises:
        ValueError: no rows, a missing column, a value that is not a number, a bad direction.
    """
    known, folded = read_metrics(metrics), fold(table)
    return RecoveryGrids(
        method_grid(folded, UNAIDED, known, methods),
        method_grid(folded, RANKED, known, methods),
        program_grid(folded, UNAIDED[:2], known),
        program_grid(folded, RANKED, known),
        troubles(folded),
    )


def troubles(folded: Recoveries) -> Grid | None:
    """Runs that did not end ok; programs with the same method, ablation, status and reason share a row."""
    bad = folded.table[folded.table["status"] != "ok"]
    if bad.empty:
        return None
    keys = ["status", "label", "ablation", "status_reason"]
    bad = bad.assign(label=bad["label"].replace("", DASH))
    rows = []
    for key, group in bad.groupby(keys, sort=True):
        status, label, ablation, reason = map(str, key)
        programs = ", ".join(sorted(set(group["program"])))
        rows.append(Row(tuple(map(Cell, (status, label, ablation, programs, reason or DASH)))))
    names = ("status", "method", "ablation", "programs", "reason")
    return Grid(tuple(map(Heading, names)), tuple(rows), len(names))
