"""A device that is none: tensors on the CPU that claim to be elsewhere, and refuse to meet those that do not.

It is strict as a GPU is: an operation on tensors of both places raises, but for copies, for numbers without a
dimension, and for indices, which torch takes from the CPU. Like Apple's MPS it has no float64. It goes by the
name of ``meta``, the one device besides the CPU for which torch asks no driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

DEVICE = torch.device("meta")
_COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
_INDEXED = (
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put_.default,
    torch.ops.aten.index_put.default,
    torch.ops.aten._index_put_impl_.default,
)
_INDEXING = (Tensor.__getitem__, Tensor.__setitem__)


class Elsewhere(Tensor):
    """A tensor of the pretended device; `held` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        if held.dtype == torch.float64:
            raise TypeError(f"the device {DEVICE} has no float64")
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=DEVICE
        )
        made.held = held
        return made

    def tolist(self) -> Any:
        return self.held.tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({self.held!r})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Sees tensors that are made on the device as well."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


_CPUGenerator = torch.Generator


class _Generator(torch.Generator):
    """A generator of the device, or one of the CPU where that is asked for."""

    device = DEVICE

    def __new__(cls, device: torch.device | str = "cpu") -> torch.Generator:  # type: ignore[misc]
        return super().__new__(cls) if torch.device(device) == DEVICE else _CPUGenerator()

    def __init__(self, device: torch.device | str) -> None:
        """It draws on the CPU."""


class _Python(TorchFunctionMode):
    """What torch settles before it comes to an operation: whose generator draws, and Python's own numbers.

    Those it would not copy to ``meta``, which holds none.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        generator, wanted = kwargs.get("generator"), torch.device(kwargs.get("device") or "cpu")
        if generator is not None and generator.device != wanted:
            raise RuntimeError(f"{func}: the generator is of another device than {wanted}")
        if func in _INDEXING:
            parts = args[1] if isinstance(args[1], tuple) else (args[1],)
            args = (args[0], tuple(map(_as_tensor, parts)), *args[2:])
        if func in (torch.tensor, torch.as_tensor) and wanted == DEVICE:
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


def _as_tensor(index: Any) -> Any:
    """A list of numbers as a tensor of the CPU."""
    return torch.tensor(index, dtype=None if index else torch.long) if isinstance(index, list) else index


def _run(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """An operation on what tensors hold; its outcome is on the device if anything of it is."""
    flat, spec = tree_flatten((args, dict(kwargs)))
    there = [each for each in flat if isinstance(each, Elsewhere)]
    here = [each for each in flat if isinstance(each, Tensor) and not isinstance(each, Elsewhere)]
    wanted = kwargs.get("device")
    wanted = None if wanted is None else torch.device(wanted)
    on_device = bool(there) if wanted is None else wanted == DEVICE
    if there and func not in _COPIES:
        _refuse_mixed(func, args, [each for each in here if each.dim()])
    wrapped = {id(each.held): each for each in there}
    flat = [each.held if isinstance(each, Elsewhere) else each for each in flat]
    inner_args, inner_kwargs = tree_unflatten(flat, spec)
    if wanted is not None:
        inner_kwargs["device"] = torch.device("cpu")
    if func is torch.ops.aten.copy_.default:
        on_device = isinstance(args[0], Elsewhere)
    out = func(*inner_args, **inner_kwargs)

    def outer(value: Any) -> Any:
        if not isinstance(value, Tensor) or not on_device:
            return value
        return wrapped[id(value)] if id(value) in wrapped else Elsewhere(value)

    return tree_map(outer, out)


def _refuse_mixed(func: Any, args: tuple[Any, ...], here: list[Tensor]) -> None:
    if func in _INDEXED and isinstance(args[0], Elsewhere):
        here = [each for each in here if not any(each is index for index in args[1])]
    if here:
        raise RuntimeError(f"{func}: tensors are on {DEVICE} and on cpu ({[tuple(h.shape) for h in here]})")


@contextmanager
def pretended() -> Iterator[torch.device]:
    """Within it `DEVICE` can be named as any other."""
    fused = patch("torch.optim.optimizer._get_fused_kernels_supported_devices", lambda: ["cpu", DEVICE.type])
    mode: Any = _Mode
    with mode(), _Python(), patch.object(torch, "Generator", _Generator), fused:
        yield DEVICE


def moved(value: Any) -> Any:
    """Tensors of a structure, on the device."""
    copy: Callable[[Any], Any] = lambda each: each.to(DEVICE) if isinstance(each, Tensor) else each  # noqa: E731
    return tree_map(copy, value)
