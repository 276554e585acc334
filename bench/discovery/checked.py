"""Checks a whole discovery before it is used; the result holds only plain tensors, numbers and strings.

The errors are for the method's author: one line that says what was returned and what was expected.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sized

import torch
from torch import Tensor

from bench.discovery.select import SELECTIONS
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from methods.base import Discovery

LONGEST = 200
"""Most characters of an objective or of a name in a trace."""
LONGEST_REASON = 1000
MOST_SERIES, MOST_NUMBERS = 100, 1_000_000
"""Most series of a trace, and most numbers in all of them: a file's header has them and is read whole."""
STEP = "step"
"""The series against which a report plots the others."""
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def as_discovery(
    found: object, graph: EdgeGraph, shapes: Mapping[str, torch.Size], sizes: Collection[float]
) -> Discovery:
    """The same discovery in tensors of its own: on the CPU, without gradients.

    `refuse_infinite` checks that scores are finite, and `cut` that every size has a circuit.

    Args:
        found: what a method returned.
        graph: of the model.
        shapes: of the weights that may be masked, by name.
        sizes: those requested; edges or weights of any other size are refused, since a mistyped size would
            otherwise silently be cut from the scores, if there are any.

    Raises:
        TypeError, ValueError: it is not a valid discovery.
    """
    if not isinstance(found, Discovery):
        raise TypeError(f"discover returned {type(found).__name__}, not a Discovery")
    if not isinstance(found.selection, str) or found.selection not in SELECTIONS:
        raise ValueError(f"selection is {told(found.selection)}, not one of {', '.join(SELECTIONS)}")
    edges, weights = _by_size("edges", found.edges, sizes), _by_size("weights", found.weights, sizes)
    return Discovery(
        scores=None if found.scores is None else _scores("the method's scores are", found.scores, graph),
        signed=None if found.signed is None else _scores("signed is", found.signed, graph),
        selection=found.selection,
        edges={size: _mask(f"edges[{size:g}]", kept, graph) for size, kept in edges.items()},
        weights={size: _weights(f"weights[{size:g}]", masks, shapes) for size, masks in weights.items()},
        unaided=None if found.unaided is None else _mask("unaided", found.unaided, graph),
        objective=_text("objective", found.objective),
        trace=_trace(found.trace),
    )


def refuse_infinite(found: Discovery, graph: EdgeGraph) -> None:
    """Refuses edge scores that are not finite.

    Not even -inf is allowed: with edges that no size may keep, a circuit would silently be smaller than
    requested.

    Raises:
        ValueError: a score is infinite or NaN, or there are signed scores without scores.
    """
    for what, scores in (("the method's scores", found.scores), ("the signed scores", found.signed)):
        strange = 0 if scores is None else int((~scores[graph.exists].isfinite()).sum())
        if strange:
            raise ValueError(
                f"{what} are not all finite: {strange:,} of {graph.n_edges:,} edges have NaN or an infinity; "
                "to keep an edge out, give it a finite score below all others"
            )
    if found.signed is not None and found.scores is None:
        raise ValueError("signed scores were returned without scores: return both, or only scores")


def notes_of(found: Discovery, graph: EdgeGraph) -> str:
    """What a reader of a result should know about a valid discovery; empty if there is nothing.

    Args:
        found: as `as_discovery` returns it.
        graph: of the model.
    """
    notes = []
    if found.scores is not None:
        values = found.scores[graph.exists]
        if (values == values[0]).all():
            notes.append(
                f"all scores are {float(values[0]):g}: all edges tie, and ties go to the edge computed first"
            )
    if STEP in found.trace:
        lost = sum(not math.isfinite(value) for series in found.trace.values() for value in series)
        if lost:
            notes.append(f"{lost:,} of the trace's values are NaN or infinite: figures leave them out")
    return "; ".join(notes)


def cleaned(text: str, most: int = LONGEST_REASON) -> str:
    """A text as one line of printable characters, cut off if it is too long."""
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * most])
    line = " ".join(printable.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def told(value: object) -> str:
    """A value as error messages show it."""
    return cleaned(repr(value), 60)


def _by_size(what: str, given: object, sizes: Collection[float]) -> dict[float, object]:
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} is {type(given).__name__}, expected a mapping from sizes")
    for size in given:
        if isinstance(size, bool) or not isinstance(size, int | float) or size not in sizes:
            asked = ", ".join(f"{each:g}" for each in sizes) or "none"
            raise ValueError(f"{what} has the size {told(size)}, which was not requested; requested: {asked}")
    return {size: given[size] for size in sizes if size in given}


def _scores(what: str, given: object, graph: EdgeGraph) -> Tensor:
    """As floats, in which equal scores stay equal and unequal ones unequal."""
    scores = _own(what, given, graph.exists.shape)
    if scores.dtype in (torch.float32, torch.float64):
        return scores
    if scores.dtype in _INTEGERS:
        return scores.double()
    if scores.dtype.is_floating_point:
        return scores.float()
    raise TypeError(f"{what} {scores.dtype}, expected real numbers")


def _mask(what: str, given: object, graph: EdgeGraph) -> Tensor:
    kept = _own(f"{what} is", given, graph.exists.shape)
    try:
        return Circuit(graph, kept).kept
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def _weights(what: str, given: object, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} is {type(given).__name__}, expected a mapping from names of weights")
    masks = {}
    for name, mask in given.items():
        if name not in shapes:
            raise ValueError(f"{what} has a mask of {told(name)}, expected names of problem.weights")
        masks[name] = _own(f"the mask of '{name}' in {what} is", mask, shapes[name])
        if masks[name].dtype != torch.bool:
            raise ValueError(f"the mask of '{name}' in {what} is {masks[name].dtype}, expected torch.bool")
    return masks


def _own(what: str, given: object, shape: torch.Size) -> Tensor:
    """A copy, so that nothing changes it later, not even the model whose memory it may share."""
    if not isinstance(given, Tensor):
        kind = type(given).__name__
        raise TypeError(f"{what} {kind}; scores, edges, weights and unaided must be torch tensors")
    if type(given) not in (Tensor, torch.nn.Parameter):
        raise TypeError(f"{what} a {type(given).__name__}, expected a plain torch.Tensor")
    if given.is_nested or given.layout is not torch.strided:
        kind = "nested" if given.is_nested else str(given.layout)
        raise TypeError(f"{what} {kind}, expected a dense tensor")
    if given.is_meta:
        raise ValueError(f"{what} on the device meta, which holds no values")
    if given.shape != shape:
        raise ValueError(f"{what} {tuple(given.shape)}, expected {tuple(shape)}")
    try:
        return given.detach().to("cpu", copy=True).resolve_neg().contiguous()
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{what} a tensor that cannot be read: {cleaned(str(error), 100)}") from error


def _text(what: str, given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"{what} is {type(given).__name__}, not a string")
    if any("\ud800" <= c <= "\udfff" for c in given):
        raise ValueError(f"{what} is {told(given)}: it has a lone surrogate, which cannot be stored")
    text = cleaned(given)
    if len(text) > LONGEST:
        raise ValueError(f"{what} has {len(given):,} characters, expected at most {LONGEST}")
    return text


def _trace(given: object) -> dict[str, list[float]]:
    """Lists of numbers by name. They may include infinities and NaN, which figures leave out."""
    if not isinstance(given, Mapping):
        raise TypeError(f"trace is {type(given).__name__}, expected a mapping from names to numbers")
    if len(given) > MOST_SERIES:
        raise ValueError(f"trace has {len(given):,} series, expected at most {MOST_SERIES}")
    trace: dict[str, list[float]] = {}
    left = MOST_NUMBERS
    for given_name, series in given.items():
        name = _text("a name in trace", given_name)
        if name in trace:
            raise ValueError(f"trace has the name {told(name)} twice, after both are put on one line")
        trace[name] = _numbers(f"trace[{told(name)}]", series, left)
        left -= len(trace[name])
    lengths = {name: len(series) for name, series in trace.items()}
    for name, length in lengths.items():
        if length != lengths.get(STEP, length):
            raise ValueError(
                f"trace has {length:,} values of {told(name)} and {lengths[STEP]:,} of '{STEP}', expected "
                "the same number of each"
            )
    return trace


def _numbers(what: str, given: object, most: int) -> list[float]:
    try:
        if isinstance(given, str | bytes | Mapping) or not (
            isinstance(given, Sized) and isinstance(given, Iterable)
        ):
            raise TypeError
        n = len(given)
    except TypeError as error:  # a tensor without dimensions has no length
        raise TypeError(f"{what} is {told(given)}, expected a sequence of numbers") from error
    if n > most:
        raise ValueError(f"{what} has {n:,} values, expected at most {MOST_NUMBERS:,} in the whole trace")
    return [_number(what, value) for value in given]


def _number(what: str, given: object) -> float:
    try:
        value = given.item() if isinstance(given, Tensor) else given
        if isinstance(value, str | bytes):
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"{what} holds {told(given)}, expected real numbers") from error
