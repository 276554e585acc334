"""Circuits found under one ablation and scored under another, as a table for the terminal."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from reports.parts.numbers import DASH, number
from reports.parts.terminal import a_table

Told = Mapping[str, Any]


def crossed_table(rows: Sequence[Told]) -> Table:
    """A line per behaviour, method and ablation found under, a column per ablation scored under.

    Args:
        rows: as `circuitmark compare --json` prints them.
    """
    scored = list(dict.fromkeys(row["ablation"] for row in rows))
    view = a_table(
        "Found under one ablation, scored under another: KL left, over all sizes, on new templates",
        ("behaviour", "method", "found under"), [f"scored under {name}" for name in scored],
    )  # fmt: skip
    lines: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for row in rows:
        place = " ".join((row["behaviour"], row["model"]))
        lines[place, row["method"], row["found_under"]][row["ablation"]] = _left(row)
    before = ("", "")
    for (place, method, given), cells in sorted(lines.items()):
        if before[0] not in ("", place):
            view.add_section()
        shown = (place if place != before[0] else "", method if (place, method) != before else "", given)
        view.add_row(*map(escape, shown), *(cells.get(name, DASH) for name in scored))
        before = (place, method)
    view.caption = (
        "share of the empty circuit's KL left on the typical template, with its 95 % interval below it, "
        "over " + ", ".join(sorted({row["over"] for row in rows if row["over"]}))
    )
    return view


def _left(row: Told) -> str:
    if row["log_gap"] is None:
        return DASH
    value = number(math.exp(row["log_gap"]))
    if row["low"] is None:
        return value
    return f"{value}\n{number(math.exp(row['low']))} to {number(math.exp(row['high']))}"
