"""Tables for the terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table


def place_of(told: Mapping[str, Any]) -> str:
    """Where methods are compared: behaviour, model and ablation, and what is pruned if not only edges.

    Args:
        told: a line of `circuitmark compare --json`; one over all behaviours names none.
    """
    parts = [told.get("behaviour", ""), told["model"], told["ablation"], told.get("pruned", "")]
    return " ".join(part for part in parts if part not in ("", "edges"))


def a_table(title: str, texts: Iterable[str], numbers: Iterable[str]) -> Table:
    """An empty table.

    Args:
        title: title above it.
        texts: left-aligned columns, which come first.
        numbers: right-aligned columns, after them.
    """
    view = Table(title=title)
    for name in texts:
        view.add_column(name)
    for name in numbers:
        view.add_column(name, justify="right")
    return view
