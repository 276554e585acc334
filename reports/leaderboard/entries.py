"""The long table, seeds folded: one `Entry` per model, graph, ablation, task, method and size.

An entry holds the mean over seeds of every numeric column, its spread, and how many seeds were
scored. It does not average over sizes, tasks or ablations, nor does it average ends of intervals.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from reports.parts.methods import Methods, label_of
from reports.parts.metric import Metrics
from reports.parts.models import Names, model_names

REFERENCES = ("empty", "full", "ones")
"""Circuits that every method is compared with; they are shown, never ranked.

The last one is the full model run under a mask that keeps every edge: any difference from the model is
rounding error."""
ALL_THE_SAME = "all the same"
"""The value of the column `cell` where methods cannot be told apart."""

EDGES = "edges"
"""What most circuits leave out: only edges."""
_TEXT = ("model", "graph", "ablation", "pruned", "task", "method", "params")
_APART = ("n_discovery", "wordings", "source", "discovery_ablation", "objective")
"""What distinguishes a method's runs besides its parameters, in the order of `bench/scoring/cells.py`."""
_REQUIRED = ("model", "task", "method", "size_requested")
_ENDS = ("_low", "_high")
_OF_GROUP = ("complement_loss_margin", "recovered_seeds")
"""Columns whose intervals are over all runs of a method; others are of one run and must not be averaged."""


class Setting(NamedTuple):
    """What must be equal before two circuits may be compared."""

    model: str
    graph: str
    ablation: str
    pruned: str = EDGES
    """What circuits leave out: edges, or weights and edges."""


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
    each: tuple[float, ...] = ()
    """The scored values."""


@dataclass(frozen=True)
class Entry:
    """One method at one size on one task; `size` is the share of edges requested, NaN if unaided."""

    setting: Setting
    task: str
    method: str
    params: str
    size: float
    stats: dict[str, Stat]
    runs: int = 1
    data_seeds: int = 1
    cell: str = ""
    """Whether methods can be told apart at this size; empty if unknown."""

    @property
    def label(self) -> str:
        """The method with its parameters."""
        return label_of(self.method, self.params)

    @property
    def is_reference(self) -> bool:
        """Whether this is the full circuit (as it is or as a mask of ones) or the empty one."""
        return self.method in REFERENCES

    @property
    def is_oversize(self) -> bool:
        """Whether a circuit has more edges than requested: it is shown but does not compete."""
        return self.value("oversize") > 0

    @property
    def is_worse_than_empty(self) -> bool:
        """Whether the empty circuit is nearer to the model, to three decimals: less is rounding error."""
        return self.value("recovered") <= -0.0005

    @property
    def is_all_the_same(self) -> bool:
        """Whether the methods at its size are all the same."""
        return self.cell == ALL_THE_SAME

    def stat(self, name: str) -> Stat:
        """The column `name`; unscored when the table has no such column."""
        return self.stats.get(name, Stat())

    def value(self, name: str) -> float:
        """The mean over seeds of column `name`, NaN when unscored."""
        return self.stat(name).mean

    def shows_runs(self, name: str) -> bool:
        """Whether column `name` was scored in several runs, each of which is shown."""
        return self.stat(name).scored > 1


def tidy(table: pd.DataFrame, metrics: Metrics) -> pd.DataFrame:
    """A checked copy: missing texts are empty, metrics are floats, sizes are rounded to 1e-9.

    Raises:
        ValueError: no rows, a required column is missing, or a metric holds something that is not a number.
    """
    if table.empty:
        raise ValueError("the leaderboard has no rows: nothing to report")
    if missing := [name for name in _REQUIRED if name not in table.columns]:
        raise ValueError(f"the leaderboard lacks the column {missing[0]!r}")
    table = table.reset_index(drop=True).copy()  # defragmented: columns are added below
    for name in (*_TEXT, "objective", "status", "status_reason", "cell"):
        column = table[name] if name in table.columns else pd.Series("", index=table.index, dtype=object)
        table[name] = column.astype(object).where(column.notna(), "").astype(str)
    table["status"] = table["status"].replace("", "ok")
    table["pruned"] = table["pruned"].where(table["pruned"] != "", EDGES)
    names = graph_names(table)
    counted = zip(table["model"], table["graph"], strict=True)
    table["model"] = [names.get((model, graph), model) for model, graph in counted]
    # A column in which nothing was scored arrives as None objects, which pandas does not take for numbers.
    numeric = {"oversize", *(name for name, metric in metrics.items() if metric.unit != "text")} - {*_TEXT}
    for name in [name for name in table.columns if name in numeric or table[name].isna().all()]:
        try:
            table[name] = pd.to_numeric(table[name]).astype(float)
        except (TypeError, ValueError):
            raise ValueError(
                f"the leaderboard's column {name!r} holds something that is not a number"
            ) from None
    for name in ("n_discovery", "data_seed", "method_seed"):
        if name in table.columns:
            table[name] = pd.to_numeric(table[name])
    table["size_requested"] = pd.to_numeric(table["size_requested"]).astype(float).round(9)
    of_any_number, named = _name_apart(table, _APART[1:]), _name_apart(table, _APART)
    table["own_params"], table["params"] = of_any_number, named
    return table


def graph_names(table: pd.DataFrame) -> Names:
    """Display names of models, by name and graph."""
    graphs = table["graph"].fillna("") if "graph" in table.columns else pd.Series("", table.index)
    return model_names(zip(table["model"].astype(str), graphs.astype(str), strict=True))


def _name_apart(table: pd.DataFrame, names: Iterable[str]) -> "pd.Series[str]":
    """The parameters, with whatever else distinguishes a method's runs, so that these are not pooled."""
    typed = table["params"]
    for name in names:
        if name not in table.columns:
            continue
        known = table[name].where(table[name].notna() & (table[name] != ""))
        is_typed = typed.str.contains(rf"(?:^|,\s*){name}=", regex=True)
        told = known.map(lambda value: f"={value:g}" if isinstance(value, float) else f"={value}")
        joined = (table["params"] + ", ").where(table["params"] != "", "") + name + told
        table = table.assign(
            params=table["params"].where(~_differs(table, name) | known.isna() | is_typed, joined)
        )
    return table["params"]


def _differs(table: pd.DataFrame, name: str) -> "pd.Series[bool]":
    """Which rows must name a column: their method ran with several values of it, or with an unusual one."""
    values = table[name]
    match name:
        case "n_discovery":
            return values.groupby(table["method"]).transform("nunique") > 1
        case "objective":
            alike = [table[text] for text in _TEXT]
            return values.where(values != "").groupby(alike).transform("nunique") > 1
        case "discovery_ablation":
            return values != table["ablation"]
        case "wordings":
            return values != "all"
        case _:
            return values != ""


def contenders(table: pd.DataFrame, methods: Methods) -> pd.DataFrame:
    """Rows with status ok of circuits that compete: no references, random or oversize circuits."""
    table = as_asked(table)
    return table[(table["status"] == "ok") & ~table["method"].isin((*REFERENCES, methods.baseline))]


def as_asked(table: pd.DataFrame) -> pd.DataFrame:
    """All rows except those of circuits with more edges than requested."""
    return table[~(table["oversize"] > 0)] if "oversize" in table.columns else table


def fold_seeds(table: pd.DataFrame) -> list[Entry]:
    """Entries of the rows with status ok, smallest size first, otherwise in the order of the tidy table."""
    table = table[table["status"] == "ok"].reset_index(drop=True)
    told = ("data_seed", "method_seed", "data_seeds", "size_requested")
    numeric = [name for name in table.select_dtypes("number").columns if name not in told]
    scores = table[numeric].to_numpy(float)  # one array for all: pandas is slow column by column
    entries = []
    for key, group in table.groupby([*_TEXT, "size_requested"], dropna=False, sort=False):
        *where, task, method, params = map(str, key[:-1])
        size = float(group["size_requested"].iloc[0])
        seeds = int(group["data_seed"].nunique()) if "data_seed" in group.columns else 1
        stats = dict(zip(numeric, map(_stat, scores[group.index].T), strict=True))
        if len(group) > 1:
            stats |= _of_several(stats, seeds)
        setting, cell = Setting(*where), str(group["cell"].iloc[0])
        entries.append(Entry(setting, task, method, params, size, stats, len(group), seeds, cell))
    entries += _references(entries)
    return sorted(entries, key=lambda entry: (math.isnan(entry.size), entry.size))


def _references(entries: Iterable[Entry]) -> list[Entry]:
    """The reference circuits again, for each setting in which weights are left out as well."""
    entries = list(entries)
    places = dict.fromkeys((each.setting, each.task) for each in entries if each.setting.pruned != EDGES)
    return [
        replace(each, setting=setting)
        for setting, task in places
        for each in entries
        if each.is_reference and (each.setting, each.task) == (setting._replace(pruned=EDGES), task)
    ]


def _stat(values: np.ndarray) -> Stat:
    scored = values[~np.isnan(values)]
    if not len(scored):
        return Stat(runs=len(values), whole=True)
    spread = float(scored.std(ddof=1)) if len(scored) > 1 else math.nan
    each = tuple(map(float, scored))
    return Stat(float(scored.mean()), spread, len(each), len(values), all(x % 1 == 0 for x in each), each)


def _of_several(stats: dict[str, Stat], seeds: int) -> dict[str, Stat]:
    """Intervals for several runs: only those over all runs together are kept."""
    ends = [name for name in stats if name.endswith(_ENDS) and not name.startswith(_OF_GROUP)]
    found = {name: Stat(runs=stats[name].runs) for name in ends}
    joint = {f"recovered_new{end}": stats.get(f"recovered_seeds{end}", Stat()) for end in ("", *_ENDS)}
    if seeds > 1 and joint["recovered_new_low"].scored:  # the same in each row, so no spread
        found |= {name: replace(stat, mean=stat.each[0], spread=math.nan) for name, stat in joint.items()}
    return found


def by_task(entries: Iterable[Entry]) -> dict[tuple[Setting, str], list[Entry]]:
    """Entries grouped by setting and task, sorted by both; each group keeps the given order."""
    groups: dict[tuple[Setting, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.setting, entry.task), []).append(entry)
    return dict(sorted(groups.items()))
