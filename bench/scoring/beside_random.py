"""Columns that compare a circuit with random connected ones of as many edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.scoring.cells import BASELINE
from bench.scoring.evaluate import REFERENCES
from bench.scoring.statistics.circuit_tests import Tested, beside_random

if TYPE_CHECKING:
    import pandas as pd

AT = ("model", "task", "ablation", "graph", "edges_kept")
"""What a circuit has in common with the random ones that it is compared with."""


def with_random(table: pd.DataFrame) -> pd.DataFrame:
    """Adds the margin of complement loss, and the tests against random circuits.

    Complements are judged by their distance to the empty circuit's value, which for complement loss is 1.

    Args:
        table: the leaderboard; rows of full, empty and random circuits are not rated.
    """
    is_baseline = (table["method"] == BASELINE["method"]) & (table["params"] == BASELINE["params"])
    rated = ~is_baseline & ~table["method"].isin(REFERENCES) & table["edges_kept"].notna()
    away, short = table["kl"].fillna(table["squared_error"]), (1 - table["complement_loss"]).abs()
    distances = table[list(AT)].assign(sufficiency=away, necessity=short)
    drawn = dict(iter(distances[is_baseline].groupby(list(AT))))
    tests = [
        _tested(row, drawn.get(tuple(row[name] for name in AT))) for _, row in distances[rated].iterrows()
    ]
    return _with_tests(_with_margin(table, short, is_baseline, rated), rated, tests)


def _with_margin(
    table: pd.DataFrame, short: pd.Series[float], is_baseline: pd.Series[bool], rated: pd.Series[bool]
) -> pd.DataFrame:
    """Adds how much nearer to 1 complement loss is than that of random connected circuits.

    Circuits of as many edges are compared; if none was drawn, the margin is unscored. Its interval is
    Student's, over the random circuits drawn; every method of a size shares this noise.
    """
    from scipy.stats import t

    at = list(AT)
    drawn = table[at].assign(short=short)[is_baseline].groupby(at)["short"]
    beside = table[at].join(drawn.agg(["mean", "sem", "count"]), on=at)
    margin = (beside["mean"] - short).where(rated)
    reach = t.ppf(0.975, beside["count"] - 1) * beside["sem"]
    return table.assign(
        complement_loss_margin=margin,
        complement_loss_margin_low=margin - reach,
        complement_loss_margin_high=margin + reach,
    )


def _tested(row: pd.Series[Any], drawn: pd.DataFrame | None) -> dict[str, Tested]:
    """One circuit's distances compared with those of the random circuits of its size."""
    none = np.empty(0)
    return {
        name: beside_random(float(row[name]), none if drawn is None else drawn[name].to_numpy(float))
        for name in ("sufficiency", "necessity")
    }


def _with_tests(
    table: pd.DataFrame, rated: pd.Series[bool], tests: Sequence[Mapping[str, Tested]]
) -> pd.DataFrame:
    """Adds the p of each test, and to `untested` why one is missing."""
    import pandas as pd

    index = table.index[rated]
    columns = {f"p_{name}": [each[name].p for each in tests] for name in ("sufficiency", "necessity")}
    untested = table["untested"].astype(object)
    for at, each in zip(index, tests, strict=True):
        told = [untested[at], *(f"{name}: {test.reason}" for name, test in each.items() if test.reason)]
        untested[at] = "; ".join(words for words in told if isinstance(words, str) and words)
    found = {name: pd.Series(values, index=index, dtype=float) for name, values in columns.items()}
    return table.assign(**found, untested=untested)
