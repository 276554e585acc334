"""The long table, seeds folded: one `Entry` per model, graph, ablation, task, method and size.

An entry holds the mean over seeds of every numeric column, its spread, and how many seeds were
scored. It does not average over sizes, tasks or ablations.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from reports.parts.methods import Methods, label_of
from reports.parts.metric import Metrics

REFERENCES = ("empty", "full", "ones")
"""Circuits that every method is read against; they are shown, never ranked.

The last one is the full model run under a mask that keeps every edge: what it is off is rounding."""

_TEXT = ("model", "graph", "ablation", "task", "method", "params")
_APART = ("objective", "n_discovery")
"""Columns of which several values make a method several."""
_REQUIRED = ("model", "task", "method", "size_requested")


class Setting(NamedTuple):
    """What must be equal before two circuits may be compared."""

    model: str
    graph: str
    ablation: str


@dataclass(frozen=True)
class Stat:
    """A value over seeds: mean and sample standard deviation of those scored, and how many were.

    `whole`: every scored value was an integer, so the column may be a count.
    """

    mean: float = math.nan
    spread: float = math.nan
    scored: int = 0
    runs: int = 0
    whole: bool = False


@dataclass(frozen=True)
class Entry:
    """One method at one size on one task; `size` is the share of edges asked for, NaN for its own."""

    setting: Setting
    task: str
    method: str
    params: str
    size: float
    stats: dict[str, Stat]

    @property
    def label(self) -> str:
        """The method with its parameters."""
        return label_of(self.method, self.params)

    @property
    def is_reference(self) -> bool:
        """Whether this is the full circuit, as it is or as a mask of ones, or the empty one."""
        return self.method in REFERENCES

    @property
    def is_oversize(self) -> bool:
        """Whether a circuit has more edges than were asked for: it is shown, and competes with nobody."""
        return self.value("oversize") > 0

    def stat(self, name: str) -> Stat:
        """The column `name`; unscored when the table has no such column."""
        return self.stats.get(name, Stat())

    def value(self, name: str) -> float:
        """The mean over seeds of column `name`, NaN when unscored."""
        return self.stat(name).mean


def tidy(table: pd.DataFrame, metrics: Metrics) -> pd.DataFrame:
    """A checked copy: missing texts are empty, metrics are floats, sizes are rounded to 1e-9.

    Raises:
        ValueError: no rows, a required column is missing, or a metric holds something that is no number.
    """
    if table.empty:
        raise ValueError("the leaderboard has no rows: nothing to report")
    if missing := [name for name in _REQUIRED if name not in table.columns]:
        raise ValueError(f"the leaderboard lacks the column {missing[0]!r}")
    table = table.reset_index(drop=True)
    for name in (*_TEXT, "objective", "status", "status_reason"):
        column = table[name] if name in table.columns else pd.Series("", index=table.index, dtype=object)
        table[name] = column.astype(object).where(column.notna(), "").astype(str)
    table["status"] = table["status"].replace("", "ok")
    # A column in which nothing was scored arrives as None objects, which are no numbers to pandas.
    numeric = {*metrics, "oversize"}
    for name in [name for name in table.columns if name in numeric or table[name].isna().all()]:
        try:
            table[name] = pd.to_numeric(table[name]).astype(float)
        except (TypeError, ValueError):
            raise ValueError(f"the leaderboard's column {name!r} holds something that is no number") from None
    for name in ("n_discovery", "data_seed", "method_seed"):
        if name in table.columns:
            table[name] = pd.to_numeric(table[name])
    table["size_requested"] = pd.to_numeric(table["size_requested"]).astype(float).round(9)
    table["own_params"] = table["params"]
    for name in _APART:
        if name in table.columns:
            known = table[name].where(table[name].notna() & (table[name] != ""))
            table = _name_apart(table, name, known.groupby(table["method"]).transform("nunique") > 1)
    if "discovery_ablation" in table.columns:
        table = _name_apart(table, "discovery_ablation", table["discovery_ablation"] != table["ablation"])
    return table


def _name_apart(table: pd.DataFrame, name: str, which: "pd.Series[bool]") -> pd.DataFrame:
    """Where a method ran under several values of a column, it joins the parameters: they must not mix."""
    known = table[name].where(table[name].notna() & (table[name] != ""))
    several = which & known.notna()
    named = known.map(lambda value: f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}")
    joined = named.where(table["params"] == "", table["params"] + ", " + named)
    table["params"] = table["params"].where(~several, joined)
    return table


def contenders(table: pd.DataFrame, methods: Methods) -> pd.DataFrame:
    """Rows that ended ok, of circuits that compete: no references, none random or oversize."""
    table = as_asked(table)
    return table[(table["status"] == "ok") & ~table["method"].isin((*REFERENCES, methods.baseline))]


def as_asked(table: pd.DataFrame) -> pd.DataFrame:
    """Rows but those of circuits with more edges than were asked for."""
    return table[~(table["oversize"] > 0)] if "oversize" in table.columns else table


def fold_seeds(table: pd.DataFrame) -> list[Entry]:
    """Entries of the rows that ended ok, smallest size first, in a tidy table's order otherwise."""
    table = table[table["status"] == "ok"]
    told = ("data_seed", "method_seed", "size_requested")
    numeric = [name for name in table.select_dtypes("number").columns if name not in told]
    entries = []
    for key, group in table.groupby([*_TEXT, "size_requested"], dropna=False, sort=False):
        model, graph, ablation, task, method, params = map(str, key[:-1])
        size = float(group["size_requested"].iloc[0])
        stats = {name: _stat(group[name]) for name in numeric}
        entries.append(Entry(Setting(model, graph, ablation), task, method, params, size, stats))
    return sorted(entries, key=lambda entry: (math.isnan(entry.size), entry.size))


def _stat(values: "pd.Series[float]") -> Stat:
    scored = values.dropna()
    spread = float(scored.std()) if len(scored) > 1 else math.nan
    mean = float(scored.mean()) if len(scored) else math.nan
    return Stat(mean, spread, len(scored), len(values), bool((scored % 1 == 0).all()))


def by_task(entries: Iterable[Entry]) -> dict[tuple[Setting, str], list[Entry]]:
    """Entries grouped by setting and task, in order of first appearance by name."""
    groups: dict[tuple[Setting, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.setting, entry.task), []).append(entry)
    return dict(sorted(groups.items()))
