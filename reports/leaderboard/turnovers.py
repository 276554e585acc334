"""Whether orders hang on the ablation, as a table for the terminal."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rich.markup import escape
from rich.table import Table

from reports.parts.numbers import DASH, plural, share
from reports.parts.terminal import a_table

Told = Mapping[str, Any]


def turnovers_table(turnovers: Sequence[Told]) -> Table:
    """A line per two ablations: of the cells that rank two methods under both, in how many the order differs.

    Args:
        turnovers: as `circuitmark compare --json` tells them.
    """
    view = a_table(
        "Turnovers: orders of two methods that differ between two ablations",
        ("model", "ablations", "circuits", "over"), ("cells", "turned", "opposite", "seeds disagree"),
    )  # fmt: skip
    groups: dict[tuple[str, ...], list[Told]] = defaultdict(list)
    for told in turnovers:
        one, other = told["one"], told["other"]
        kind = told["kind"] if told["kind"] == "found as scored" else f"found under {one['found_under']}"
        over = "all sizes" if told["size"] is None else "a size"
        groups[told["model"], f"{one['ablation']} and {other['ablation']}", kind, over].append(told)
    for place, group in groups.items():
        ranking = [told for told in group if told["turns"] is not None]
        flips = [
            told[side]["seed_flips"]
            for told in ranking
            for side in ("one", "other")
            if told[side]["seed_flips"] is not None
        ]
        view.add_row(
            *map(escape, place), f"{len(ranking)} of {len(group)}",
            _share([told["turns"] for told in ranking]), _share([told["opposite"] for told in ranking]),
            share(fmean(flips)) if flips else DASH,
        )  # fmt: skip
    turned = [told for told in turnovers if told["turns"] and told["size"] is None]
    named = "; ".join(
        f"{told['behaviour']}: {told['a']} and {told['b']} ({told['one']['verdict']} under "
        f"{told['one']['ablation']}, {told['other']['verdict']} under {told['other']['ablation']})"
        for told in turned
    )
    view.caption = (
        "cells: pairs of methods on a behaviour that rank under both ablations; turned: ahead of each other "
        "the other way round, each by Holm's p; opposite: by sign alone; seeds disagree: two data seeds of "
        "one ablation do, by sign alone"
        + (f"; over all sizes {plural(len(turned), 'pair')} turned: {escape(named)}" if turned else "")
    )
    return view


def _share(ones: Sequence[bool]) -> str:
    return f"{sum(ones)} ({share(fmean(ones))})" if ones else DASH
