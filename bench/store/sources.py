"""What a report is made of: results folders, and packs that were handed in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.errors import UsageError
from bench.plugins import nearest
from bench.store.merged import Merged
from bench.store.pack import unpacked
from bench.store.recoveries import Row, rows_of
from bench.store.results import Store

RUNS, RECOVERIES = "runs", "tracr"


@dataclass(frozen=True)
class Sources:
    """Results folders by their names in reports; `packs` of them were handed in.

    Raises:
        UsageError: one holds neither runs nor recoveries.
    """

    folders: Mapping[str, Path]
    packs: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name, folder in self.folders.items():
            if not _holds(folder, RUNS) and not _holds(folder, RECOVERIES):
                shown = name if name in self.packs else folder
                if not os.path.exists(folder):
                    raise UsageError(f"there is no folder or file {shown}{nearest(Path(shown))}")
                raise UsageError(f"{shown} holds no results: make some with circuitmark run --out {shown}")

    @cached_property
    def store(self) -> Store | None:
        """The runs of all folders, as of one; None if there are none."""
        run = {name: folder for name, folder in self.folders.items() if _holds(folder, RUNS)}
        return Merged(run, self.packs) if len(run) > 1 else Store(*run.values()) if run else None

    @cached_property
    def recoveries(self) -> list[Row]:
        """The recoveries of all folders; of the same one, that of a folder that was not handed in."""
        return rows_of([self.folders[name] for name in sorted(self.folders, key=self.packs.__contains__)])

    def warnings(self) -> list[str]:
        """What a reader should know first."""
        return [text for text in (self.unfinished(), self._handed_in()) if text]

    def unfinished(self) -> str:
        """How many of the requested jobs are there; empty if all are."""
        if self.store is None or not (missing := len(self.store.missing())):
            return ""
        asked = len(self.store.asked())
        return f"{asked - missing} of {asked} requested jobs are here: the same command runs the others."

    def _handed_in(self) -> str:
        """How many of the runs handed in were run here as well; empty if none were handed in."""
        if not self.packs:
            return ""
        names = ", ".join(sorted(self.packs))
        anew = (
            "Scores of circuits were computed again from raw outputs; recoveries are as they were handed in."
        )
        if not isinstance(self.store, Merged):
            return f"Handed in and not replicated yet: {names}. {anew}"
        handed_in, again = self.store.run_again()
        return f"Handed in: {names}; {again} of {handed_in} runs were also run in another folder here. {anew}"


@contextmanager
def sources(typed: Sequence[Path]) -> Iterator[Sources]:
    """Folders as they are, and packs, unpacked for the time of the context; by name, or by path if two have
    the same name.

    Args:
        typed: folders, and files of `circuitmark pack`.

    Raises:
        DamagedFile: a file is not a pack, or was changed.
        UsageError: as `Sources`.
    """
    with ExitStack() as stack:
        names = {path: path.name for path in typed}
        if len(set(names.values())) < len(names) or "" in names.values():
            names = {path: str(path) for path in typed}
        folders = {name: stack.enter_context(unpacked(p)) if p.is_file() else p for p, name in names.items()}
        yield Sources(folders, frozenset(name for path, name in names.items() if path.is_file()))


def _holds(folder: Path, kind: str) -> bool:
    return any((folder / kind).glob("*.safetensors"))
