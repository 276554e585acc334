"""Whether the order of methods depends on the ablation: a table for the terminal, sentences for pages."""

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
    """A line per pair of ablations: in how many cells ranked under both, two methods change their order.

    Args:
        turnovers: as `circuitmark compare --json` prints them.
    """
    view = a_table(
        "Turnovers: pairs of methods whose order differs between two ablations",
        ("model", "ablations", "circuits", "over"), ("cells", "turned", "opposite", "seeds disagree"),
    )  # fmt: skip
    for place, group in _groups(turnovers).items():
        view.add_row(*map(escape, place), *_counts(group))
    turned = [told for told in turnovers if told["turns"] and told["size"] is None]
    named = "; ".join(map(_named, turned))
    view.caption = (
        "cells: pairs of methods on a behaviour that are ranked under both ablations; turned: each is "
        "ahead under one of the two, both times with Holm's p below 0.05; opposite: the signs differ; "
        "seeds disagree: how often two data seeds of one ablation differ in sign"
        + (f"; over all sizes, {plural(len(turned), 'pair')} turned: {escape(named)}" if turned else "")
    )
    return view


def turnover_sentences(turnovers: Sequence[Told]) -> list[str]:
    """A sentence per pair of ablations, by the area over all sizes; then one for each pair that turned.

    Args:
        turnovers: as `circuitmark compare --json` prints them.
    """
    whole = [told for told in turnovers if told["size"] is None] or list(turnovers)
    sentences = []
    for (model, ablations, kind, over), group in _groups(whole).items():
        cells, turned, opposite, flips = _counts(group)
        sentences.append(
            f"{model}: between {ablations}, with circuits {kind}, over {over}, {cells} pairs of methods on a "
            f"behaviour are ranked under both; {turned} turned, {opposite} have opposite signs, and two "
            f"data seeds of one ablation differ in sign in {flips} of cases."
        )
    return sentences + [f"Turned: {_named(told)}." for told in whole if told["turns"]]


def _groups(turnovers: Sequence[Told]) -> dict[tuple[str, ...], list[Told]]:
    """By model, ablations, how circuits were found, and what the comparison is over."""
    groups: dict[tuple[str, ...], list[Told]] = defaultdict(list)
    for told in turnovers:
        one, other = told["one"], told["other"]
        kind = told["kind"] if told["kind"] == "found as scored" else f"found under {one['found_under']}"
        over = "all sizes" if told["size"] is None else "single sizes"
        groups[told["model"], f"{one['ablation']} and {other['ablation']}", kind, over].append(told)
    return groups


def _counts(group: Sequence[Told]) -> tuple[str, str, str, str]:
    """Cells ranked under both, how many turned or have opposite signs, and how often seeds disagree."""
    ranking = [told for told in group if told["turns"] is not None]
    sides = [told[side]["seed_flips"] for told in ranking for side in ("one", "other")]
    flips = [rate for rate in sides if rate is not None]
    return (
        f"{len(ranking)} of {len(group)}",
        _share([told["turns"] for told in ranking]),
        _share([told["opposite"] for told in ranking]),
        share(fmean(flips)) if flips else DASH,
    )


def _named(told: Told) -> str:
    one, other = (f"{told[side]['verdict']} under {told[side]['ablation']}" for side in ("one", "other"))
    return f"{told['behaviour']}, {told['a']} (a) and {told['b']} (b): {one}, {other}"


def _share(ones: Sequence[bool]) -> str:
    return f"{sum(ones)} ({share(fmean(ones))})" if ones else DASH
