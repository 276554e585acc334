"""The checks of a method on each problem. A check returns what is wrong, or an empty text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bench.conformance.attempt import Attempt, attempt
from bench.conformance.problems import SIZES, TinyProblem
from bench.discovery.checked import as_discovery, refuse_infinite
from bench.discovery.discover import cut
from bench.engine.circuit import Circuit
from bench.names import choose_method
from methods.base import Discovery

SEEDS = (1, 2)
"""The seeds of a run and its repetition, and of another run."""
LONG = 2.0
"""Seconds after which a user wants to see a method's progress."""


class Skipped(Exception):
    """There is nothing to check; the message is the reason."""


@dataclass
class Trial:
    """An adapter on a problem, run as often as the checks need."""

    method: str
    """As typed."""
    problem: TinyProblem
    device: str

    @cached_property
    def first(self) -> Attempt:
        """The run that all checks look at."""
        return self._attempt(SEEDS[0])

    @cached_property
    def again(self) -> Attempt:
        """The same run again."""
        return self._attempt(SEEDS[0])

    @cached_property
    def other(self) -> Attempt:
        """A run with another seed."""
        return self._attempt(SEEDS[1])

    def _attempt(self, seed: int) -> Attempt:
        return attempt(self.method, self.problem, seed=seed, device=self.device)

    @property
    def ran(self) -> Attempt:
        """The first run.

        Raises:
            Skipped: it did not finish, or declined.
        """
        if self.first.error:
            raise Skipped("it did not finish")
        if self.first.skipped:
            raise Skipped(f"declined: {self.first.skipped}")
        return self.first

    @property
    def found(self) -> Discovery:
        """What it found.

        Raises:
            Skipped: that is not a discovery, or its scores are not finite.
        """
        ran = self.ran
        if amiss := discovery(self) or finite(self):
            raise Skipped(f"what it returned cannot be used: {amiss}")
        return _discovery_of(ran)


def declines(trial: Trial) -> str:
    """`skip` returns None or a reason."""
    reason = trial.first.skipped
    if reason is None or (isinstance(reason, str) and reason.strip()):
        return ""
    return f"skip returned {reason!r}: return None, or a reason for the user to read"


def runs(trial: Trial) -> str:
    """It runs to completion."""
    if trial.first.skipped:
        raise Skipped(f"declined: {trial.first.skipped}")
    return trial.first.error


def device(trial: Trial) -> str:
    """Tensors are on the problem's device or on the host."""
    returned = trial.ran.returned
    if not isinstance(returned, Discovery):
        raise Skipped("it returned no discovery")
    held = returned.edges, returned.weights
    named = [each.values() for each in held if isinstance(each, Mapping)]
    masks = [returned.scores, returned.signed, returned.unaided, *(mask for group in named for mask in group)]
    masks += [m for each in masks if isinstance(each, Mapping) for m in each.values()]
    known = {"cpu", torch.device(trial.device).type}
    strange = {mask.device.type for mask in masks if isinstance(mask, Tensor)} - known
    return f"a tensor is on {', '.join(sorted(strange))}, not on the problem's device" if strange else ""


def discovery(trial: Trial) -> str:
    """It returns a Discovery whose tensors have the shapes and dtypes of the contract."""
    ran = trial.ran
    if isinstance(ran.returned, Discovery) and device(trial):
        raise Skipped("its tensors cannot be read here")
    try:
        found = _discovery_of(ran)
    except (TypeError, ValueError) as error:
        return str(error)
    if found.scores is None and not found.edges and not found.weights:
        return "it holds neither scores nor edges: return scores, or edges for every requested size"
    return ""


def finite(trial: Trial) -> str:
    """Scores of edges are finite."""
    ran = trial.ran
    if discovery(trial):
        raise Skipped("it returned no discovery")
    assert ran.graph is not None
    try:
        refuse_infinite(_discovery_of(ran), ran.graph)
    except ValueError as error:
        return str(error)
    return ""


def sizes(trial: Trial) -> str:
    """Circuits have as many edges as requested.

    A method that searches thresholds, and lists those it tried in ``trace["threshold"]``, may have fewer: its
    circuits jump from threshold to threshold.
    """
    found, jumps = trial.found, "threshold" in trial.found.trace
    try:
        circuits = _circuits(trial.first, found)
    except ValueError as error:
        return str(error)
    for size, wanted in trial.first.n_edges.items():
        kept = len(circuits[size])
        if kept > wanted or (kept < wanted and not jumps):
            return f"{kept} edges at size {size:g}, expected {wanted} of {_n_edges(trial.first)}"
    return ""


def seed(trial: Trial) -> str:
    """The same seed gives the same circuits, and so does any other unless the method is stochastic."""
    found, stochastic = trial.found, choose_method(trial.method).stochastic
    if sizes(trial):
        raise Skipped("its circuits do not have the requested sizes")
    others = {"the same seed": trial.again} | ({} if stochastic else {"another seed": trial.other})
    for how, other in others.items():
        if other.error or other.skipped:
            return f"with {how} it did not run: {other.error or other.skipped}"
        if not _alike(_masks(trial.first, found), _masks(other, _discovery_of(other)), stochastic):
            hint = "" if how == "the same seed" else " (if the seed decides, set stochastic = True)"
            return f"{how} gave different circuits{hint}: draw only from a generator seeded with problem.seed"
    return ""


def untouched(trial: Trial) -> str:
    """The model, the prompts and torch's settings are unchanged."""
    if changed := trial.ran.changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return f"it changed {changed[0]}{more}: work on a clone"
    return ""


def progress(trial: Trial) -> str:
    """A discovery that takes seconds reports its progress."""
    if trial.ran.told or trial.ran.seconds < LONG:
        return ""
    return f"no progress reported in {trial.ran.seconds:.1f} s: call problem.progress(done, total)"


def memory(trial: Trial) -> str:
    """Nothing of a problem is kept once its discovery is over."""
    if alive := trial.ran.alive:
        return f"the method or its module still holds {', '.join(alive)} after discovery: release it"
    return ""


CHECKS: Mapping[str, Callable[[Trial], str]] = {
    check.__name__: check
    for check in (declines, runs, device, discovery, finite, sizes, seed, untouched, progress, memory)
}


def _discovery_of(seen: Attempt) -> Discovery:
    assert seen.graph is not None
    return as_discovery(seen.returned, seen.graph, seen.shapes, SIZES)


def _circuits(seen: Attempt, found: Discovery) -> dict[float, Circuit]:
    assert seen.graph is not None
    return cut(seen.graph, found, SIZES)


def _n_edges(seen: Attempt) -> int:
    assert seen.graph is not None
    return seen.graph.n_edges


def _masks(seen: Attempt, found: Discovery) -> dict[str, Tensor]:
    """All masks that a discovery decides, by name."""
    circuits = _circuits(seen, found)
    masks = {f"{size:g}": circuit.kept for size, circuit in circuits.items()}
    masks |= {f"{size:g} {n}": m for size, circuit in circuits.items() for n, m in circuit.weights.items()}
    return masks if found.unaided is None else masks | {"unaided": found.unaided}


def _alike(one: Mapping[str, Tensor], other: Mapping[str, Tensor], trained: bool) -> bool:
    """Whether two runs found the same; after training, 1 % of the entries, or two, may differ.

    How sums are rounded depends on memory layout, and training amplifies rounding.
    """
    if one.keys() != other.keys():
        return False
    for name, mask in one.items():
        apart = int((mask != other[name]).sum())
        if apart > (max(2, mask.numel() // 100) if trained else 0):
            return False
    return True
