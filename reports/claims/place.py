"""Where circuits may be compared: on one task, in one model and graph, under one ablation."""

from collections.abc import Iterator

import pandas as pd

PLACE = ["model", "graph", "ablation", "task"]


def places(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows place by place, each with its name: the task, then model and ablation if there are several.

    If a model's edges were counted in several ways, its name says in which.
    """
    several = [name for name in ("model", "ablation") if rows[name].nunique() > 1]
    for _, here in rows.groupby(PLACE, sort=False):
        yield " · ".join(str(here[name].iloc[0]) for name in ("task", *several)), here


def at_home(table: pd.DataFrame) -> "pd.Series[bool]":
    """Which circuits were scored under the ablation that they were discovered under."""
    if "discovery_ablation" not in table.columns:
        return pd.Series(True, table.index)
    return table["discovery_ablation"].isna() | (table["discovery_ablation"] == table["ablation"])


def of_all_wordings(table: pd.DataFrame) -> pd.DataFrame:
    """The table without methods that were shown only half of a task's wordings."""
    if "wordings" not in table.columns:
        return table
    return table[table["wordings"].isna() | table["wordings"].isin(("all", ""))]
