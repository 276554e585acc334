"""The runs last requested in a results folder: what its tables show, and what is still to come.

Of runs with the same `Dimensions`, those requested last are shown, independent of clocks and of the order in
which jobs end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.errors import DamagedFile
from bench.files import read_text, write_atomically
from bench.schema import read
from bench.store.keys import key_of
from bench.store.record import Dimensions, told_apart_by

FILE = "asked.json"
MOST_BYTES = 2**26


@dataclass(frozen=True)
class Place:
    """The runs requested for one place in a folder's tables."""

    lineage: str
    """Shared by the runs there, which differ in their sizes alone."""
    stems: tuple[str, ...]
    """Oldest first."""


@dataclass(frozen=True)
class _Asked:
    places: Mapping[str, Place]


def place_of(told: Dimensions) -> str:
    """A short name of a place in the tables."""
    return key_of([*map(str, told_apart_by(Dimensions, told))])


def read_asked(folder: Path) -> dict[str, Place]:
    """Requested runs by the name of their place; empty if nothing has been requested.

    Raises:
        DamagedFile: the file is not one of ours.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        return dict(read(_Asked, {"places": json.loads(read_text(path, MOST_BYTES))}).places)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(
            f"{path} is not a list of requested runs ({error}): move it away; the same command remakes it"
        ) from error


def ask(folder: Path, wanted: Iterable[tuple[Dimensions, str, str]]) -> None:
    """Records what is requested now; called under the folder's lock.

    Args:
        folder: the results folder.
        wanted: dimensions, lineage and stem of each run.
    """
    before = read_asked(folder)
    places = dict(before)
    for told, lineage, stem in wanted:
        name = place_of(told)
        held = places.get(name)
        earlier = held.stems if held is not None and held.lineage == lineage else ()
        places[name] = Place(lineage, (*(each for each in earlier if each != stem), stem))
    if places != before:
        stored = {name: asdict(place) for name, place in sorted(places.items())}
        write_atomically(folder / FILE, json.dumps(stored, indent=1).encode())
