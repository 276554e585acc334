"""Columns that need several rows of the leaderboard: whether a cell ranks methods, and means over seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.scoring.cells import BASELINE, Cell, ranks
from bench.scoring.evaluate import RawOutputs, new_log_gaps
from bench.scoring.overlap import SAME
from bench.scoring.statistics.gaps import ABOVE_FLOOR
from bench.scoring.statistics.student import over_seeds

CELL = ("model", "task", "ablation", "graph", "pruned", "size_requested")
"""What the rows of a cell have in common."""
SAID = {True: "ranks", False: "all the same", None: ""}
"""Texts of the column `cell`."""
Row = dict[str, Any]


def gaps_of(raw: RawOutputs, run: str) -> Row:
    """The temporary columns that `say_together` needs of a circuit.

    Args:
        raw: outputs of all runs.
        run: the circuit's name among them.
    """
    return dict(zip(("gaps", "fewest"), new_log_gaps(raw, run), strict=True))


def say_together(rows: Iterable[Row]) -> None:
    """Adds to each circuit's row whether its cell ranks methods, and its method's mean over data seeds.

    Args:
        rows: of the leaderboard; circuits' rows have the columns of `gaps_of`, which are removed.
    """
    cells: dict[Any, dict[Any, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if "gaps" in row:
            cells[_of(row, CELL)][_of(row, SAME)].append(row)
    for (*_, size), methods in cells.items():
        joined = {method: _joined(group) for method, group in methods.items()}
        cell = {"cell": SAID[_tells_apart(methods, joined, size)]}
        for method, group in methods.items():
            said = cell | _over_seeds(group, joined[method], size)
            for row in group:
                del row["gaps"], row["fewest"]
                row |= said


def _of(row: Row, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def _joined(group: Sequence[Row]) -> Cell:
    """One method at one size; without log_gaps if no template was held out, or seeds differ in their number
    of templates."""
    competes = group[0]["method"] != BASELINE["method"] and not any(row["oversize"] for row in group)
    kind = _of(group[0], [name for name in SAME if name != "source"])
    cell = Cell(not competes, kind=kind, fewest=min(row["fewest"] for row in group))
    if cell.fewest and len({len(row["gaps"]) for row in group}) == 1:
        for row in group:
            cell.gaps[row["size_requested"], row["data_seed"]].append(row["gaps"])
    return cell


def _tells_apart(
    methods: Mapping[Any, Sequence[Row]], joined: Mapping[Any, Cell], size: float
) -> bool | None:
    """By templates that no method saw or, if that is not possible, by these prompts."""
    rivals = {method: cell for method, cell in joined.items() if not cell.null}
    kinds: dict[Any, list[Row]] = defaultdict(list)
    for method, cell in rivals.items():
        kinds[cell.kind] += methods[method]
    if len(kinds) < 2:
        return None
    told = ranks(rivals, size) if all(cell.gaps for cell in rivals.values()) else None
    return told if told is not None else _by_these_prompts(list(kinds.values()))


def _by_these_prompts(rivals: Sequence[Sequence[Row]]) -> bool | None:
    """A method is above the floor if the interval of each of its runs is."""
    lows = np.array([np.min([row.get("log_gap_low", math.nan) for row in group]) for group in rivals])
    if (lows > ABOVE_FLOOR).sum() >= 2:
        return True
    return None if np.isnan(lows).any() else False


def _over_seeds(group: Sequence[Row], joined: Cell, size: float) -> Row:
    seeds = sorted({row["data_seed"] for row in group})
    if not joined.gaps:
        return {"data_seeds": len(seeds), "over_seeds": "no templates held out"}
    mean = over_seeds(joined.at(size, seeds), joined.fewest)
    interval = mean.interval()
    return {
        "recovered_seeds": 1 - math.exp(mean.value),
        "recovered_seeds_low": 1 - math.exp(interval.high),
        "recovered_seeds_high": 1 - math.exp(interval.low),
        "over_seeds": interval.reason or interval.over,
        "data_seeds": len(seeds),
    }
