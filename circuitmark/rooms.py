"""Finds our packages, the rooms, whose names (`tasks`, `methods`, ...) other packages may have too.

Nothing happens on import, so that tools that merely load circuitmark (pytest loads its plugin in every
project) leave other people's packages alone; call `take` before importing a room.
"""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Sequence
from importlib import resources
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

HOME = Path(str(resources.files("circuitmark"))).resolve().parent
"""The folder that holds circuitmark and its rooms: the checkout, or where packages are installed."""
ROOMS = ("bench", "methods", "tasks", "tracr_ground_truth", "reports")


class _Finder:
    """Finds the rooms in `HOME`, before `sys.path` is searched."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of a room; None for every other module."""
        return PathFinder.find_spec(name, [str(HOME)]) if name in ROOMS else None


def take() -> None:
    """Makes `import tasks` and the like import ours in this process; warns once of what that hides.

    Raises:
        ImportError: another module with a room's name is already imported.
    """
    if any(finder is _Finder for finder in sys.meta_path):
        return
    for room in ROOMS:
        imported = sys.modules.get(room)
        if imported is not None and not _is_ours(room, getattr(imported, "__file__", None)):
            where = getattr(imported, "__file__", None) or "a folder without __init__.py"
            raise ImportError(
                f"circuitmark has a package '{room}', but another module of that name is already imported "
                f"({where}): rename that one, or use circuitmark in a process that does not import it"
            )
    hidden = [f"{room} ({origin})" for room in ROOMS if (origin := _stranger(room))]
    sys.meta_path.insert(0, _Finder)
    if hidden and multiprocessing.current_process().name == "MainProcess":  # a child's parent has warned
        warnings.warn(
            f"circuitmark uses its own packages instead of {', '.join(hidden)}, which cannot be imported "
            "alongside it: rename yours if you need them",
            stacklevel=3,
        )


def _stranger(room: str) -> str | None:
    """Where Python would import a room from, if not from `HOME`."""
    spec = PathFinder.find_spec(room)
    return None if spec is None or _is_ours(room, spec.origin) else spec.origin


def _is_ours(room: str, file: str | None) -> bool:
    return file is not None and Path(file).resolve() == HOME / room / "__init__.py"
