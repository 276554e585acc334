"""Turns a results folder into what people read: tables, plots, drawings, the page, the terminal output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DamagedFile, UsageError
from bench.exchange.drawn import drawn_edge
from bench.exchange.viewed import viewed
from bench.files import regular, write_atomically
from bench.scoring.catalogue import METRICS, RECOVERY_METRICS, Metric
from bench.scoring.dictionary import recovery_schema
from bench.store.merged import Merged
from bench.store.results import Store
from bench.store.sources import Sources

if TYPE_CHECKING:
    import pandas as pd

    from bench.runs.experiment import Experiment
    from bench.scoring.cells import Cell, Place

DRAWN = ("x_proportion", "reverse")
"""Programs that every report draws: those of the Edge Pruning paper."""


def run(experiment: Experiment, out: Path | str, *, n: int = 1, threads: int = 1) -> pd.DataFrame:
    """Runs the unfinished jobs of an experiment, writes the report, and returns the leaderboard.

    Args:
        experiment: what to run.
        out: the results folder; what is finished there is not run again.
        n: number of jobs at a time, each in its own processes.
        threads: threads per job.

    Raises:
        UserError: as `bench.runs.run.run_experiment`.
    """
    from bench.runs.run import How, run_experiment

    run_experiment(experiment, Path(out), How(n=n, threads=threads), report=lambda at: write_report(at, at))
    return read_leaderboard(out)


def read_leaderboard(results: Path | str) -> pd.DataFrame:
    """The long table of a results folder: a row per model, task, method, seed, ablation and size.

    Raises:
        UsageError: the folder holds no runs.
        DamagedFile: a file cannot be read.
    """
    from bench.scoring.leaderboard import leaderboard

    return leaderboard(existing(Path(results)))


def existing(results: Path) -> Store:
    """The runs of a results folder.

    Raises:
        UsageError: it holds none.
    """
    if (store := of_folder(results).store) is None:
        raise UsageError(
            f"{results} holds no runs, only true circuits: make some with circuitmark run --out {results}"
        )
    return store


def of_folder(results: Path) -> Sources:
    """One results folder, for a report.

    Raises:
        UsageError: it holds nothing.
    """
    return Sources({str(results): results})


def write_report(
    results: Path | Sources, out: Path, drawn: Sequence[str] = (), fresh: Path | None = None
) -> None:
    """Writes the whole report of results folders: leaderboard, plots, recoveries, drawings, the page.

    Everything is rendered before the first file is replaced.

    Args:
        results: the folder to read, or several to report as one.
        out: the folder to write; it may be the same.
        drawn: compiled programs whose circuits are drawn besides `DRAWN`.
        fresh: another folder of the same runs, scored on fresh prompts.

    Raises:
        UsageError: a folder holds neither runs nor recoveries, or `fresh` cannot be compared.
        MixedSettings: several folders cannot be compared.
        UnwritableFolder: `out` cannot be written.
        DamagedFile: a file cannot be read.
    """
    import reports
    from bench.scoring.cells import cells_of, scored
    from bench.scoring.comparison.fresh import fresh_gaps
    from bench.scoring.leaderboard import write_tables
    from bench.truth.folds import judge

    held = of_folder(results) if isinstance(results, Path) else results
    recovery = recovery_frame(held.recoveries) if held.recoveries else None
    store = held.store
    if isinstance(store, Merged) and fresh is not None:
        raise UsageError("--fresh takes a single folder of results: report that folder alone")
    table = None if store is None else table_of(store, held.folders)
    trainings = [] if store is None else _trainings(store)
    metrics: tuple[Metric, ...] = METRICS if table is not None else ()
    drawings = []
    if recovery is not None:
        metrics += RECOVERY_METRICS
        drawings = _drawings(recovery, {*DRAWN, *drawn})
    title = "circuitmark leaderboard" if table is not None else "circuitmark: true circuits"
    described = [asdict(metric) for metric in metrics]
    methods = _methods(frame for frame in (table, recovery) if frame is not None)
    found = None if store is None else _ahead(cells_of(scored(store.runs())))
    if found is not None and store is not None and fresh is not None:
        found["fresh"] = [gap.to_json() for gap in fresh_gaps(store, existing(fresh))]
    judged = None if recovery is None else judge(held.recoveries)
    files = reports.render_report(
        table,
        described,
        methods,
        title,
        recovery,
        drawings,
        trainings,
        held.warnings(),
        found,
        judged,
        _citations(methods, table),
        [] if store is None else viewed(store),
    )
    if table is not None:
        write_tables(out, table)
    if recovery is not None:
        files["recovery.csv"] = recovery.to_csv(index=False).encode(errors="replace")
        schema = json.dumps(recovery_schema(recovery), indent=1, ensure_ascii=False) + "\n"
        files["recovery.schema.json"] = schema.encode(errors="replace")
    for name, content in files.items():
        write_atomically(out / name, content)


def table_of(store: Store, folders: Iterable[str]) -> pd.DataFrame:
    """The leaderboard of results folders.

    Args:
        store: their runs.
        folders: their names.

    Raises:
        UsageError: it would be empty.
    """
    from bench.scoring.leaderboard import leaderboard

    table = leaderboard(store)
    if table.empty:
        raise UsageError(f"{', '.join(folders)} holds none of the requested runs: run the same command again")
    return table


def _citations(methods: Any, table: pd.DataFrame | None) -> str:
    """BibTeX of the methods in a table that are known here."""
    from methods.base import find_methods

    ran = set() if table is None else set(table["method"])
    known = find_methods()[0]
    return "\n\n".join(
        dict.fromkeys(known[name].citation for name in methods.names if name in ran & set(known))
    )


def _ahead(cells: Mapping[Place, Mapping[str, Cell]]) -> dict[str, list[dict[str, Any]]]:
    """Which methods are ahead: the part of `compared` that a report shows."""
    from bench.scoring.comparison.compare import compare
    from bench.scoring.comparison.standing import standings
    from bench.scoring.comparison.turnover import turnovers

    pairs = compare(cells)
    return {
        "pairs": [pair.to_json() for pair in pairs],
        "turnovers": [turnover.to_json() for turnover in turnovers(pairs)],
        "behaviours": [whole.to_json() for whole in standings(cells)],
    }


def recovery_frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Recoveries as a table; what does not fit into a cell is left out."""
    import pandas as pd

    return pd.DataFrame(
        [{k: v for k, v in row.items() if not isinstance(v, dict) and k != "traceback"} for row in rows]
    )


def _methods(tables: Iterable[pd.DataFrame]) -> Any:
    """All methods: ours first, so that they keep their colours whatever else the tables hold."""
    import reports
    from bench.scoring.cells import BASELINE
    from bench.scoring.evaluate import REFERENCES
    from methods.base import find_methods

    ours = sorted(find_methods()[0])
    shown = {str(name) for table in tables for name in table["method"].dropna()}
    others = shown - {*ours, *REFERENCES, ""}
    return reports.Methods((*ours, *sorted(others)), BASELINE["method"])


def _drawings(recovery: pd.DataFrame, programs: set[str]) -> list[Any]:
    """One circuit per method: of several runs, the one with the lowest seed and the first kernels by name."""
    import reports
    from reports.parts.methods import label_of

    chosen = recovery[recovery["program"].isin(programs) & recovery["found_edges"].notna()]
    runs = [name for name in ("method_seed", "kernels") if name in recovery.columns]
    if runs:
        chosen = chosen.sort_values(runs, kind="stable")
    chosen = chosen.drop_duplicates(["program", "ablation", "method", "params"]).sort_index()
    return [
        reports.CircuitPair(
            row["program"],
            row["ablation"],
            label_of(row["method"], row["params"]),
            list(map(drawn_edge, row["true_edges"].split())),
            list(map(drawn_edge, row["found_edges"].split())),
        )
        for row in chosen.to_dict("records")
    ]


def _trainings(store: Store) -> list[Any]:
    """Traces over training steps, in order of method and place; those of one place differ in seeds alone."""
    import reports
    from bench.scoring.cells import sized
    from reports.parts.models import model_names

    traced = [run for run in store.runs() if "step" in run.record.trace and len(run.record.trace) > 1]
    runs = [run for run in traced if sized(run)]
    names = model_names((run.record.model, run.record.graph) for run in runs)
    places = []
    for run in runs:
        r = run.record
        given = "" if r.discovery_ablation == r.ablation else f"found under {r.discovery_ablation}"
        wordings = "" if r.wordings == "all" else r.wordings
        model = names.get((r.model, r.graph), r.model)
        places.append((model, r.ablation, given, f"{r.n_discovery} prompts", wordings, run.source))
    several = [len(set(values)) > 1 for values in zip(*places, strict=True)]
    found = []
    for run, place in zip(runs, places, strict=True):
        told = [part for part, differs in zip(place, several, strict=True) if differs and part]
        title = " · ".join([run.record.task, *told])
        found.append(reports.Training(run.record.method, run.record.params, title, run.record.trace))
    return sorted(found, key=lambda training: (training.method, training.params, training.place))


def show_leaderboard(folder: Path, warning: str = "") -> None:
    """Prints the table of a folder that `write_report` wrote, and where to find more."""
    import pandas as pd

    import reports

    file = folder / "leaderboard.parquet"
    try:
        table = pd.read_parquet(regular(file))
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{file} cannot be read: make it again with circuitmark report {folder}") from error
    _print(reports.terminal_table(table, [asdict(metric) for metric in METRICS], _methods([table])))
    if warning:
        print(warning, file=sys.stderr)
    for name in ("leaderboard.csv", "leaderboard.md", "index.html"):
        print(folder / name)


def compared(
    results: Path, fresh: Path | None = None, variance: bool = False
) -> dict[str, list[dict[str, Any]]]:
    """How the methods of a results folder compare, as `compare --json` prints it.

    Args:
        results: the folder, which may hold several models.
        fresh: another one of the same runs, scored on fresh prompts.
        variance: whether to report what scores vary with.

    Raises:
        UsageError: there is nothing to compare, or `fresh` cannot be compared.
        DamagedFile: a file cannot be read.
    """
    from bench.scoring.cells import cells_of, scored
    from bench.scoring.comparison.crossed import crossed
    from bench.scoring.comparison.fresh import fresh_gaps
    from bench.scoring.comparison.spread import spreads
    from bench.scoring.comparison.stability import stabilities

    store = existing(results)
    circuits = scored(store.runs())
    cells = cells_of(circuits)
    told = {
        **_ahead(cells),
        "crossed": [each.to_json() for each in crossed(cells)],
        "stability": [each.to_json() for each in stabilities(circuits, store)],
    }
    if fresh is not None:
        told["fresh"] = [gap.to_json() for gap in fresh_gaps(store, existing(fresh))]
    if variance:
        told["variance"] = [spread.to_json() for spread in spreads(store.runs())]
        if not told["variance"]:
            raise UsageError(
                f"{results} has no method with two runs on a task that holds templates out: run it with "
                "--data-seeds 3 --method-seeds 3, and again with --model embedded:1 as well"
            )
    if not told["pairs"] and fresh is None and not variance:
        raise UsageError(
            f"{results} has no two methods to compare: run two, besides random circuits, on one task that "
            "holds templates out (ioi, gt, gp)"
        )
    return told


def show_comparison(told: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Prints what `compared` found."""
    import reports

    _print(reports.comparison_terminal(told))


def show_scores(told: Sequence[Mapping[str, Any]]) -> None:
    """Prints what `exchange.scored.score_named` found."""
    import reports

    _print(reports.scores_terminal(told))


def show_recovery(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Prints recoveries, method by program, and where to find more."""
    import reports
    from bench.truth.folds import judge

    metrics = [asdict(metric) for metric in RECOVERY_METRICS]
    _print(reports.recovery_terminal(recovery_frame(rows), metrics, judge(rows)["folds"]))
    for name in ("recovery.csv", "tracr.md", "index.html"):
        print(folder / name)


def _print(what: Any) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(what)
