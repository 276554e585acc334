"""One run of a method on one problem, and what can be observed of it."""

from __future__ import annotations

import gc
import time
import traceback
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from bench.conformance.problems import SIZES, TinyProblem
from bench.discovery.discover import seed_generators
from bench.engine.graph import EdgeGraph
from bench.names import get_method
from bench.study import Study
from methods.base import Method

Ref = weakref.ReferenceType[Any]


def _set_grad(on: bool) -> None:
    torch.set_grad_enabled(on)


SETTINGS: Mapping[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's grad mode": (torch.is_grad_enabled, _set_grad),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
}
"""Global settings that methods must not change: how each is read and set."""


@dataclass
class Attempt:
    """The outcome of a run."""

    skipped: object = None
    """What `skip` returned."""
    returned: object = None
    """What `discover` returned, unchecked."""
    error: str = ""
    """The error that ended it, and where."""
    seconds: float = 0.0
    told: int = 0
    """Calls of `Problem.progress`."""
    changed: list[str] = field(default_factory=list)
    """What the run changed."""
    alive: list[str] = field(default_factory=list)
    """What outlived the run, although only the method could still hold it."""
    graph: EdgeGraph | None = None
    shapes: Mapping[str, torch.Size] = field(default_factory=dict)
    """Shapes of the weights that may be masked."""
    n_edges: Mapping[float, int] = field(default_factory=dict)
    """Requested edges, by size."""


def attempt(method: str, problem: TinyProblem, *, seed: int, device: str) -> Attempt:
    """Runs a method on its own copy of a problem, on one thread.

    Args:
        method: as typed.
        problem: the problem to try it on.
        seed: the seed of whatever the method draws.
        device: where the model runs.

    Raises:
        Unavailable: the problem is not available.
        UsageError: there is no such method.
    """
    before = {name: read() for name, (read, _) in SETTINGS.items()}
    torch.set_num_threads(1)
    try:
        adapter = get_method(method)  # stays alive while we check what it holds
        study = problem.study(device)
        seen, known = _run(adapter, study, seed)
        del study
        gc.collect()
        seen.alive = [name for name, thing in known.items() if thing() is not None]
        return seen
    finally:
        for name, (_, restore) in SETTINGS.items():
            restore(before[name])


def _run(adapter: Method, study: Study, seed: int) -> tuple[Attempt, dict[str, Ref]]:
    """The attempt, and what should be freed once the study is."""
    seen = Attempt(graph=study.graph, shapes=study.model.maskable)

    def progress(done: int, total: int, note: str) -> None:
        seen.told += 1

    problem = study.problem(SIZES, method_seed=seed, progress=progress)
    seen.n_edges = {size: problem.edges_of_share(size) for size in problem.sizes}
    untouched = _snapshot(study)
    settings = {name: read() for name, (read, _) in SETTINGS.items()}
    seed_generators(seed)
    began = time.perf_counter()
    try:
        seen.skipped = adapter.skip(problem)
        if not seen.skipped:
            seen.returned = adapter.discover(problem)
    except (Exception, SystemExit) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(str(error).split())
        seen.error = f"{type(error).__name__}: {said} ({place.filename}, line {place.lineno})"
    seen.seconds = time.perf_counter() - began
    seen.changed = [name for name, old in settings.items() if SETTINGS[name][0]() != old]
    now = _tensors(study)
    seen.changed += [name for name, old in untouched.items() if not _same(old, now[name])]
    known: dict[str, Ref] = {"the problem": weakref.ref(problem), "the model": weakref.ref(study.model)}
    known |= {f"batch {i}": weakref.ref(batch) for i, batch in enumerate(study.data.discovery)}
    return seen, known


def _tensors(study: Study) -> dict[str, Tensor]:
    """The model's weights and the prompts, by names that a user knows."""
    named = {f"the weight {name}": weight for name, weight in study.model.weights.items()}
    for i, batch in enumerate(study.data.discovery):
        named |= {f"`{f.name}` of batch {i}": getattr(batch, f.name) for f in fields(batch)}
    return named


def _snapshot(study: Study) -> dict[str, Tensor]:
    return {
        name: tensor.detach().clone().requires_grad_(tensor.requires_grad)
        for name, tensor in _tensors(study).items()
    }


def _same(one: Tensor, other: Tensor) -> bool:
    return one.requires_grad == other.requires_grad and torch.equal(one, other)
