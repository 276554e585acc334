"""The recoveries that used to hold: kept in a file, made by a command, and missed when they are lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import DamagedFile
from bench.files import write_atomically

Row = dict[str, Any]
EXPECTATIONS = Path(__file__).parent.parent / "tracr_ground_truth" / "expectations.json"
LEAST_MARGIN = 1e-6
"""A ranking that is right by less hangs on the arithmetic of one machine: nothing to expect of another."""
HELD = ("unaided_exact", "exact_at_true_size")
"""Columns of a recovery that, once true, must stay true."""


def read_expectations() -> dict[str, dict[str, list[str]]]:
    """Recoveries that hold: per method and ablation, `HELD` -> programs. Empty when there is no file.

    Raises:
        DamagedFile: the file is no such thing.
    """
    try:
        held = json.loads(EXPECTATIONS.read_text())
        return {key: {name: list(map(str, kinds[name])) for name in HELD} for key, kinds in held.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFile(
            f"{EXPECTATIONS} is damaged ({error}): make it again with circuitmark verify-tracr --expect"
        ) from error


def write_expectations(rows: Iterable[Row], shipped: Iterable[str]) -> None:
    """Makes what holds now the expectation, for the methods, ablations and shipped programs that were run."""
    try:
        held = read_expectations()
    except DamagedFile:
        held = {}
    known = set(shipped)
    for row in rows:
        if row["program"] not in known or row["params"] or row["status"] == "failed":
            continue
        kinds = held.setdefault(_who(row), {name: [] for name in HELD})
        for name in HELD:
            programs = set(kinds[name]) - {row["program"]}
            kinds[name] = sorted(programs | ({row["program"]} if _firm(row, name) else set()))
    held = {who: kinds for who, kinds in held.items() if any(kinds.values())}
    write_atomically(EXPECTATIONS, (json.dumps(held, indent=1, sort_keys=True) + "\n").encode())


def lost(rows: Iterable[Row], held: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    """A line for each recovery that is expected of a row and does not hold any more."""
    return [
        f"{name_of(row)}: {name} used to hold"
        for row in rows
        if not row["params"]
        for name in HELD
        if row["program"] in held.get(_who(row), {}).get(name, ()) and not row[name]
    ]


def _who(row: Row) -> str:
    return f"{row['method']} {row['ablation']}"


def _firm(row: Row, name: str) -> bool:
    return bool(row[name]) and (name != "exact_at_true_size" or row["margin"] > LEAST_MARGIN)


def name_of(row: Row) -> str:
    """How a recovery is called in a message."""
    params = f":{row['params']}" if row["params"] else ""
    return f"{row['method']}{params} on {row['program']} under {row['ablation']}"
