"""How stable circuits are, as a table for the terminal: `stability` in `circuitmark compare --json`."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from reports.parts.numbers import DASH, number, share
from reports.parts.terminal import a_table, place_of

Told = Mapping[str, Any]


def stability_table(rows: Sequence[Told]) -> Table:
    """A line per behaviour, method, size and kind of change.

    Args:
        rows: as `circuitmark compare --json` prints them.
    """
    view = a_table(
        "Stability: what circuits share when something that should not matter changes",
        ("behaviour", "method", "over"),
        ("size", "circuits", "Jaccard", "random", "core", "recovered"),
    )  # fmt: skip
    before = None
    for row in rows:
        place = place_of(row)
        if before not in (None, place):
            view.add_section()
        found = "" if row["found_under"] == row["ablation"] else f" found under {row['found_under']}"
        random = DASH if row["jaccard_random"] is None else number(row["jaccard_random"])
        worst, best = (number(row[f"recovered_{end}"]) for end in ("worst", "best"))
        view.add_row(
            escape(place) if place != before else "", escape(row["method"] + found), row["over"],
            share(row["size"]), str(row["circuits"]), number(row["jaccard"]), random, number(row["core"]),
            f"{worst} to {best}",
        )  # fmt: skip
        before = place
    view.caption = (
        "Jaccard: edges in both over edges in either, mean over pairs; random: the same for random connected "
        "circuits; core: edges in all over edges in any; recovered: the worst and the best circuit, on new "
        "templates"
    )
    return view
