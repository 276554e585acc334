"""Methods, tasks and programs from entry points (``circuitmark.tasks`` and the like) and users' files.

An entry point has the name of what it loads. A package is imported when that is used or listed.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from bench.errors import UsageError

Thing = TypeVar("Thing")
OURS = "circuitmark"
DIVIDED = ("bench", "methods", "reports")
"""Packages whose modules have moved into subpackages."""


@dataclass(frozen=True)
class Shelf(Generic[Thing]):
    """All things of a kind, by name."""

    word: str
    """What one is called: method, task, program."""
    ours: Callable[[], tuple[Mapping[str, Thing], Mapping[str, str]]]
    """Ours, and those of ours that cannot be imported, with the reason."""
    is_one: Callable[[Any], bool]

    def get(self, name: str) -> Thing | None:
        """The thing of this name; None if there is none.

        Raises:
            UsageError: two packages offer it, or it cannot be imported.
        """
        ours, missing = self.ours()
        entries = self._offered().get(name, ())
        reason = _disputed(name in ours or name in missing, entries) or missing.get(name)
        if not reason and entries:
            thing, reason = self._loaded(entries[0])
            if thing is not None:
                return thing
        if reason:
            raise UsageError(f"the {self.word} '{name}' cannot be used: {reason}")
        return ours.get(name)

    def all(self) -> tuple[dict[str, Thing], dict[str, str]]:
        """All that can be used, ours first, and those that cannot, with the reason."""
        ours, missing = self.ours()
        found, unusable = dict(ours), dict(missing)
        for name, entries in self._offered().items():
            reason = _disputed(name in ours or name in missing, entries)
            thing = None
            if not reason:
                thing, reason = self._loaded(entries[0])
            if thing is not None:
                found[name] = thing
            else:
                found.pop(name, None)
                unusable[name] = reason
        return found, unusable

    def names(self) -> set[str]:
        """Every known name, usable or not; only our own modules are imported for it."""
        ours, missing = self.ours()
        return {*ours, *missing, *self._offered()}

    def _offered(self) -> Mapping[str, tuple[metadata.EntryPoint, ...]]:
        return _entry_points(f"{OURS}.{self.word}s", tuple(sys.path))

    def _loaded(self, entry: metadata.EntryPoint) -> tuple[Thing | None, str]:
        """What an entry point loads, or why it cannot be used."""
        try:
            thing: Any = entry.load()
        except (Exception, SystemExit) as error:  # whatever one package does on import, the others must work
            said = " ".join(str(error).split())
            return None, f"{_owner(entry)} cannot be imported: {type(error).__name__}: {said}"
        if not self.is_one(thing):
            return None, f"{_owner(entry)} offers {entry.value} under that name, which is not a {self.word}"
        if thing.name != entry.name:
            return (
                None,
                f"{_owner(entry)} offers the {self.word} '{thing.name}' under this name: "
                "rename the entry point",
            )
        return thing, ""


@cache
def _entry_points(group: str, path: tuple[str, ...]) -> Mapping[str, tuple[metadata.EntryPoint, ...]]:
    """By name, ordered by package; `path` decides what is installed, and is here for the cache alone."""
    found: dict[str, tuple[metadata.EntryPoint, ...]] = {}
    for entry in sorted(metadata.entry_points(group=group), key=lambda e: (e.name, _owner(e))):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def _disputed(ours: bool, entries: tuple[metadata.EntryPoint, ...]) -> str:
    """The reason if a name is offered twice; otherwise empty."""
    owners = [OURS] * ours + [_owner(entry) for entry in entries]
    if len(owners) < 2:
        return ""
    return f"{' and '.join(owners)} offer the same name: uninstall one of them, or have it renamed"


def _owner(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module


def imported(path: Path, what: str) -> ModuleType:
    """The module of a user's file.

    Raises:
        UsageError: there is no such file, or importing it fails.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}{nearest(path)}: name a Python file that defines {what}")
    return _executed(path.resolve(), path.stat().st_mtime_ns, path)


@cache
def _executed(path: Path, modified: int, named: Path) -> ModuleType:
    """Executes a user's file once, and again after it has been `modified`."""
    place = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]  # another folder's file may have the same name
    spec = importlib.util.spec_from_file_location(f"circuitmark_plugin_{path.stem}_{place}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))  # it may import its neighbours
    folder = os.getcwd()
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if missing and (moved := _moved(missing)):
            raise UsageError(f"{named} imports {missing}, which is now {moved}: change the import") from error
        raise UsageError(f"{named} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
        os.chdir(folder)  # a plugin must not change where results go
    return module


def _moved(name: str) -> str | None:
    """The new name of a module of ours that once was at the top of its room."""
    room, _, last = name.partition(".")
    if room not in DIVIDED or not last:
        return None
    package = importlib.import_module(room)
    found = pkgutil.walk_packages(package.__path__, f"{room}.")
    return next((m.name for m in found if m.name.rpartition(".")[2] == last), None)


def nearest(file: Path) -> str:
    """A hint for a missing file: the most similar name beside it, if there is one."""
    others = [other.name for other in file.parent.glob("*")] if file.parent.is_dir() else []
    near = difflib.get_close_matches(file.name, others, n=1)
    return f"; did you mean '{file.parent / near[0]}'?" if near else ""
