"""The expected recoveries: kept in a file, made from stored ones by a command, reported when lost.

A deterministic method is expected to be exact where it was so on perturbed weights and other CPU kernels too.
For a stochastic one a count is expected: training amplifies rounding, and one run on one machine says little.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import DamagedFile
from bench.files import read_text, write_atomically
from bench.schema import read

Row = dict[str, Any]
HELD = ("unaided_exact", "exact_at_true_size")
"""Columns of a recovery that have expectations."""
LARGEST = 2**22
"""Most bytes of a file of expectations."""
FALSE_ALARM = 0.001
"""Probability that a run reports a loss although nothing has changed."""

Programs = Mapping[str, Mapping[str, Sequence[str]]]
Counts = Mapping[str, Mapping[str, Mapping[str, tuple[int, int]]]]


@dataclass(frozen=True)
class Expectations:
    """What is expected of methods, by method and ablation (``acdc zero``) and by column of `HELD`."""

    always: Programs = field(default_factory=dict)
    """Programs on which a deterministic method is exact."""
    counts: Counts = field(default_factory=dict)
    """For a stochastic method on each program: how many runs were exact, of how many."""

    def lost(self, rows: Sequence[Row]) -> list[str]:
        """A line for each recovery that no longer holds, or holds too rarely for chance to explain."""
        own = [row for row in rows if not row["params"] and row["status"] == "ok"]
        gone = [
            f"{name_of(row)}: {name} used to hold"
            for row in own
            for name in HELD
            if row["program"] in self.always.get(_who(row), {}).get(name, ()) and not row[name]
        ]
        judged = [group for who in dict.fromkeys(map(_who, own)) for group in self._groups(who, own)]
        return gone + [
            f"{what}: in {exact} of {runs} runs, expected in {mean:.1f}; chance alone gives so few in less "
            f"than one of {1 / FALSE_ALARM:g} runs of this command"
            for what, exact, runs, mean, p in judged
            if p < FALSE_ALARM / len(judged)
        ]

    def _groups(self, who: str, rows: Sequence[Row]) -> list[tuple[str, int, int, float, float]]:
        """What is tested for a stochastic method: all programs together, and each that was run repeatedly."""
        found = []
        for name, counts in self.counts.get(who, {}).items():
            runs: dict[str, list[bool]] = {}
            for row in rows:
                if _who(row) == who and row["program"] in counts and row[name] is not None:
                    runs.setdefault(row["program"], []).append(bool(row[name]))
            groups = [list(runs)] if runs else []
            groups += [[program] for program, ended in runs.items() if len(ended) > 1 and len(runs) > 1]
            for programs in groups:
                exact = sum(sum(runs[program]) for program in programs)
                chances = reduce(np.convolve, (_chances(len(runs[p]), *counts[p]) for p in programs))
                mean = float(chances @ np.arange(len(chances)))
                where = programs[0] if len(programs) == 1 else f"{len(programs)} programs"
                method, ablation = who.split()
                what = f"{method} on {where} under {ablation}: {name}"
                found.append((what, exact, len(chances) - 1, mean, float(chances[: exact + 1].sum())))
        return found


@cache
def _chances(runs: int, exact: int, measured: int) -> np.ndarray:
    """The probabilities that 0, 1, ... of the new runs are exact, given how many of the measured ones were.

    The predictive distribution under Jeffreys' prior on the rate: a rate measured in a few runs is not
    treated as known.
    """
    from scipy.stats import betabinom

    chances: np.ndarray = betabinom(runs, exact + 0.5, measured - exact + 0.5).pmf(np.arange(runs + 1))
    return chances


@dataclass(frozen=True)
class _Stored:
    """The content of the file: counts are written ``7/8``."""

    always: Programs
    counts: Mapping[str, Mapping[str, Mapping[str, str]]]


def read_expectations() -> Expectations:
    """What is expected; nothing if there is no file.

    Raises:
        DamagedFile: the file is not valid.
    """
    path = _path()
    try:
        held = read(_Stored, json.loads(read_text(path, LARGEST)))
        for who, kinds in (*held.always.items(), *held.counts.items()):
            if len(who.split()) != 2 or set(kinds) != set(HELD):
                raise ValueError(f"'{who}' is not a method and an ablation, or lacks {' or '.join(HELD)}")
        always = {who: {name: list(kinds[name]) for name in HELD} for who, kinds in held.always.items()}
        counts = {
            who: {name: {program: _count(text) for program, text in kinds[name].items()} for name in HELD}
            for who, kinds in held.counts.items()
        }
        return Expectations(always, counts)
    except FileNotFoundError:
        return Expectations()
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFile(
            f"{path} is damaged ({error}): make it again with circuitmark verify-tracr --expect"
        ) from error


def write_expectations(rows: Iterable[Row], shipped: Iterable[str]) -> None:
    """Makes what was found the expectation, for the methods, ablations and shipped programs in `rows`.

    A row says whether its method is `stochastic`; for one that is not, the rows repeat the recovery on
    perturbed weights and other kernels, and all of them must be exact.
    """
    try:
        before = read_expectations()
    except DamagedFile:
        before = Expectations()
    known, groups = set(shipped), dict[tuple[str, str], list[Row]]()
    for row in rows:
        says_all = "stochastic" in row  # rows of an older version do not
        if says_all and row["program"] in known and not row["params"] and row["status"] == "ok":
            groups.setdefault((_who(row), row["program"]), []).append(row)
    always = {who: {n: list(kinds[n]) for n in HELD} for who, kinds in before.always.items()}
    counts = {who: {n: dict(kinds[n]) for n in HELD} for who, kinds in before.counts.items()}
    for (who, program), found in groups.items():
        for name in HELD:
            scored = [bool(row[name]) for row in found if row[name] is not None]
            firm = always.setdefault(who, {n: [] for n in HELD})[name]
            drawn = counts.setdefault(who, {n: {} for n in HELD})[name]
            firm[:] = sorted({*firm} - {program})
            drawn.pop(program, None)
            if scored and found[0]["stochastic"]:
                drawn[program] = (sum(scored), len(scored))
            elif scored and all(scored):
                firm[:] = sorted([*firm, program])
    kept = {who: kinds for who, kinds in always.items() if any(kinds.values())}
    told = {
        who: {n: {p: f"{exact}/{runs}" for p, (exact, runs) in kinds[n].items()} for n in HELD}
        for who, kinds in counts.items()
        if any(exact for programs in kinds.values() for exact, _ in programs.values())
    }
    content = json.dumps({"always": kept, "counts": told}, indent=1, sort_keys=True)
    write_atomically(_path(), (content + "\n").encode())


def _count(text: str) -> tuple[int, int]:
    """``7/8`` as a pair."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or not int(match[1]) <= int(match[2]) or int(match[2]) == 0:
        raise ValueError(f"'{text}' is not a count of runs")
    return int(match[1]), int(match[2])


def _path() -> Path:
    return Path(str(resources.files("tracr_ground_truth") / "expectations.json"))


def _who(row: Row) -> str:
    return f"{row['method']} {row['ablation']}"


def name_of(row: Row) -> str:
    """The name of a recovery in messages."""
    params = f":{row['params']}" if row["params"] else ""
    return f"{row['method']}{params} on {row['program']} under {row['ablation']}"
