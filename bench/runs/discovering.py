"""Runs a method's discovery in a process of its own, timed by its parent; the result comes back in a file.

Data and model are loaded there before any code of the method is imported, and end with the process. On a
device, only that process holds memory: its parent never does, and scoring begins after it has ended. Several
seeds of a very cheap method may share a process.
"""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from bench.discovery.checked import as_discovery, refuse_infinite
from bench.discovery.checkpoint import forget
from bench.discovery.discover import Declined, discover
from bench.discovery.problem import BenchProblem
from bench.engine.graph import EdgeGraph
from bench.errors import DamagedFile
from bench.files import load_tensors, save_tensors
from bench.names import get_method
from bench.progress import Progressed
from bench.runs.children import Child, Died, Limits, Line, OutOfMemory, OverLimit
from bench.runs.yardstick import Yardstick
from bench.schema import read
from bench.store.record import Status
from bench.study import Study
from methods.base import Discovery, Method, Selection
from tasks.base import TaskError

HALF = 2
"""The factor by which batches are made smaller after memory ran out."""


@runtime_checkable
class MakesStudy(Protocol):
    """Makes the study that a method is run on; it is pickled to be sent to a process."""

    def __call__(self, smaller: int) -> Study:
        """`smaller` is the factor by which batches are smaller than memory should allow."""


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What a method is to find, on which study, and where the result goes."""

    study: MakesStudy
    method: str
    """As typed."""
    sizes: tuple[float, ...] = ()
    unaided: bool = True
    """Whether the unaided circuit is wanted even if it needs further training."""
    method_seed: int = 0
    threads: int = 1
    key: str
    """A hash of all that determines what is found."""
    found: Path
    """The file for the result."""
    checkpoint: Path | None = None
    log: Path | None = None
    """The file for what it prints."""


@dataclass(frozen=True)
class Cost:
    """What a discovery took."""

    seconds: float
    cpu_seconds: float
    sized_cpu_seconds: float
    """The part spent before training for the unaided circuit; all if there was no such training."""
    forward_equivalents: float
    """Number of forwards of the discovery prompts that take as long: CPU time, on a device wall-clock
    time."""
    forwards: int
    backwards: int
    tokens: int
    peak_memory_mb: float
    """Peak memory of its process, libraries and model included."""
    smaller: int
    """The factor by which batches were smaller than memory should have allowed."""
    data_seconds: float | None = None
    """Time of drawing the discovery prompts, which is not charged to the method."""


@dataclass(frozen=True)
class _Header:
    """The header of the file that holds a discovery."""

    key: str
    selection: Selection
    objective: str
    trace: Mapping[str, Sequence[float]]
    cost: Cost


@dataclass(frozen=True)
class Unfound:
    """Why there is no discovery."""

    status: Status
    """declined, skipped or failed."""
    reason: str
    traceback: str = ""


def discover_apart(
    errands: Sequence[Errand],
    limits: Limits,
    progress: Progressed | None = None,
    told: Callable[[str], None] = print,
) -> Unfound | None:
    """Runs a method and writes what it found to the errands' files; returns None, or why one is missing.

    An existing file with the same key is kept.

    Args:
        errands: of one method on one study; they differ in the seed alone.
        limits: of each errand.
        progress: called with its progress.
        told: called with messages for the user.

    Raises:
        UserError: the model, a file or a folder cannot be used.
        Stopped: the user stopped the run.
    """
    if not any(open_ := [errand for errand in errands if not _is_there(errand)]):
        return None
    try:
        try:
            return _attempt(open_, limits, progress, 1)
        except OutOfMemory as error:
            told(f"{open_[0].method}: {error}: trying again with half the batch")
            return _attempt(open_, limits, progress, HALF)
    except (OverLimit, Died) as error:
        return Unfound("failed", str(error))


def load_found(errand: Errand, graph: EdgeGraph, shapes: dict[str, torch.Size]) -> tuple[Discovery, Cost]:
    """Reads what a method found, and checks it again in a process where none of its code ever ran.

    Args:
        errand: names the file.
        graph: of the model.
        shapes: of the weights that may be masked.

    Raises:
        TypeError, ValueError: it is not a discovery.
        DamagedFile: the file cannot be read.
    """
    tensors, stored = load_tensors(errand.found)
    try:
        header = read(_Header, stored)
    except ValueError as error:
        raise DamagedFile(f"{errand.found} is not a discovery ({error}): move it away") from error
    edges, weights = dict[float, Tensor](), dict[float, dict[str, Tensor]]()
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(" ")
        if kind == "edges":
            edges[float(rest)] = tensor
        elif kind == "weights":
            size, _, matrix = rest.partition(" ")
            weights.setdefault(float(size), {})[matrix] = tensor
    found = Discovery(
        tensors.get("scores"), tensors.get("signed"), edges=edges, weights=weights,
        unaided=tensors.get("unaided"), selection=header.selection, objective=header.objective,
        trace=header.trace,
    )  # fmt: skip
    checked = as_discovery(found, graph, shapes, errand.sizes)
    refuse_infinite(checked, graph)
    return checked, header.cost


def _is_there(errand: Errand) -> bool:
    with suppress(DamagedFile):
        return errand.found.exists() and load_tensors(errand.found)[1].get("key") == errand.key
    return False


def _attempt(
    errands: Sequence[Errand], limits: Limits, progress: Progressed | None, smaller: int
) -> Unfound | None:
    began = (0.0, 0.0)
    under_way = False
    with Child(_discover, tuple(errands), smaller, limits=limits, log=errands[0].log) as child:
        for message in child.messages():
            match message["said"]:
                case "ready":
                    under_way = True
                    began = perf_counter(), child.cpu_seconds()
                    child.go_on()
                case "done":
                    under_way = False
                    seconds, cpu_seconds = perf_counter() - began[0], child.cpu_seconds() - began[1]
                    child.go_on(seconds=seconds, cpu_seconds=cpu_seconds)
                case "progress" if progress:
                    progress(message["done"], message["total"], message["note"])
                case "kept":
                    return None
                case "unfound":
                    return Unfound(message["status"], message["reason"])
                case "failed" if message["out_of_memory"]:
                    raise OutOfMemory(message["reason"])
                case "failed":
                    return Unfound("failed", message["reason"], message["traceback"])
            if under_way and limits.seconds is not None and perf_counter() - began[0] > limits.seconds:
                raise OverLimit(f"stopped after the time limit of {limits.seconds:g} seconds")
        raise Died(child.last_words())


def _discover(line: Line, errands: Sequence[Errand], smaller: int) -> None:
    """Runs in the child process."""
    first = errands[0]
    torch.set_num_threads(first.threads)
    try:
        study = first.study(smaller).blind()
    except TaskError as error:
        return line.say("unfound", status="skipped", reason=str(error))
    yardstick = Yardstick(study)
    line.spent("start-up")
    method = get_method(first.method)
    for errand in errands:
        try:
            found, cost = _found(line, method, study, errand, yardstick, smaller)
        except Declined as error:
            return line.say("unfound", status="declined", reason=str(error))
        _leave_behind(errand, found, cost)
    line.spent(f"discovery by {method.name}")
    return line.say("kept")


def _found(
    line: Line, method: Method, study: Study, errand: Errand, yardstick: Yardstick, smaller: int
) -> tuple[Discovery, Cost]:
    """What the method finds with one seed, and its cost.

    Raises:
        Declined: the method declines the problem.
    """

    def progress(done: int, total: int, note: str) -> None:
        line.say("progress", done=done, total=total, note=note)
        yardstick.look()

    def problem(checkpoint: Path | None) -> BenchProblem:
        return study.problem(
            errand.sizes, unaided=errand.unaided, method_seed=errand.method_seed, progress=progress,
            checkpoint=checkpoint,
        )  # fmt: skip

    yardstick.begin()
    line.say_and_wait("ready")
    asked = problem(errand.checkpoint)
    signal.signal(signal.SIGTERM, asked.checkpoint.part)
    try:
        found, _ = discover(method, asked)
    except Declined:
        raise
    except Exception:
        if errand.checkpoint is None or not asked.checkpoint.was_read:
            raise
        forget(errand.checkpoint)  # it cannot resume from what does not fit
        asked = problem(None)
        found, _ = discover(method, asked)
    share = asked.sized_share
    spent = line.say_and_wait("done")
    seconds = spent["seconds"] + asked.charged["seconds"] - yardstick.seconds
    cpu_seconds = spent["cpu_seconds"] + asked.charged["cpu_seconds"] - yardstick.cpu_seconds
    yardstick.end()
    cost = Cost(
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        sized_cpu_seconds=cpu_seconds * share,
        forward_equivalents=(cpu_seconds if study.model.device.type == "cpu" else seconds) / yardstick.plain,
        **asdict(asked.counter),
        peak_memory_mb=_peak_memory_mb(),
        smaller=smaller,
        data_seconds=study.data.seconds,
    )
    return found, cost


def _leave_behind(errand: Errand, found: Discovery, cost: Cost) -> None:
    named = {"scores": found.scores, "signed": found.signed, "unaided": found.unaided}
    named |= {f"edges {size!r}": mask for size, mask in found.edges.items()}
    for size, masks in found.weights.items():
        named |= {f"weights {size!r} {matrix}": mask for matrix, mask in masks.items()}
    tensors = {name: tensor for name, tensor in named.items() if tensor is not None}
    header = _Header(errand.key, found.selection, found.objective, found.trace, cost)
    save_tensors(errand.found, tensors, asdict(header))


def _peak_memory_mb() -> float:
    """Most memory that this process has held, libraries and its model's loading included."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
