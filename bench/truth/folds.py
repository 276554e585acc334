"""Recoveries judged with held-out settings: chosen on the other of two folds of programs.

The circuit that a method settles on depends on a threshold, and whoever chose its default had seen programs.
So on each fold a method gets the setting that is exact on most programs of the other one: its own circuit, or
the edges that score above a threshold, absolute or relative to the largest score. A program counts if every
run of the method is exact on it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from bench.scoring.cells import BASELINE
from bench.scoring.statistics.binary import mcnemar, wilson
from bench.scoring.statistics.paired import holm
from tracr_ground_truth.families import fold_of

Row = dict[str, Any]
Range = tuple[float, float]
"""Thresholds: at least the first and below the second."""
OWN, SHARE, SCORE = "own", "share", "score"
"""Kinds of settings; of those that are exact equally often, the first is chosen."""
LEAST_SHARE = 1e-9
"""Smallest threshold as a share of the largest score: shares are compared by their logarithms."""


@dataclass(frozen=True)
class Setting:
    """How a circuit is cut: the method's own, or the edges that score above a threshold of some kind."""

    kind: str
    threshold: float = math.nan

    def __str__(self) -> str:
        return self.kind if self.kind == OWN else f"{self.kind} {self.threshold:.3g}"


@dataclass(frozen=True)
class Case:
    """A method on a program, and the settings with which every run is exact."""

    own: bool | None
    """Whether its own circuit is exact; None if it has none."""
    ranges: Mapping[str, Range]
    """Exact thresholds by kind; a kind is left out if none is exact."""

    def is_exact(self, setting: Setting) -> bool:
        """Whether every run is exact with this setting."""
        if setting.kind == OWN:
            return self.own is True
        low, high = self.ranges.get(setting.kind, (math.inf, math.inf))
        return low <= setting.threshold < high


def judge(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """How many programs each method recovers under each ablation, and which of two methods recovers more.

    Args:
        rows: recoveries; those with a status other than ok are left out, and so are programs without others.

    Returns:
        `folds`, with exact programs by its own circuit and by the setting of the other fold, each with the
        Wilson interval of its share; and `compared`, by McNemar's exact test on the latter, with Holm's
        adjustment for all pairs under an ablation. Random circuits are not compared.
    """
    runs: dict[tuple[str, str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["status"] == "ok":
            runs[row["ablation"], row["method"], row["params"]][row["program"]].append(row)
    folds: list[Row] = []
    outcomes: dict[str, dict[tuple[str, str], dict[str, bool]]] = defaultdict(dict)
    for (ablation, method, params), programs in sorted(runs.items()):
        cases = {program: _case(found) for program, found in programs.items()}
        settings = [_chosen([case for p, case in cases.items() if fold_of(p) != fold]) for fold in (0, 1)]
        held_out = {
            program: case.is_exact(setting)
            for program, case in cases.items()
            if (setting := settings[fold_of(program)]) is not None
        }
        folds.append(
            {
                "method": method,
                "params": params,
                "ablation": ablation,
                **_counted("own", [case.own for case in cases.values() if case.own is not None]),
                **_counted("held_out", list(held_out.values())),
                "settings": [None if setting is None else str(setting) for setting in settings],
            }
        )
        if method != BASELINE["method"]:
            outcomes[ablation][method, params] = held_out
    return {"folds": folds, "compared": [row for each in outcomes.items() for row in _compared(*each)]}


def _case(runs: Sequence[Row]) -> Case:
    own = [run["unaided_exact"] for run in runs]
    scored = [run for run in runs if run.get("top_score") is not None]
    ranges = {}
    for kind in (SHARE, SCORE):
        each = [_range(run, kind) for run in scored]
        low, high = max((low for low, _ in each), default=0.0), min((high for _, high in each), default=0.0)
        if low < high:
            ranges[kind] = low, high
    return Case(None if None in own else all(own), ranges)


def _range(run: Row, kind: str) -> Range:
    """The thresholds for which the edges that score above them are a true circuit."""
    low = -math.inf if (cut := run.get("cut_low")) is None else cut
    high = math.inf if (cut := run.get("cut_high")) is None else cut
    if kind == SCORE:
        return low, high
    if (top := run["top_score"]) <= 0:  # no score is above a share of it
        return (LEAST_SHARE, 1.0) if high == math.inf else (1.0, LEAST_SHARE)
    return max(low / top, LEAST_SHARE), min(high / top, 1.0)


def _chosen(cases: Sequence[Case]) -> Setting | None:
    """The setting that is exact on most programs; None if there is none to choose from."""
    own = [Setting(OWN)] if any(case.own is not None for case in cases) else []
    cut = [
        _best_threshold(kind, [c.ranges[kind] for c in cases if kind in c.ranges]) for kind in (SHARE, SCORE)
    ]
    return max(
        [*own, *(setting for setting in cut if setting is not None)],
        key=lambda setting: sum(case.is_exact(setting) for case in cases),
        default=None,
    )


def _best_threshold(kind: str, ranges: Sequence[Range]) -> Setting | None:
    """The middle of the interval that lies in the most ranges, of the widest if there are several."""

    def scale(x: float) -> float:
        return math.log(x) if kind == SHARE else x

    ends = sorted({end for one in ranges for end in one if math.isfinite(end)})
    stretches = list(pairwise([ends[0] - 1, *ends, ends[-1] + 1] if kind == SCORE and ends else ends))
    if not stretches:
        return None
    low, high = max(
        stretches,
        key=lambda s: (sum(r[0] <= s[0] and s[1] <= r[1] for r in ranges), scale(s[1]) - scale(s[0])),
    )
    return Setting(kind, math.sqrt(low * high) if kind == SHARE else (low + high) / 2)


def _counted(name: str, exact: Sequence[bool]) -> Row:
    low, high = wilson(sum(exact), len(exact))
    ends = {"low": low, "high": high} if exact else {"low": None, "high": None}
    told = {name: sum(exact) if exact else None, f"{name}_programs": len(exact)}
    return told | {f"{name}_{end}": value for end, value in ends.items()}


def _compared(ablation: str, outcomes: Mapping[tuple[str, str], Mapping[str, bool]]) -> list[Row]:
    found = []
    for (a, of_a), (b, of_b) in combinations(outcomes.items(), 2):
        both = [program for program in of_a if program in of_b]
        right_a, right_b = (np.array([of[p] for p in both], dtype=bool) for of in (of_a, of_b))
        found.append(
            {
                "ablation": ablation, "a": a[0], "a_params": a[1], "b": b[0], "b_params": b[1],
                "programs": len(both), "a_alone": int((right_a & ~right_b).sum()),
                "b_alone": int((right_b & ~right_a).sum()), "p": mcnemar(right_a, right_b),
            }
        )  # fmt: skip
    adjusted = holm(np.array([row["p"] for row in found]))
    return [{**row, "p_holm": float(p)} for row, p in zip(found, adjusted, strict=True)]
