"""circuitmark: a benchmark for circuit discovery. What notebooks and plugins import.

Everything is loaded on first use, so that `import circuitmark` costs nothing.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.conformance.check import check
    from bench.engine.circuit import Circuit
    from bench.exchange.formats import read_circuit, write_circuit
    from bench.exchange.published import published
    from bench.models.load import load_model
    from bench.names import get_task as load_task
    from bench.report import read_leaderboard as leaderboard
    from bench.report import run
    from bench.runs.experiment import Experiment
    from bench.study import Study
    from methods.base import Batch, Discovery, Method, Problem
    from tracr_ground_truth.program import program

    __version__: str

__all__ = [
    "Batch",
    "Circuit",
    "Discovery",
    "Experiment",
    "Method",
    "Problem",
    "Study",
    "__version__",
    "check",
    "leaderboard",
    "load_model",
    "load_task",
    "program",
    "published",
    "read_circuit",
    "run",
    "write_circuit",
]

_HOMES = {
    "Batch": "methods.base:Batch",
    "Circuit": "bench.engine.circuit:Circuit",
    "Discovery": "methods.base:Discovery",
    "Experiment": "bench.runs.experiment:Experiment",
    "Method": "methods.base:Method",
    "Problem": "methods.base:Problem",
    "Study": "bench.study:Study",
    "check": "bench.conformance.check:check",
    "leaderboard": "bench.report:read_leaderboard",
    "load_model": "bench.models.load:load_model",
    "load_task": "bench.names:get_task",
    "program": "tracr_ground_truth.program:program",
    "published": "bench.exchange.published:published",
    "read_circuit": "bench.exchange.formats:read_circuit",
    "run": "bench.report:run",
    "write_circuit": "bench.exchange.formats:write_circuit",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("circuitmark")
    if name not in _HOMES:
        raise AttributeError(f"module 'circuitmark' has no attribute '{name}'")
    from circuitmark import notebook
    from circuitmark.rooms import take

    take()
    notebook.begin()
    module, _, original = _HOMES[name].partition(":")
    return getattr(import_module(module), original)


def __dir__() -> list[str]:
    return sorted(__all__)
