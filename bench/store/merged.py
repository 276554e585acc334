"""Several results folders read as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import MixedSettings
from bench.store.record import Dimensions, Evaluation, Record, names_of, told_apart_by
from bench.store.results import Shown, Store

IN = "//"
"""Between a folder and a stem: no path has it."""


class Merged(Store):
    """The runs of several folders, each read where it lies.

    Runs of a method that differ by their seeds alone are runs of one method, whichever folder holds them.
    Where two folders hold the very same run, made on two machines say, both are shown: all runs of that
    method bear their folder's name (`Run.source`). So do, always, those of a folder that was handed in.
    """

    def __init__(self, folders: Mapping[str, Path], handed_in: Container[str] = ()) -> None:
        """`folders` by name; `handed_in`: names of those that somebody else made."""
        super().__init__(next(iter(folders.values())))
        self._stores = {name: Store(folder) for name, folder in folders.items()}
        self._handed_in = handed_in

    def path(self, stem: str) -> Path:
        """The file of a run."""
        folder, own = stem.split(IN)
        return self._stores[folder].path(own)

    def circuit(self, stem: str, size: float) -> Path:
        """The file of a run's circuit of a size asked for."""
        folder, own = stem.split(IN)
        return self._stores[folder].circuit(own, size)

    def asked(self) -> list[str]:
        """Stems of all runs that the folders were asked for."""
        return [f"{name}{IN}{stem}" for name, store in self._stores.items() for stem in store.asked()]

    def missing(self) -> list[str]:
        """Stems of runs that were asked for and are not there."""
        return [f"{name}{IN}{stem}" for name, store in self._stores.items() for stem in store.missing()]

    def shown(self) -> list[Shown]:
        """As of one folder.

        Raises:
            DamagedFile: one of the files cannot be read.
            MixedSettings: what the folders hold does not compare.
        """
        found = self._all()
        _refuse_mixed(found)
        places = _places(found)
        twice = {_but_for_seeds(each.record) for each in found if len(places[_place(each.record)]) > 1}
        return [
            each
            if each.source in self._handed_in or _but_for_seeds(each.record) in twice
            else replace(each, source="")
            for each in found
        ]

    def replicated(self) -> tuple[int, int]:
        """Runs that were handed in, and how many of them another folder, that was not, holds as well."""
        found = self._all()
        places = _places(found)
        given = [each for each in found if each.source in self._handed_in]
        again = [e for e in given if any(s not in self._handed_in for s in places[_place(e.record)])]
        return len(given), len(again)

    def _all(self) -> list[Shown]:
        return [
            replace(each, stem=f"{name}{IN}{each.stem}", source=name)
            for name, store in self._stores.items()
            for each in store.shown()
        ]


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
    """Holds all runs to the first one's evaluation, and models and tasks of a name to what the first was."""
    stands_for: dict[tuple[str, str], tuple[str, str]] = {}
    for each in found:
        record, first = each.record, found[0]
        for name in names_of(Evaluation):
            held, asked = getattr(record, name), getattr(first.record, name)
            if held != asked:
                raise MixedSettings(
                    f"{each.source} was scored with {name}={held} and {first.source} with {asked}: "
                    "they do not compare, so report each on its own"
                )
        for kind, name, code in (
            ("model", record.model, record.model_hash),
            ("task", record.task, record.task_code),
        ):
            held_code, source = stands_for.setdefault((kind, f"{name} {record.model}"), (code, each.source))
            if code and held_code and code != held_code:
                raise MixedSettings(
                    f"the {kind} '{name}' of {each.source} is another than that of {source} (its files or "
                    "code differ): report each on its own"
                )
