"""The commands `circuitmark compare`, `report`, `rescore` and `pack`, on stored results. A thin layer."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.errors import UsageError
from bench.terminal import results_alone

app = typer.Typer()

Folder = Annotated[Path, typer.Argument(help="A folder that `circuitmark run` wrote.")]


@app.command()
def compare(
    results: Folder,
    fresh: Annotated[
        Path | None,
        typer.Option(help="A folder of the same runs on fresh prompts: report what is lost on them."),
    ] = None,
    variance: Annotated[
        bool,
        typer.Option(
            "--variance", help="Also report what scores vary with: models, seeds, templates, prompts."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")] = False,
) -> None:
    """Reports which methods are ahead, and by how much, by paired tests on templates that no method saw."""
    from bench.report import compared, show_comparison

    with results_alone(as_json) as tell:
        told = compared(results, fresh, variance)
        if as_json:
            tell(json.dumps(told, indent=2))
            return
    show_comparison(told)


@app.command()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(help="Folders that `circuitmark run` wrote, or files of `circuitmark pack`."),
    ],
    out: Annotated[Path | None, typer.Option(help="Where to write; RESULTS if left out.")] = None,
    fresh: Annotated[
        Path | None,
        typer.Option(help="A folder of the same runs on fresh prompts: report what is lost on them."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
) -> None:
    """Writes tables, plots and one offline page from stored results; several folders are reported as one.

    Scores of circuits are computed again. If two folders hold the same run, both are shown, with the folders'
    names.
    """
    import webbrowser

    from bench.report import show_leaderboard, show_recovery, write_report
    from bench.store.at_work import reporting
    from bench.store.sources import sources

    if out is None and (len(results) > 1 or results[0].is_file()):
        raise UsageError(
            "a report of several folders, or of a packed file, needs a folder of its own: name it with --out"
        )
    written = out or results[0]
    if len(results) > 1 and written.resolve() in {folder.resolve() for folder in results}:
        raise UsageError(f"{written} is one of the folders that are reported: name another folder with --out")
    with sources(results) as held:
        with reporting(written):
            write_report(held, written, fresh=fresh)
        if held.store is not None:
            show_leaderboard(written, held.unfinished())
        if held.recoveries:
            show_recovery(held.recoveries, written)
    if show and not webbrowser.open((written / "index.html").absolute().as_uri()):
        print(f"no browser is available here: the page is {written / 'index.html'}", file=sys.stderr)


@app.command()
def rescore(results: Folder) -> None:
    """Computes every metric again from the stored raw outputs; no model is run."""
    from bench.report import existing, table_of
    from bench.scoring.leaderboard import write_tables
    from bench.store.at_work import reporting

    with reporting(results):
        write_tables(results, table_of(existing(results), [str(results)]))
    print(results / "leaderboard.csv")


@app.command()
def pack(
    results: Folder,
    out: Annotated[Path | None, typer.Option(help="The file to write; RESULTS.zip if left out.")] = None,
) -> None:
    """Packs a results folder into one file to hand in: raw outputs, circuits and records."""
    from bench.report import of_folder
    from bench.store.pack import is_pack, pack

    of_folder(results)  # refuses an empty folder
    named = results if results.name not in ("", "..") else results.resolve()
    file = out or named.with_name(f"{named.name}.zip")
    if os.path.exists(file) and not is_pack(file):
        raise UsageError(f"{file} already exists and is not a pack: name another file with --out")
    digest = pack(results, file)
    print(f"{file}\nsha256 {digest}")
