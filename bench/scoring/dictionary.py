"""The data dictionary: what every column of a CSV file holds, as JSON Schema beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.schema import meanings
from bench.scoring.catalogue import METRICS, RECOVERY_METRICS, Metric
from bench.store.record import Kept, Record
from bench.store.recoveries import Recovery

if TYPE_CHECKING:
    import pandas as pd

COMPUTED = {
    "stem": "Name of the run's file and of its circuits' folder; with several folders, FOLDER//NAME",
    "source": "In a report of several folders, the run's folder, where another one holds the same run",
    "these_prompts": "Why there is no interval over these prompts; empty where there is one",
    "new_templates": "Why there is no interval over new templates; empty where there is one",
    "version": "Version of circuitmark",
    "versions": "Versions of the libraries that numbers depend on",
    "python": "Version of Python",
    "commit": "Commit of the checkout that ran; empty for an installed package",
    "dirty": "Whether that checkout had uncommitted changes",
    "kernels": "The vector instructions that torch ran with; rounding depends on them",
    "hardware": "Processor and cores",
}
"""Columns that are not fields of a record."""


def leaderboard_schema(table: pd.DataFrame) -> dict[str, Any]:
    """JSON Schema of a row of leaderboard.csv, with each column's unit and which way is better."""
    return _schema("leaderboard.csv", table, METRICS, [*_bases(Record), Kept])


def recovery_schema(table: pd.DataFrame) -> dict[str, Any]:
    """JSON Schema of a row of recovery.csv."""
    return _schema("recovery.csv", table, RECOVERY_METRICS, [Recovery])


def _bases(record: type) -> list[type]:
    return [cls for cls in reversed(record.__mro__) if cls is not object]


def _schema(
    file: str, table: pd.DataFrame, metrics: Sequence[Metric], records: Sequence[type]
) -> dict[str, Any]:
    fields = dict(COMPUTED)
    for record in records:
        fields |= meanings(record)
    known = {metric.name: metric for metric in metrics}
    properties: dict[str, Any] = {}
    for name in map(str, table.columns):
        metric = known.get(name)
        about = {"description": metric.description if metric else fields.get(name, "").rstrip(".")}
        if metric:
            about = {"title": metric.label, **about, "better": metric.better}
            about |= {"unit": metric.unit} if metric.unit not in ("", "text") else {}
        properties[name] = {"type": [_type(table[name]), "null"], **about}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A row of {file}",
        "description": "An empty cell is null: unscored, or not known.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _type(column: pd.Series[Any]) -> str:
    """The JSON type of a column's cells."""
    from pandas.api import types

    cells = column.dropna()
    if len(cells) and cells.map(lambda cell: isinstance(cell, bool)).all():
        return "boolean"
    if types.is_integer_dtype(column):
        return "integer"
    return "number" if types.is_numeric_dtype(column) or not len(cells) else "string"
