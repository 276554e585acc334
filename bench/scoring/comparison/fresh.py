"""How much worse circuits do on fresh prompts than on the public ones.

A method, or its options, may have been tuned to do well on the public evaluation prompts; its gap is then
above that of the others. The same circuits are compared, on other prompts of the same templates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.errors import MixedSettings, UsageError
from bench.schema import null_for_nan
from bench.scoring.cells import Cell, Entrant, Gaps, Place, Scored, on_several_numbers, scored
from bench.scoring.statistics.behaviours import area
from bench.scoring.statistics.student import NONE, Mean, over_templates
from bench.store.record import Dimensions, Evaluation, Record, names_of, told_apart_by
from bench.store.results import Store

OVER = "other prompts of these templates, in both sets"
"""The circuits stay. For a method that was not tuned, the two sets are equivalent draws, so that the
templates' gaps scatter about 0 with the prompts of both; if gaps differ from template to template, that adds
to their scatter, and the interval errs on the safe side."""
OTHERS = "the two folders hold different circuits"
Where = tuple[Place, Entrant]
"""A method in one place."""


@dataclass(frozen=True)
class Gap:
    """log_gap on fresh prompts minus that on public ones: above 0 if a method does worse on fresh ones."""

    place: Place
    size: float | None
    """Share of edges; None for the area over the logarithm of all sizes."""
    method: str
    difference: Mean
    data_seeds: int
    templates: int
    other: int = 0
    """Circuits left out, as they are not the same in both folders."""

    def to_json(self) -> dict[str, Any]:
        """For other programs; unknown values are null, and `reason` says why."""
        interval = self.difference.interval()
        told: dict[str, Any] = {
            **asdict(self.place), "size": self.size, "method": self.method, "gap": self.difference.value,
            "low": interval.low, "high": interval.high, "over": self.difference.over,
            "data_seeds": self.data_seeds, "templates": self.templates, "other_circuits": self.other,
            "reason": self.difference.reason,
        }  # fmt: skip
        return null_for_nan(told)


def fresh_gaps(public: Store, fresh: Store) -> list[Gap]:
    """All gaps, in the order of places and methods, those over all sizes first.

    Args:
        public: scored on the prompts that everybody is scored on.
        fresh: the same, run with another evaluation seed.

    Raises:
        MixedSettings: their runs cannot be compared, or are on the same prompts.
        UsageError: they have no run in common.
        DamagedFile: a file cannot be read.
    """
    record, ours = _circuits(public)
    again, theirs = _circuits(fresh)
    if record is None or again is None:
        nothing = public if record is None else fresh
        raise UsageError(f"{nothing.folder} holds none of the requested runs: run the same command again")
    _refuse_apart(public, record, fresh, again)
    if not (shared := [key for key in ours if key in theirs]):
        raise UsageError(
            f"{public.folder} and {fresh.folder} have no run in common on a task that holds templates out: "
            "run the same model, methods, seeds and sizes in both"
        )
    cells: dict[Where, Cell] = {}
    other: dict[Where, Counter[float]] = {}
    for key in shared:
        one, two = ours[key], theirs[key]
        where = one.place, one.entrant
        cell = cells.setdefault(where, Cell(null=False))
        left_out = other.setdefault(where, Counter())
        if one.digest is None or (one.digest, one.templates) != (two.digest, two.templates):
            left_out[one.size] += 1
        else:
            cell.gaps[one.size, one.data_seed].append(two.gaps - one.gaps)
            cell.fewest = min(cell.fewest, one.fewest, two.fewest)
    several = on_several_numbers(entrant for _, entrant in cells)
    return [
        gap
        for place, entrant in sorted(cells)
        for name in [entrant.named(place.ablation, entrant.name in several)]
        for gap in _gaps(place, name, cells[place, entrant], other[place, entrant])
    ]


def _circuits(store: Store) -> tuple[Record | None, dict[Any, Scored]]:
    """The record of one of a folder's runs, and its circuits, by all that must be the same to pair them."""
    record, found = None, dict[Any, Scored]()
    for run in store.runs():
        record = run.record
        made_of = (record.model_hash, record.task_code, record.engine)
        for each in scored([run]):
            found[told_apart_by(Dimensions, record), made_of, each.size] = each
    return record, found


def _refuse_apart(public: Store, ours: Record, fresh: Store, theirs: Record) -> None:
    """Refuses folders that cannot be compared, or that were not scored on public and fresh prompts.

    Raises:
        MixedSettings: they are refused.
    """
    if ours.benchmark != theirs.benchmark:
        raise MixedSettings(
            f"{public.folder} holds runs of version {ours.benchmark} of the benchmark, {fresh.folder} of "
            f"version {theirs.benchmark}, which cannot be compared: run both with one version"
        )
    for name in names_of(Evaluation):
        held, other = getattr(ours, name), getattr(theirs, name)
        if name != "evaluation_seed" and held != other:
            raise MixedSettings(
                f"{public.folder} holds runs with {name}={held}, {fresh.folder} with {name}={other}, "
                f"which cannot be compared: run both with the same {name}"
            )
    if ours.evaluation_seed:
        raise MixedSettings(
            f"{public.folder} was scored on fresh prompts: name the folder of the public ones first"
        )
    if not theirs.evaluation_seed:
        raise MixedSettings(
            "both folders were scored on the public prompts: run one with --evaluation-seed 1, or another "
            "number above 0"
        )


def _gaps(place: Place, method: str, cell: Cell, other: Mapping[float, int]) -> Iterator[Gap]:
    """The gaps over all sizes, if there are several, and at each."""
    sizes = sorted({size for size, _ in cell.gaps} | set(other))
    seeds = {size: {seed for each, seed in cell.gaps if each == size} for size in sizes}

    def gap(size: float | None, values: Gaps | None, left_out: int) -> Gap:
        if values is None:
            return Gap(place, size, method, Mean(NONE, NONE, NONE, OVER, OTHERS), 0, 0, left_out)
        mean = over_templates(values.mean(0), cell.fewest, OVER)
        data_seeds, templates = values.shape
        return Gap(place, size, method, mean, data_seeds, templates, left_out)

    if len(sizes) > 1:
        shared = sorted(set.intersection(*seeds.values()))
        whole = area(sizes, np.stack([cell.at(size, shared) for size in sizes], -1)) if shared else None
        yield gap(None, whole, sum(other.values()))
    for size in sizes:
        yield gap(size, cell.at(size, sorted(seeds[size])) if seeds[size] else None, other.get(size, 0))
