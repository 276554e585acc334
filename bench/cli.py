"""The command `circuitmark`. Thin: it reads the words typed and calls the rooms.

Torch and the rooms are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

    from bench.experiment import Experiment, Job
    from bench.results import Store

app = typer.Typer(
    name="circuitmark",
    help="A benchmark for circuit discovery in transformer language models.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

QUICK = ("random_edges", "eap", "eap_ig")

Folder = Annotated[Path, typer.Argument(help="A folder that `circuitmark run` wrote.")]


def run_app() -> None:
    """Runs the command; a user's mistake becomes one line and an exit code, never a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        _fail("stopped; what was finished is kept: run the same command again to go on", 130)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        _fail(str(error), code)


def _exit_code(error: Exception) -> int | None:
    """2 for what was typed wrongly, 1 for what went wrong, None for our own faults."""
    kind = {cls.__name__ for cls in type(error).__mro__}
    if kind & {"UsageError", "ModelError", "TaskError", "MixedSettings"}:
        return 2
    return 1 if kind & {"DamagedFile", "UnwritableFolder", "BusyFolder", "BrokenProcessPool"} else None


def _fail(message: str, code: int) -> None:
    print(f"circuitmark: {message}", file=sys.stderr)
    sys.exit(code)


class Kind(StrEnum):
    """What can be listed."""

    methods = "methods"
    tasks = "tasks"
    models = "models"
    metrics = "metrics"


@app.command()
def run(
    method: Annotated[
        list[str] | None,
        typer.Option(
            "-m", "--method", help="NAME or FILE.py, with options: eap_ig:steps=10. May be repeated."
        ),
    ] = None,
    task: Annotated[list[str] | None, typer.Option("-t", "--task", help="May be repeated.")] = None,
    model: Annotated[str | None, typer.Option(help="embedded, a Hugging Face folder, or a hub name.")] = None,
    ablation: Annotated[str | None, typer.Option(help="resample, zero or mean.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs per method, the discovery data redrawn.")] = None,
    sizes: Annotated[str | None, typer.Option(help="Shares of edges kept, e.g. 1%,5%,20%.")] = None,
    jobs: Annotated[int, typer.Option("-j", min=1, help="Processes; 1 stays in this one.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each job.")] = 1,
    out: Annotated[Path, typer.Option(help="Where results go.")] = Path("results"),
    quick: Annotated[bool, typer.Option("--quick", help=f"Only {', '.join(QUICK)}, drawn once.")] = False,
    config: Annotated[Path | None, typer.Option(help="A YAML file; options typed here win over it.")] = None,
) -> None:
    """Runs methods on tasks, scores every circuit, and writes the leaderboard.

    The same command again does nothing; after an interruption it goes on where it stopped.
    """
    from bench.experiment import Experiment

    experiment = Experiment.from_file(config) if config else Experiment()
    chosen: dict[str, Any] = {
        "methods": QUICK if quick and not method else method,
        "tasks": task,
        "model": model,
        "ablation": ablation,
        "seeds": seeds,
        "sizes": sizes.split(",") if sizes is not None else None,
        "random_draws": 1 if quick else None,
    }
    typed: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in chosen.items()
        if value is not None
    }
    experiment = replace(experiment, **typed)
    if not _run_jobs(experiment, out, jobs, threads, refuse_unfit=bool(task)):
        sys.exit(1)


def _run_jobs(experiment: Experiment, out: Path, n: int, threads: int, refuse_unfit: bool) -> bool:
    """Runs what is not finished and reports; False when a job failed."""
    from bench.progress import ProgressDisplay
    from bench.results import Store, sole_user

    jobs = experiment.jobs()
    store = Store(out)
    store.check_setting(asdict(jobs[0]), jobs[0].model_name, jobs[0].model_hash)
    open_jobs = [job for job in jobs if not store.finished(job.stem)]
    if open_jobs and refuse_unfit:
        _try_tasks(open_jobs)
    statuses = []
    with sole_user(out):
        store.confirm(job.stem for job in jobs if job not in open_jobs)
        if open_jobs:
            from bench import executors

            with ProgressDisplay(len(jobs), len(jobs) - len(open_jobs)) as display:
                ended = (
                    executors.run_here(open_jobs, out, threads, display.within)
                    if n == 1
                    else executors.run_in_processes(open_jobs, out, threads, n)
                )
                for job, status in ended:
                    statuses.append(status)
                    display.ended(f"{job.task} {job.method} seed {job.seed}: {status}")
        else:
            print(f"all {len(jobs)} jobs are finished already", file=sys.stderr)
        if not store.is_reported():
            _write_report(store, out)
        _show(store)
    return "failed" not in statuses


def _try_tasks(jobs: list[Job]) -> None:
    """Refuses, before anything is written, a task named by the user that the model cannot carry."""
    from bench.models.load import load_model
    from bench.names import UsageError, get_task
    from tasks.base import TaskError

    for task in dict.fromkeys(job.task for job in jobs):
        model = load_model(jobs[0].model, jobs[0].dtype)
        for split, n in (("discovery", jobs[0].n_discovery), ("evaluation", jobs[0].n_evaluation)):
            try:
                get_task(task).examples(model.tokenizer, split, n, 0)  # type: ignore[arg-type]
            except TaskError as error:
                raise UsageError(
                    f"the model '{model.name}' cannot do the task '{task}': {error}; "
                    "choose another with -t or --model"
                ) from error


def _nonempty(store: Store) -> pd.DataFrame:
    """The table of a results folder; a usage error when it holds no runs."""
    from bench.leaderboard import leaderboard
    from bench.names import UsageError

    table = leaderboard(store)
    if not len(table):
        raise UsageError(
            f"{store.folder} holds no results: make some with circuitmark run --out {store.folder}"
        )
    return table


def _write_report(store: Store, out: Path) -> None:
    """Writes the leaderboard of a results folder: tables, plots, the page."""
    import reports
    from bench.files import UnwritableFolder
    from bench.leaderboard import write_tables
    from bench.metrics import METRICS

    table = _nonempty(store)
    write_tables(type(store)(out), table)
    try:
        reports.write_report(table, [asdict(metric) for metric in METRICS], out)
    except OSError as error:
        raise UnwritableFolder(
            f"cannot write the report to {out} ({error.strerror or error}): "
            "free some space there or choose another folder with --out"
        ) from error


def _show(store: Store) -> None:
    """Prints the table, and where to find more."""
    import pandas as pd
    from rich.console import Console

    import reports
    from bench.metrics import METRICS

    table = pd.read_parquet(store.folder / "leaderboard.parquet")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(reports.terminal_table(table, [asdict(metric) for metric in METRICS]))
    for name in ("leaderboard.csv", "leaderboard.md", "index.html"):
        print(store.folder / name)


@app.command("list")
def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects with a name.")] = False,
) -> None:
    """Lists methods, tasks, models or metrics."""
    rows = _listed(kind)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        print(f"{row['name']:{width}}  {row['description']}")


def _listed(kind: Kind) -> list[dict[str, Any]]:
    if kind is Kind.tasks:
        from tasks import find_tasks

        return [
            {"name": n, "description": t.description, "version": t.version, "measure": t.measure}
            for n, t in find_tasks().items()
        ]
    if kind is Kind.models:
        from bench.models.load import KNOWN

        return [{"name": name, "description": description} for name, description in KNOWN.items()]
    if kind is Kind.metrics:
        from bench.metrics import METRICS

        return [asdict(metric) for metric in METRICS]
    from bench.names import options_of
    from methods.base import find_methods

    found, missing = find_methods()
    rows: list[dict[str, Any]] = [
        {"name": name, "description": cls.description, "options": options_of(cls)}
        for name, cls in found.items()
    ]
    return rows + [{"name": name, "description": reason, "options": {}} for name, reason in missing.items()]


@app.command()
def report(
    results: Folder,
    out: Annotated[Path | None, typer.Option(help="Where to write; RESULTS if left out.")] = None,
) -> None:
    """Writes tables, plots and one offline page from stored results."""
    store = _existing(results)
    _write_report(store, out or results)
    _show(type(store)(out or results))


@app.command()
def rescore(results: Folder) -> None:
    """Computes every metric again from the stored raw outputs; no model is run."""
    from bench.leaderboard import write_tables

    store = _existing(results)
    write_tables(store, _nonempty(store))
    print(store.folder / "leaderboard.csv")


@app.command()
def cite(method: Annotated[list[str], typer.Argument(help="Names of methods.")]) -> None:
    """Prints BibTeX of the methods named."""
    from bench.names import get_method

    print("\n\n".join(get_method(name).citation for name in method))


def _existing(results: Path) -> Store:
    from bench.names import UsageError
    from bench.results import Store

    if not (results / "runs").is_dir():
        raise UsageError(f"{results} holds no results: make some with circuitmark run --out {results}")
    return Store(results)
