"""The commands `circuitmark score`, `convert` and `draw`, on circuit files. A thin layer, like `cli.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.terminal import results_alone

app = typer.Typer()


@app.command()
def score(
    circuit: Annotated[list[str], typer.Argument(help="Files in any format, or published:NAME.")],
    model: Annotated[
        list[str] | None, typer.Option(help="See `circuitmark list models`. May be repeated.")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("-t", "--task", help="May be repeated; a compiled program brings its own."),
    ] = None,
    revision: Annotated[str, typer.Option(help="For a hub's model: a branch, tag or commit.")] = "",
    ablation: Annotated[str, typer.Option(help="resample, zero, zero_with_bias or mean.")] = "resample",
    kv: Annotated[str, typer.Option(help="per_group or per_head, as for run.")] = "per_group",
    members: Annotated[
        bool, typer.Option("--members", help="From files that hold both, take the circuit, not the scores.")
    ] = False,
    sets: Annotated[bool, typer.Option("--sets", help="Also score their union and intersection.")] = False,
    random_draws: Annotated[int, typer.Option(min=0, help="Number of random circuits of each size.")] = 20,
    dtype: Annotated[str, typer.Option(help="float32, float64 or bfloat16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")] = False,
) -> None:
    """Scores circuit files, beside the full model, the empty circuit and random circuits of the same size.

    A file of scores is cut at the shares of MIB's grid. With several tasks or models the result is a matrix.
    """
    from bench.exchange.scored import score_named
    from bench.report import show_scores

    with results_alone(as_json) as tell:
        told, notes = score_named(
            circuit, model or ["embedded"], task or [], revision=revision, ablation=ablation, kv=kv,
            members=members, sets=sets, random_draws=random_draws, dtype=dtype, device=device,
        )  # fmt: skip
        for line in notes:
            print(line, file=sys.stderr)
        if as_json:
            tell(json.dumps(told[0] if len(told) == 1 else {"scores": told}, indent=2))
            return
    show_scores(told)


@app.command()
def convert(
    circuit: Annotated[str, typer.Argument(help="A file in any format, or published:NAME.")],
    out: Annotated[Path, typer.Argument(help="The file to write; its ending selects the format.")],
    to: Annotated[
        str | None, typer.Option(help="The format: circuitmark, mib-json, mib-pt, list, autocircuit or acdc.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model it belongs to, if the file does not say.")
    ] = None,
    revision: Annotated[str, typer.Option(help="For a hub's model: a branch, tag or commit.")] = "",
    kv: Annotated[str | None, typer.Option(help="per_group or per_head, as for run.")] = None,
    members: Annotated[
        bool, typer.Option("--members", help="From a file that holds both, take the circuit, not the scores.")
    ] = False,
) -> None:
    """Converts a circuit, or scores, to another format. Existing files are not overwritten."""
    from bench.exchange.convert import convert

    print(convert(circuit, out, to=to, model=model, revision=revision, kv=kv, members=members))


@app.command()
def draw(
    circuit: Annotated[list[str], typer.Argument(help="One or two files in any format, or published:NAME.")],
    out: Annotated[
        Path | None, typer.Option(help="A .svg, .png, .pdf or .json file. [default: NAME.svg]")
    ] = None,
    share: Annotated[
        str | None, typer.Option(help="Share of the edges at which scores are cut, e.g. 5%.")
    ] = None,
    name: Annotated[list[str] | None, typer.Option(help="Name of a circuit; give it once for each.")] = None,
    title: Annotated[str, typer.Option(help="Title of the picture; the circuits' names if left out.")] = "",
    model: Annotated[
        str | None, typer.Option(help="The model it belongs to, if the file does not say.")
    ] = None,
    revision: Annotated[str, typer.Option(help="For a hub's model: a branch, tag or commit.")] = "",
    kv: Annotated[str, typer.Option(help="per_group or per_head, as for run.")] = "per_group",
    members: Annotated[
        bool, typer.Option("--members", help="From files that hold both, take the circuit, not the scores.")
    ] = False,
) -> None:
    """Draws a circuit, or two in one picture that shows what they share. Existing files are not overwritten.

    Up to 300 edges, each edge is a line; beyond that, the picture shows how many edges each head and MLP
    reads and writes.
    """
    from bench.exchange.drawn import draw

    told = draw(
        circuit, out, names=name or (), share=share, title=title, model=model, revision=revision, kv=kv,
        members=members,
    )  # fmt: skip
    print(told)
