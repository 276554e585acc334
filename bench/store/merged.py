"""Several results folders read as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.errors import MixedSettings
from bench.store.record import NULL, Dimensions, Evaluation, Record, names_of, told_apart_by
from bench.store.results import Run, Shown, Store, bounds_of, drawn_once, setting_of, strays

IN = "//"
"""Separates a folder from a stem: no path contains it."""


class Merged(Store):
    """The runs of several folders, each read in place.

    Runs that differ only in seeds are runs of one method, whichever folder holds them. If two folders hold
    the very same run, made on two machines say, both are shown: all runs of that method carry their folder's
    name (`Run.source`). Those of a folder that was handed in always do.
    """

    def __init__(self, folders: Mapping[str, Path], handed_in: Container[str] = ()) -> None:
        """`folders` by name; `handed_in`: names of those that others made."""
        super().__init__(next(iter(folders.values())))
        self._stores = {name: Store(folder) for name, folder in folders.items()}
        self._handed_in = handed_in

    def path(self, stem: str) -> Path:
        """The file of a run."""
        folder, own = stem.rsplit(IN, 1)
        return self._stores[folder].path(own)

    def circuit(self, stem: str, size: float) -> Path:
        """The file of a run's circuit of a requested size."""
        folder, own = stem.rsplit(IN, 1)
        return self._stores[folder].circuit(own, size)

    def asked(self) -> list[str]:
        """Stems of all runs requested in the folders; a job requested in two is one."""
        return sorted({stem for store in self._stores.values() for stem in store.asked()})

    def missing(self) -> list[str]:
        """Stems of requested runs that are in no folder."""
        return [
            stem
            for stem in self.asked()
            if not any(store.path(stem).exists() for store in self._stores.values())
        ]

    def shown(self) -> list[Shown]:
        """As of one folder.

        Raises:
            DamagedFile: one of the files cannot be read.
            MixedSettings: what the folders hold cannot be compared.
        """
        found = self._all()
        _refuse_mixed(found)
        places = _places(found)
        twice = {_but_for_seeds(each.record) for each in found if len(places[_place(each.record)]) > 1}
        return drawn_once(
            each
            if each.source in self._handed_in or _but_for_seeds(each.record) in twice
            else replace(each, source="")
            for each in found
        )

    def runs(self) -> Iterator[Run]:
        """As of one folder; the outputs of full and empty circuits must agree in all.

        Raises:
            DamagedFile: one of the files cannot be read.
            MixedSettings: what the folders hold cannot be compared.
        """
        first: dict[str, Run] = {}
        for run in super().runs():
            other = first.setdefault(setting_of(run.record), run) if run.tensors else run
            if differs := _differs(run, other):
                one, two = (each.stem.rsplit(IN, 1)[0] for each in (run, other))
                task = run.record.task
                raise MixedSettings(
                    f"{differs} not the same in {one} as in {two} ({task}): report each on its own"
                )
            yield run

    def run_again(self) -> tuple[int, int]:
        """Number of runs that were handed in, and how many of them another folder, that was not, ran as well.

        By the same code, with a size in common; random circuits are not counted.
        """
        found = [e for e in self._all() if e.record.status == "ok" and e.record.method != NULL]
        own = [each.record for each in found if each.source not in self._handed_in]
        given = [each.record for each in found if each.source in self._handed_in]
        return len(given), sum(any(map(partial(_is_again, record), own)) for record in given)

    def _all(self) -> list[Shown]:
        return [
            replace(each, stem=f"{name}{IN}{each.stem}", source=name)
            for name, store in self._stores.items()
            for each in store.shown()
        ]


def _differs(one: Run, other: Run) -> str:
    """What differs between two runs of a setting though it should not, in words; empty if nothing does."""
    for name in [each for each in one.tensors if each.startswith("answers.")]:
        if name in other.tensors and not torch.equal(one.tensors[name], other.tensors[name]):
            return "the evaluation prompts are"
    circuit = strays(bounds_of(one), bounds_of(other), one.record.dtype)
    return f"the outputs of the {circuit} circuit are" if circuit else ""


def _is_again(one: Record, other: Record) -> bool:
    same = _place(one) == _place(other) and one.lineage == other.lineage
    return same and one.created != other.created and bool({*one.sizes} & {*other.sizes})


def _places(found: Sequence[Shown]) -> dict[tuple[Any, ...], set[str]]:
    """The folders that hold each run."""
    places: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for each in found:
        places[_place(each.record)].add(each.source)
    return places


def _place(record: Record) -> tuple[Any, ...]:
    return told_apart_by(Dimensions, record)


def _but_for_seeds(record: Record) -> tuple[Any, ...]:
    seeds = ("data_seed", "method_seed")
    return tuple(getattr(record, name) for name in names_of(Dimensions) if name not in seeds)


def _refuse_mixed(found: Sequence[Shown]) -> None:
    """Refuses runs with another evaluation than the first, or another model or task of the same name."""
    stands_for: dict[tuple[str, str], tuple[str, str]] = {}
    for each in found:
        record, first = each.record, found[0]
        for name in names_of(Evaluation):
            held, asked = getattr(record, name), getattr(first.record, name)
            if held != asked:
                raise MixedSettings(
                    f"{each.source} was scored with {name}={held} and {first.source} with {asked}: "
                    "they cannot be compared, so report each on its own"
                )
        for kind, name, code in (
            ("model", record.model, record.model_hash),
            ("task", record.task, record.task_code),
        ):
            if not code:  # of a version that stored none
                continue
            held_code, source = stands_for.setdefault((kind, f"{name} {record.model}"), (code, each.source))
            if code != held_code:
                raise MixedSettings(
                    f"the {kind} '{name}' of {each.source} is not the one of {source} (its files or code "
                    "differ): report each on its own"
                )
