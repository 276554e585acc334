"""A program whose circuit is known: one function that builds a RASP expression, and what it runs on.

Tracr (Lindner et al. 2023, arXiv:2301.05062) compiles such an expression into the weights of a
transformer. Nothing here compiles; `tracr_ground_truth.compile` does.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Value = str | int | bool


class ProgramError(ValueError):
    """A program or an input that cannot be used: one line that says what is wrong and how to fix it."""


@dataclass(frozen=True)
class Program:
    """A RASP program with its vocabulary, its longest input and its data set."""

    name: str
    build: Callable[[], Any]
    """Builds a new copy of the RASP expression (an ``rasp.SOp``)."""
    description: str
    """One line: what it computes."""
    vocabulary: tuple[Value, ...]
    length: int
    """Tokens of the longest input, without BOS."""
    lengths: tuple[int, ...]
    """Tokens of the inputs in the data set, without BOS."""
    causal: bool = False
    redundant: bool = False
    """Whether two paths do the same on purpose, so that no single set of edges is the true one."""
    published: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Edges that others take for the circuit, by source."""


def program(
    vocabulary: Sequence[Value],
    length: int,
    *,
    lengths: Sequence[int] | None = None,
    causal: bool = False,
    redundant: bool = False,
    published: Mapping[str, tuple[str, ...]] | None = None,
) -> Callable[[Callable[[], Any]], Program]:
    """Makes a program of a function that takes no argument and returns a RASP expression.

    Its name is the function's, its description the first line of the docstring.

    Args:
        vocabulary: a string of one-letter tokens or a sequence of values.
        length: tokens of the longest input that the model takes, without BOS.
        lengths: those of the data set's inputs; `length` alone by default.
        causal: whether attention is causal.
        redundant: whether two paths do the same on purpose, so that no single set of edges is the true one.
        published: edges that others take for the circuit, by source; reported, never taken as the truth.

    Raises:
        ProgramError: there is no vocabulary, a token occurs twice or has a wrong type, a length is outside
            1..length, or there is no docstring.
    """

    def decorate(build: Callable[[], Any]) -> Program:
        name, description = build.__name__, (inspect.getdoc(build) or "").partition("\n")[0]
        chosen = tuple(dict.fromkeys(lengths)) if lengths is not None else (length,)
        if not description:
            raise ProgramError(f"the program '{name}' has no docstring: say in one line what it computes")
        if not vocabulary or min(len(set(vocabulary)), len(set(map(str, vocabulary)))) < len(vocabulary):
            raise ProgramError(f"the program '{name}' needs a vocabulary without repeated tokens")
        if not all(isinstance(value, str | int) for value in vocabulary):
            raise ProgramError(f"the program '{name}' has a token that is not a string, number or bool")
        if not chosen or not all(1 <= each <= length for each in chosen):
            raise ProgramError(f"the program '{name}' has lengths {chosen}, which are not all in 1..{length}")
        return Program(
            name, build, description, tuple(vocabulary), length, chosen, causal, redundant, published or {}
        )

    return decorate


def find_programs() -> tuple[dict[str, Program], dict[str, str]]:
    """All programs of this folder by name, and the modules that could not be imported, with the reason."""
    import tracr_ground_truth

    found: dict[str, Program] = {}
    missing: dict[str, str] = {}
    for module in pkgutil.iter_modules(tracr_ground_truth.__path__):
        try:
            loaded = importlib.import_module(f"tracr_ground_truth.{module.name}")
        except ImportError as error:
            missing[module.name] = not_installed(error)
            continue
        found |= {p.name: p for p in vars(loaded).values() if isinstance(p, Program)}
    return found, missing


def not_installed(error: ImportError) -> str:
    """How to install a missing Tracr."""
    return f"not installed: {error.name or error}; install it with: pip install 'circuitmark[tracr]'"
