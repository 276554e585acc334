"""`circuitmark check`: whether a method keeps the contract of `methods.base`."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

from bench.conformance.checks import CHECKS, Skipped, Trial
from bench.conformance.itself import OWN
from bench.conformance.planted import beside_random
from bench.conformance.problems import PROBLEMS, Unavailable
from bench.engine.device import check_device
from bench.names import get_method, unknown

ALL = "all"
"""The problem of checks of the adapter itself, or of all problems together."""
BESIDE_RANDOM, PLANTED = "beside_random", "planted"
"""The check that only gives advice, and its problem."""
NAMES = (*OWN, *CHECKS, BESIDE_RANDOM)
Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Checked:
    """The outcome of one check on one problem."""

    name: str
    problem: str
    outcome: Outcome
    reason: str = ""
    """Why it failed or was skipped; if it passed, advice."""


@dataclass(frozen=True)
class Part:
    """A check on a problem, not yet run."""

    adapter: str
    name: str
    problem: str
    amiss: Callable[[], str]
    device: str = "cpu"

    def make(self) -> Checked:
        """Runs it; what the adapter prints goes to stderr."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                amiss = self.amiss()
        except (Skipped, Unavailable) as reason:
            return Checked(self.name, self.problem, "skipped", str(reason))
        except Exception as error:  # an adapter may return anything
            amiss = f"what it returned cannot be read: {type(error).__name__}: {error}"
        outcome: Outcome = "failed" if amiss and self.name != BESIDE_RANDOM else "passed"
        return Checked(self.name, self.problem, outcome, amiss)

    @property
    def command(self) -> str:
        """The command that runs it again."""
        chosen = f" --problem {self.problem}" if self.problem in PROBLEMS else ""
        where = "" if self.device == "cpu" else f" --device {self.device}"
        return f"circuitmark check {shlex.quote(self.adapter)}{chosen} --check {self.name}{where}"


@dataclass(frozen=True)
class Verdict:
    """All outcomes of an adapter."""

    adapter: str
    """As typed."""
    checks: Sequence[Checked]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(checked.outcome != "failed" for checked in self.checks)

    def to_json(self) -> str:
        """The JSON that docs/check-a-method.md describes."""
        rows = [asdict(checked) for checked in self.checks]
        return json.dumps({"adapter": self.adapter, "passed": self.passed, "checks": rows}, indent=2)

    def __str__(self) -> str:
        """A line for each failure, skip and advice; then the counts."""
        lines = [
            f"{'advice' if each.outcome == 'passed' else each.outcome}: {each.name} on {each.problem}: "
            f"{each.reason}"
            for each in self.checks
            if each.reason
        ]
        outcomes = [each.outcome for each in self.checks]
        counts = [f"{outcomes.count(o)} {o}" for o in ("passed", "failed", "skipped") if o in outcomes]
        return "\n".join([*lines, f"{self.adapter}: {', '.join(counts)}"])


def parts(
    adapter: str, problems: Sequence[str] = (), checks: Sequence[str] = (), device: str = "cpu"
) -> list[Part]:
    """The checks of an adapter, in the order in which they run. Several share one run of the adapter.

    Args:
        adapter: as typed: a name or a file, with options.
        problems: the problems to use; all if left out.
        checks: the checks to run; all if left out.
        device: where models run.

    Raises:
        UsageError: there is no such adapter, problem, check or device.
    """
    for kind, wanted, known in (("problem", problems, PROBLEMS), ("check", checks, NAMES)):
        for name in wanted:
            if name not in known:
                raise unknown(kind, name, known)
    check_device(device)
    method, part = get_method(adapter), partial(Part, adapter, device=device)
    wanted = checks or NAMES
    trials = {name: Trial(adapter, PROBLEMS[name], device) for name in problems or PROBLEMS}
    made = [part(name, ALL, partial(look, adapter, method)) for name, look in OWN.items() if name in wanted]
    for problem, trial in trials.items():
        made += [part(name, problem, partial(look, trial)) for name, look in CHECKS.items() if name in wanted]
    if any(name in CHECKS for name in wanted):
        made.append(part("declines", ALL, partial(_nothing_ran, list(trials.values()))))
    if BESIDE_RANDOM in wanted:
        made.append(part(BESIDE_RANDOM, PLANTED, partial(_advice, adapter, device)))
    return made


def check(
    adapter: str, problems: Sequence[str] = (), checks: Sequence[str] = (), device: str = "cpu"
) -> Verdict:
    """Checks an adapter against the contract of methods.

    Args:
        adapter: as typed: a name or a file, with options.
        problems: the problems to use; all if left out.
        checks: the checks to run; all if left out.
        device: where models run.

    Raises:
        UsageError: there is no such adapter, problem, check or device.
    """
    return Verdict(adapter, [part.make() for part in parts(adapter, problems, checks, device)])


def _nothing_ran(trials: Sequence[Trial]) -> str:
    """An adapter that ran on no problem has not been checked."""
    reasons = []
    for trial in trials:
        try:
            if not trial.first.skipped:
                return ""
            reasons.append(f"declined: {trial.first.skipped}")
        except Unavailable as error:
            reasons.append(str(error))
    return f"it ran on none of the problems ({reasons[0]})"


def _advice(adapter: str, device: str) -> str:
    try:
        amiss = beside_random(adapter, device)
    except Exception as error:  # other checks report it
        raise Skipped(str(error)) from error
    return f"no better than chance on a planted circuit: {amiss}" if amiss else ""
