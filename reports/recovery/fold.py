"""The long table of recoveries, folded over runs: one `Recovery` per method, program and ablation.

A run is a method with one seed on one set of CPU kernels. A table without these columns has one run each.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from reports.parts.methods import label_of
from reports.parts.numbers import plural

UNAIDED = ("unaided_exact", "f1", "tpr", "fpr")
"""Columns on a method's unaided circuit: how often exact, then means."""
RANKED = ("auroc", "average_precision", "exact_at_true_size")
"""Columns on a method's scores: means, then how often exact at the true size."""
EXACT = ("unaided_exact", "exact_at_true_size")
"""Yes or no, as 1 and 0, summed over programs where others are averaged; NaN where there is no circuit or
no ranking."""

_VALUES = (*EXACT, "n_edges", "n_true", "unaided_edges", "tpr", "fpr", "f1", "auroc", "average_precision",
           "published_exact")  # fmt: skip
_TEXT = ("method", "params", "program", "ablation", "status", "status_reason", "kernels")
_REQUIRED = ("method", "program", "ablation")


@dataclass(frozen=True)
class Recovery:
    """A method on a program under an ablation, over all its runs; values that were not scored are NaN."""

    status: str = "missing"
    """`ok` if any run was, else how the first ended; `missing` if the table has no such row."""
    runs: int = 0
    values: dict[str, float] = field(default_factory=dict)
    """Means over the runs scored: of `EXACT` columns, the share that was exact."""
    scored: dict[str, int] = field(default_factory=dict)
    """How many runs were scored, by column."""

    @property
    def is_told(self) -> bool:
        """Whether its values are shown; otherwise its status is."""
        return self.status in ("ok", "missing")

    def value(self, name: str) -> float:
        """The column `name`, NaN when unscored."""
        return self.values.get(name, math.nan)

    def is_exact(self, name: str) -> bool:
        """Whether every run was scored and is exact in the column `name`, one of `EXACT`."""
        return self.value(name) == 1 and self.scored[name] == self.runs


@dataclass(frozen=True)
class Recoveries:
    """All recoveries of a table, by (method's label, program, ablation); names in the order shown."""

    table: pd.DataFrame
    """The long table, checked."""
    labels: Mapping[str, str]
    """The method's name by its label."""
    programs: tuple[str, ...]
    ablations: tuple[str, ...]
    cells: dict[tuple[str, str, str], Recovery]

    def cell(self, label: str, program: str, ablation: str) -> Recovery:
        """A method on a program; `missing` where the table has none.

        Args:
            label: the method's, with its parameters.
            program: its name.
            ablation: its name.
        """
        return self.cells.get((label, program, ablation), Recovery())

    def column(self, label: str, ablation: str) -> list[Recovery]:
        """A method on every program under an ablation."""
        return [self.cell(label, program, ablation) for program in self.programs]

    def by_run(self, label: str, ablation: str, name: str) -> list[tuple[float, int]]:
        """By run, the sum of a column over the programs that the run scored, and how many those are.

        Args:
            label: the method's, with its parameters.
            ablation: its name.
            name: name of the column.
        """
        rows = self.table[(self.table["label"] == label) & (self.table["ablation"] == ablation)]
        runs = rows[rows["status"] == "ok"].groupby(["method_seed", "kernels"])[name]
        return [(float(values.sum()), int(values.count())) for _, values in runs]

    def of_program(self, program: str, ablation: str, name: str) -> float:
        """What the table says about a program itself, whichever method ran on it; NaN if it says nothing.

        Args:
            program: its name.
            ablation: its name.
            name: name of the column: `n_true` or `n_edges`.
        """
        rows = self.table[(self.table["program"] == program) & (self.table["ablation"] == ablation)]
        return float(rows[name].max())


def fold(table: pd.DataFrame) -> Recoveries:
    """Check a table and fold it by method, program and ablation; labels and names are sorted.

    Rows that repeat a method on a program are its runs: values are averaged over those scored.
    A row without a method says that a program could not be run at all.

    Raises:
        ValueError: no rows, a column is missing, or a value is not a number.
    """
    table = _tidy(table)
    cells = {}
    for key, rows in table[table["method"] != ""].groupby(["label", "program", "ablation"], sort=False):
        name, program, ablation = map(str, key)
        ok = rows[rows["status"] == "ok"]
        values = {column: float(ok[column].mean()) for column in _VALUES}
        scored = {column: int(ok[column].count()) for column in _VALUES}
        status = "ok" if len(ok) else str(rows["status"].iloc[0])
        cells[name, program, ablation] = Recovery(status, len(rows), values, scored)
    return Recoveries(
        table,
        dict(sorted({k: v for k, v in zip(table["label"], table["method"], strict=True) if v}.items())),
        _names(table["program"]),
        _names(table["ablation"]),
        cells,
    )


def runs_in_words(rows: pd.DataFrame) -> str:
    """`8 seeds, kernels AVX512 and DEFAULT`: of rows of a folded table."""
    kernels = sorted(set(rows["kernels"]) - {""})
    named = f", kernels {' and '.join(kernels)}" if kernels else ""
    return plural(rows["method_seed"].nunique(), "seed") + named


def _names(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))


def _tidy(table: pd.DataFrame) -> pd.DataFrame:
    """A copy: missing texts are empty, yes and no are numbers, `label` is the method with its parameters."""
    if table.empty:
        raise ValueError("the table of recoveries has no rows: nothing to report")
    if lacking := [name for name in _REQUIRED if name not in table.columns]:
        raise ValueError(f"the table of recoveries lacks the column {lacking[0]!r}")
    table = table.reset_index(drop=True)
    for name in _TEXT:
        column = table[name] if name in table.columns else pd.Series("", index=table.index, dtype=object)
        table[name] = column.astype(object).where(column.notna(), "").astype(str)
    table["status"] = table["status"].replace("", "ok")
    seeds = table["method_seed"] if "method_seed" in table.columns else pd.Series(0, table.index)
    table["method_seed"] = pd.to_numeric(seeds).fillna(0).astype(int)
    for name in _VALUES:
        column = table[name].astype(object) if name in table.columns else pd.Series(math.nan, table.index)
        try:
            table[name] = [math.nan if pd.isna(value) else float(value) for value in column]
        except (TypeError, ValueError):
            raise ValueError(
                f"the table of recoveries has a value in the column {name!r} that is not a number"
            ) from None
    redundant = table["redundant"] if "redundant" in table.columns else pd.Series(False, table.index)
    table["redundant"] = [not pd.isna(value) and bool(value) for value in redundant]
    minimal = table["is_minimal"] if "is_minimal" in table.columns else pd.Series(math.nan, table.index)
    table["fewer"] = [not pd.isna(value) and not value for value in minimal]
    table["unknown"] = table["minimal_sets"].isna() if "minimal_sets" in table.columns else False
    table["label"] = list(map(label_of, table["method"], table["params"]))
    return table
