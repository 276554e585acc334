"""From a results folder to what people read: tables, plots, drawings, the page, the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DamagedFile, UnwritableFolder, UsageError
from bench.files import write_atomically
from bench.metrics import METRICS, RECOVERY_METRICS, Metric
from bench.results import Store

if TYPE_CHECKING:
    import pandas as pd

DRAWN = ("x_proportion", "reverse")
"""Programs that every report draws: those of the Edge Pruning paper."""


def existing(results: Path) -> Store:
    """A results folder that holds runs.

    Raises:
        UsageError: it does not.
    """
    if not any((results / "runs").glob("*.safetensors")):
        held = (
            "no runs, only true circuits" if any((results / "tracr").glob("*.safetensors")) else "no results"
        )
        raise UsageError(f"{results} holds {held}: make some with circuitmark run --out {results}")
    return Store(results)


def write_report(results: Path, out: Path, drawn: Sequence[str] = ()) -> None:
    """Writes all that there is of a results folder: leaderboard, plots, recoveries, drawings, the page.

    Of compiled programs it draws `DRAWN`, and those in `drawn`.

    Raises:
        UsageError: the folder holds neither runs nor recoveries.
        UnwritableFolder: `out` takes no file.
        DamagedFile: a file cannot be read.
    """
    import reports
    from bench.leaderboard import leaderboard, write_tables

    recovery = recovery_table(results)
    table, trainings = None, []
    if recovery is None or any((results / "runs").glob("*.safetensors")):
        table = leaderboard(existing(results))
        write_tables(out, table)
        trainings = _trainings(existing(results))
    metrics: tuple[Metric, ...] = METRICS if table is not None else ()
    pairs = []
    if recovery is not None:
        write_atomically(out / "recovery.csv", recovery.to_csv(index=False).encode())
        metrics += RECOVERY_METRICS
        pairs = _drawings(recovery, {*DRAWN, *drawn})
    title = "circuitmark leaderboard" if table is not None else "circuitmark: true circuits"
    try:
        described = [asdict(metric) for metric in metrics]
        reports.write_report(table, described, out, title, recovery, pairs, trainings)
    except OSError as error:
        raise UnwritableFolder(
            f"cannot write the report to {out} ({error.strerror or error}): "
            "free some space there or choose another folder with --out"
        ) from error


def recovery_table(results: Path) -> pd.DataFrame | None:
    """A row per method, program and ablation, from the stored recoveries; None where there are none."""
    from bench.recovery import rows

    found = rows(results)
    return recovery_frame(found) if found else None


def recovery_frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Recoveries as a table; what does not fit into a cell is left out."""
    import pandas as pd

    return pd.DataFrame(
        [{k: v for k, v in row.items() if not isinstance(v, dict) and k != "traceback"} for row in rows]
    )


def _drawings(recovery: pd.DataFrame, programs: set[str]) -> list[Any]:
    import reports

    chosen = recovery[recovery["program"].isin(programs) & recovery["found_edges"].notna()]
    return [
        reports.CircuitPair(
            row["program"],
            row["ablation"],
            row["method"] + (f" ({row['params']})" if row["params"] else ""),
            row["true_edges"].split(),
            row["found_edges"].split(),
        )
        for row in chosen.to_dict("records")
    ]


def _trainings(store: Store) -> list[Any]:
    """The traces that go over steps, in order of method and task."""
    import reports

    records = [run.record for run in store.runs() if "step" in run.record.get("trace", {})]
    several = [name for name in ("model", "ablation") if len({record[name] for record in records}) > 1]
    found = []
    for record in records:
        params = f" ({record['params']})" if record["params"] else ""
        words = [record["method"] + params, record["task"], *(record[name] for name in several)]
        found.append(reports.Training(" · ".join(words), record["trace"]))
    return sorted(found, key=lambda training: training.label)


def show_leaderboard(folder: Path) -> None:
    """Prints the table of a folder that `write_report` wrote, and where to find more."""
    import pandas as pd

    import reports

    file = folder / "leaderboard.parquet"
    try:
        table = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{file} cannot be read: make it again with circuitmark report {folder}") from error
    _print(reports.terminal_table(table, [asdict(metric) for metric in METRICS]))
    for name in ("leaderboard.csv", "leaderboard.md", "index.html"):
        print(folder / name)


def show_recovery(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Prints recoveries, method by program, and where to find more."""
    import reports

    _print(reports.recovery_terminal(recovery_frame(rows), [asdict(metric) for metric in RECOVERY_METRICS]))
    for name in ("recovery.csv", "tracr.md", "index.html"):
        print(folder / name)


def _print(what: Any) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(what)
