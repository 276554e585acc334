"""Reports on held-out recoveries: counts with intervals, pairs, what is said of ACDC, marks of truths."""

from __future__ import annotations

import io
import math
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import reports
from reports.parts.methods import Methods
from reports.parts.numbers import DASH
from reports.recovery.fold import fold
from reports.recovery.folds import fold_grid, pair_grid
from reports.recovery.grids import recovery_grids
from reports.recovery.methods import ACDC_NOTE
from reports.recovery.programs import marks, truth_notes

METHODS = Methods(("acdc", "eap", "random_edges"), "random_edges")


def told(method: str, own: int | None, held_out: int, **more: Any) -> dict[str, Any]:
    """As `circuitmark verify-tracr --json` tells a method's folds."""
    found: dict[str, Any] = {
        "method": method,
        "params": "",
        "ablation": "zero",
        "settings": ["own", "share 0.1"],
    }
    for name, count in (("own", own), ("held_out", held_out)):
        found |= {name: count, f"{name}_programs": 57, f"{name}_low": 0.1, f"{name}_high": 0.234}
    return {**found, **more}


def pair(p_holm: float, a_alone: int = 9) -> dict[str, Any]:
    names = {"ablation": "zero", "a": "acdc", "a_params": "", "b": "eap", "b_params": "steps=5"}
    return {**names, "programs": 57, "a_alone": a_alone, "b_alone": 1, "p": p_holm / 3, "p_holm": p_holm}


def test_counts_stand_with_their_intervals_the_best_first() -> None:
    grid = fold_grid([told("eap", None, 7, settings=["own", None]), told("acdc", 54, 55)])
    rows = [[f"{cell.text} {cell.beside}".strip() for cell in row.cells] for row in grid.rows]
    assert rows == [
        ["zero", "acdc", "54 / 57 (10 to 23 %)", "55 / 57 (10 to 23 %)", "own", "share 0.1"],
        ["zero", "eap", DASH, "7 / 57 (10 to 23 %)", "own", DASH],
    ]


def test_acdcs_row_is_qualified_where_it_stands() -> None:
    assert ACDC_NOTE in fold_grid([told("acdc", 57, 57)]).notes
    assert ACDC_NOTE in fold_grid([told("acdc_screened", 57, 57)]).notes
    assert ACDC_NOTE not in fold_grid([told("eap", 57, 57)]).notes
    table = recoveries()
    assert ACDC_NOTE not in recovery_grids(table, [], METHODS).unaided.notes
    both = pd.concat([table, table.assign(method="acdc")])
    assert ACDC_NOTE in recovery_grids(both, [], METHODS).unaided.notes


@pytest.mark.parametrize(
    ("p", "a_alone", "best"), [(0.03, 9, "acdc"), (0.03, 0, "eap (steps=5)"), (0.06, 9, "")]
)
def test_who_recovers_more_is_marked_where_it_is_no_chance(p: float, a_alone: int, best: str) -> None:
    (row,) = pair_grid([pair(p, a_alone)]).rows
    assert [cell.text for cell in row.cells if cell.best] == ([best] if best else [])
    assert [cell.text for cell in row.cells[3:6]] == [f"{a_alone}", "1", "57"]


def recoveries(**columns: Any) -> pd.DataFrame:
    """One method on three programs under two ablations."""
    places = [(program, ablation) for program in ("hist", "max", "sort") for ablation in ("resample", "zero")]
    base = pd.DataFrame(places, columns=["program", "ablation"])
    return base.assign(method="eap", f1=1.0, unaided_exact=True, auroc=1.0, average_precision=1.0, **columns)


def test_truths_are_marked() -> None:
    """Under the ablation that it holds for; and counted, each program once whatever ran on it."""
    table = recoveries(
        is_minimal=[True, False, False, False, None, None], minimal_sets=[1, 2, 1, 1, 1, math.nan],
        redundant=[False] * 4 + [True] * 2,
    )  # fmt: skip
    folded = fold(pd.concat([table, table.assign(method="acdc")]))
    found = {program: marks(folded, program, folded.ablations) for program in folded.programs}
    assert found == {
        "hist": "fewer suffice under zero",
        "max": "fewer suffice",
        "sort": "redundant, not searched under zero",
    }  # fmt: skip
    assert marks(folded, "hist", ["resample"]) == ""
    notes = " ".join(truth_notes(folded))
    assert "Fewer suffice (3 truths)" in notes
    assert "Not searched (1 truth)" in notes
    assert "unscored" in notes
    assert truth_notes(fold(recoveries())) == []


def test_they_are_in_the_page_and_in_the_terminal() -> None:
    judged = {"folds": [told("acdc", 54, 55)], "compared": [pair(0.01)]}
    files = reports.render_report(None, [], METHODS, recovery=recoveries(), judged=judged)
    text = files["tracr.md"].decode()
    assert "## Held out" in text
    assert "| zero | acdc | 54 / 57 (10 to 23 %) |" in text
    assert "## Methods compared" in text
    assert "Methods compared" in files["index.html"].decode()
    console = Console(file=(file := io.StringIO()), width=120)
    console.print(reports.recovery_terminal(recoveries(), [], judged["folds"]))
    assert "55 / 57 (10 to 23 %)" in file.getvalue()
    assert "nearly how the truth defines a necessary edge" in " ".join(file.getvalue().split())
