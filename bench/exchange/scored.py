"""Circuits from files, scored beside the full model, the empty circuit and nulls of their size.

How they were found, and at what cost, is not known, so they are not ranked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from pathlib import Path
from typing import Any

from bench.discovery.data import PROGRAM_TASK
from bench.engine.circuit import Circuit
from bench.engine.graph import edges_of_share
from bench.errors import UsageError
from bench.exchange.contents import Contents
from bench.exchange.cuts import Level, cut_at, level_of, rankings_of
from bench.exchange.formats import read_circuit
from bench.progress import Progressed
from bench.scoring.evaluate import ABSOLUTE, EMPTY, FULL, ONES, SIGNED
from bench.scoring.metrics import CURVE_SHARES, areas
from bench.study import RANDOM, REWIRED, Study

GRID = CURVE_SHARES[:-1]
"""Shares of the nine circuits of a submission to MIB; the tenth point of its curves is the full model."""
UNION, INTERSECTION = "union", "intersection"
COUNTS = ("edges_kept", "effective_edges", "templates")
Row = dict[str, Any]


@dataclass(frozen=True)
class _Entry:
    """One circuit that is scored."""

    name: str
    circuit: Circuit
    share: float | None = None
    """Of edges or of nodes, at which it is cut from scores."""
    level: Level | None = None
    """Which of the two."""
    ranking: str | None = None
    """By the absolute scores, or with their sign."""


def score_named(
    named: Sequence[Path | str],
    models: Sequence[str],
    tasks: Sequence[str],
    *,
    members: bool = False,
    sets: bool = False,
    random_draws: int = 20,
    **options: Any,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Scores circuits on every combination of some models and tasks, each as `score_circuits` does.

    Args:
        named: files, or names of published circuits.
        models: as `Study` takes them; all of one shape, since a circuit belongs to one.
        tasks: likewise; none if a model brings its own.
        members: as `score_circuits`.
        sets: likewise.
        random_draws: likewise.
        options: other options of `Study`.

    Raises:
        UsageError: as `score_circuits`, and as `Study`.
        ModelError, TaskError: as `Study`.
    """
    found, notes = [], list[str]()
    for model in dict.fromkeys(models):
        for task in dict.fromkeys(tasks) or (None,):
            study = Study(model, task, **options)
            told, notes = score_circuits(study, named, members=members, sets=sets, random_draws=random_draws)
            found.append({"model": model, "task": task or PROGRAM_TASK, **told})
    return found, notes


def score_circuits(
    study: Study,
    named: Sequence[Path | str],
    *,
    members: bool = False,
    sets: bool = False,
    random_draws: int = 20,
    progress: Progressed | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Scores circuits from files: what `circuitmark score --json` prints, and notes for the user.

    A file of scores is cut at the shares of MIB's grid, by the absolute scores and, if some are negative,
    also with their sign. A file of node scores is cut at those shares of the nodes. Nine circuits of at most
    such sizes are taken for a submission to MIB. For all three, the areas under the curve are reported.

    Args:
        study: the model, the task and the ablation.
        named: files in any format, or names of published circuits.
        members: for files that also have scores, scores the circuit instead.
        sets: also scores the union and the intersection of all circuits.
        random_draws: random connected circuits per size.
        progress: is called with the progress.

    Raises:
        UsageError: a file cannot be read, or is of another model.
    """
    read = {str(name): read_circuit(name, study.graph, members=members) for name in named}
    notes = [f"{name}: {note}" for name, contents in read.items() for note in contents.notes]
    entries: list[_Entry] = []
    for name, contents in read.items():
        is_cut = level_of(contents) is not None
        if is_cut:
            entries += _cuts(name, contents)
        else:
            assert contents.circuit is not None
            _refuse_masks(study, name, contents.circuit)
            entries.append(_Entry(name, contents.circuit))
        if is_cut and contents.circuit is not None:
            kept = len(contents.circuit)
            notes.append(
                f"{name}: its scores are cut; --members scores its circuit of {kept:,} edges instead"
            )
    circuits = [entry.circuit for entry in entries if entry.share is None]
    if sets and circuits:
        entries += [_Entry(UNION, reduce(or_, circuits)), _Entry(INTERSECTION, reduce(and_, circuits))]
    table = study.evaluate(
        {i: entry.circuit for i, entry in enumerate(entries)},
        random_draws=random_draws, rewire=True, progress=progress,
    )  # fmt: skip
    rows = [_plain(row) for row in table.drop(columns="isolated").to_dict("records")]
    told = [(row.pop("circuit"), row) for row in rows]
    own, rest = told[: len(entries)], told[len(entries) :]
    random = {row["edges_kept"]: row for kind, row in rest if kind == RANDOM}
    rewired = [row for kind, row in rest if kind == REWIRED]
    scored = [
        {
            "name": entry.name, "share": entry.share, "level": entry.level, "ranking": entry.ranking, **row,
            "forward_equivalents": None, RANDOM: random.get(row["edges_kept"]), REWIRED: null,
        }
        for entry, (_, row), null in zip(entries, own, rewired, strict=True)
    ]  # fmt: skip
    found = {
        "ablation": study.ablation, "graph": study.graph.description, "circuits": scored,
        **{kind: row for kind, row in rest if kind in (FULL, EMPTY, ONES)},
        RANDOM: next((each[RANDOM] for each in scored if each[RANDOM]), None),
        "random_draws": random_draws, "areas": _areas(scored, study.graph.n_edges),
    }  # fmt: skip
    return found, notes


def _refuse_masks(study: Study, name: str, circuit: Circuit) -> None:
    """Refuses masks of weights that the model does not have.

    Raises:
        UsageError: there is one.
    """
    known = study.model.maskable
    for weight, mask in circuit.weights.items():
        if known.get(weight) != mask.shape:
            raise UsageError(f"{name}: it masks {weight} {tuple(mask.shape)}, which this model does not have")


def _cuts(name: str, contents: Contents) -> list[_Entry]:
    """The circuits at every share of MIB's grid, by one ranking or by both."""
    level = level_of(contents)
    return [
        _Entry(name, cut_at(contents, share, ranking), share, level, ranking)
        for ranking in rankings_of(contents)
        for share in GRID
    ]


def _areas(circuits: Sequence[Row], n_edges: int) -> list[Row]:
    """MIB's two areas for every file of scores, and for nine circuit files that fit its grid."""
    found = []
    scored = dict.fromkeys(each["name"] for each in circuits if each["share"] is not None)
    for name in scored:
        absolute, signed = (
            [each["faithfulness"] for each in circuits if (each["name"], each["ranking"]) == (name, ranking)]
            for ranking in (ABSOLUTE, SIGNED)
        )
        found.append({"name": name, **_under(signed or absolute, absolute)})
    files = [each for each in circuits if each["share"] is None and each["name"] not in (UNION, INTERSECTION)]
    files = sorted(files, key=lambda each: each["edges_kept"])
    fits = all(
        each["edges_kept"] <= edges_of_share(n_edges, share) for each, share in zip(files, GRID, strict=False)
    )
    if len(files) == len(GRID) and fits:
        shares = [each["faithfulness"] for each in files]
        found.append({"name": f"the {len(GRID)} circuits on MIB's grid", **_under(shares, shares)})
    return found


def _under(signed: Sequence[float | None], absolute: Sequence[float | None]) -> Row:
    """CPR is of the signed ranking, CMD of the absolute one, as in MIB; the last point is the full model."""
    shares = CURVE_SHARES
    one, other = (
        areas(shares, [*(math.nan if y is None else y for y in points), 1.0], [math.nan] * len(shares))
        for points in (signed, absolute)
    )
    return _plain({n: (other if n.startswith("cmd") else one)[n] for n in one if n != "acc_auc"})


def _plain(row: Mapping[Any, Any]) -> Row:
    """With None for NaN, and with counts as integers again where the table made them floats."""

    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return None if math.isnan(value) else value
        return value

    counts = {name: int(row[name]) for name in COUNTS if name in row and float(row[name]).is_integer()}
    return {str(name): plain(value) for name, value in row.items()} | counts
