"""The residual stream, in the four forms in which a model is run.

A forward pass is one loop of *read*, compute, *write* (`masked_model.py`). The stream decides what a read
returns and what a write does:

- `PlainStream`: the full model; every receiver reads the sum of everything written so far.
- `TappedStream`: the same, and the backward pass contracts the gradient at every receiver's input
  with a direction per sender (what attribution methods need, in one backward pass).
- `MaskedStream` (`masked_stream.py`): receiver r reads  sum_s m[r,s] z_s + (1 - m[r,s]) ref_s,  with
  gradients to m.
- `StackedStream`: the same under several masks at once, without gradients; for many masks of small models.

`tests/test_engine/test_masked_model.py` checks each form against TransformerBridge hooks, the slow reference.
"""

from __future__ import annotations

import weakref
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


class BufferPool:
    """Large buffers, each lent to a run and reclaimed when nothing refers to that run any more.

    Fresh memory costs a page fault per 4 kB: on GPT-2 small's shape a masked forward with gradients
    took 2.2 plain forwards without reuse, 1.4 with it.
    """

    def __init__(self) -> None:
        self._idle: list[Tensor] = []

    def borrow(self, owner: object, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """An uninitialised tensor, reserved until the owner is garbage-collected.

        Args:
            owner: when it is collected, another run may use the memory.
            shape: of the tensor.
            like: a tensor of the same dtype and device.
        """
        size = torch.Size(shape).numel()
        for i, idle in enumerate(self._idle):
            alike = idle.dtype == like.dtype and idle.device == like.device
            # autograd rejects tensors made in inference mode
            if alike and idle.numel() >= size and idle.is_inference() == torch.is_inference_mode_enabled():
                memory = self._idle.pop(i)
                break
        else:
            self._idle.clear()  # none fits: free them all
            memory = like.new_empty(size)
        weakref.finalize(owner, self._idle.append, memory).atexit = False
        return memory[:size].view(shape)


@runtime_checkable
class Stream(Protocol):
    """What a forward pass needs from a residual stream."""

    def read(self, rows: slice, width: int) -> Float[Tensor, "rows batch pos d_model"]:
        """The inputs of some receivers, each of which reads the first `width` senders.

        One shared row may stand for all of them; rows that no live sender computes from are left out.
        """

    def begin(self, rows: slice, width: int) -> Float[Tensor, "rows batch pos d_model"]:
        """Reads for a layer's heads; may also start the read of the next row, its MLP's."""

    def finish(self, row: slice, width: int) -> Float[Tensor, "row batch pos d_model"]:
        """Reads for that MLP, after the heads of its layer have written."""

    def write(self, columns: slice, out: Float[Tensor, "live batch pos d_model"]) -> None:
        """Takes the outputs of the live senders among `columns`."""

    def shift(self, constant: Float[Tensor, " d_model"]) -> None:
        """Adds a constant that all later receivers read and no edge carries (an attention bias b_O)."""

    def live(self, columns: slice) -> Bool[Tensor, " columns"] | None:
        """Which of some senders must be computed; None for all of them."""


class PlainStream:
    """The full model's residual stream: a running sum."""

    def __init__(self, recorder: Float[Tensor, "senders batch pos d_model"] | None = None) -> None:
        self.total: Tensor | float = 0.0
        self.recorder = recorder
        """Where each sender's output is stored, if requested."""

    def read(self, rows: slice, width: int) -> Tensor:
        assert isinstance(self.total, Tensor)
        return self.total[None]

    def begin(self, rows: slice, width: int) -> Tensor:
        return self.read(rows, width)

    def finish(self, row: slice, width: int) -> Tensor:
        return self.read(row, width)

    def write(self, columns: slice, out: Tensor) -> None:
        if self.recorder is not None:
            self.recorder[columns] = out.detach()
        self.total = self.total + out.sum(0)

    def shift(self, constant: Tensor) -> None:
        self.total = self.total + constant

    def live(self, columns: slice) -> None:
        return None


class StackedStream:
    """The residual stream under several edge masks at once: the batch repeats the prompts for each mask.

    As in `MaskedStream`, a receiver reads  base + sum_s m[r,s] (z_s - ref_s);  slot 0 is base.
    """

    def __init__(
        self,
        masks: Float[Tensor, "mask receivers senders"],
        reference: Float[Tensor, " senders #batch #pos d_model"] | None,
        shape: tuple[int, int, int],
    ) -> None:
        n, _, senders = masks.shape
        self.masks = torch.cat([masks.new_ones(*masks.shape[:2], 1), masks], 2)
        self.reference = reference
        self.shape = shape
        self.slots = masks.new_zeros(n, 1 + senders, *shape)

    def read(self, rows: slice, width: int) -> Tensor:
        mixed = self.masks[:, rows, : 1 + width] @ self.slots[:, : 1 + width].flatten(2)
        n, count, _ = mixed.shape
        return mixed.view(n, count, *self.shape).transpose(0, 1).flatten(1, 2)

    def begin(self, rows: slice, width: int) -> Tensor:
        return self.read(rows, width)

    def finish(self, row: slice, width: int) -> Tensor:
        return self.read(row, width)

    def write(self, columns: slice, out: Tensor) -> None:
        written = out.unflatten(1, (len(self.slots), -1)).transpose(0, 1)
        if self.reference is not None:
            reference = self.reference[columns]
            written = written - reference
            self.slots[:, 0] += reference.sum(0)
        self.slots[:, 1 + columns.start : 1 + columns.stop] = written

    def shift(self, constant: Tensor) -> None:
        self.slots[:, 0] += constant

    def live(self, columns: slice) -> None:
        return None


class Taps:
    """What a `TappedStream` measures; separate, as the stream holds the autograd graph that refers to it."""

    def __init__(self, gradients: Float[Tensor, "receivers senders"]) -> None:
        self.gradients = gradients
        self.direction: Tensor | None = None
        """``[senders, batch, pos, d_model]``; may be set after the forward pass."""


class TappedStream(PlainStream):
    """The full model, measuring  direction_s . dL/dx_r  for every edge during the backward pass."""

    def __init__(self, recorder: Tensor, taps: Taps, replaced: tuple[slice, Tensor] | None = None) -> None:
        """`replaced` is columns that are written together, and what is written instead of their outputs."""
        super().__init__(recorder)
        self.taps, self.replaced = taps, replaced

    def write(self, columns: slice, out: Tensor) -> None:
        super().write(columns, out if not self.replaced or columns != self.replaced[0] else self.replaced[1])

    def read(self, rows: slice, width: int) -> Tensor:
        assert isinstance(self.total, Tensor)
        return _Tap.apply(self.total, self.taps, rows, width)  # type: ignore[no-untyped-call, no-any-return]


class _Tap(Function):
    """Copies the stream to each receiver; the backward pass sees each receiver's own gradient."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, taps: Taps, rows: slice, width: int) -> Tensor:
        ctx.taps, ctx.rows, ctx.width = taps, rows, width
        return total.expand(rows.stop - rows.start, *total.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = grads
        assert ctx.taps.direction is not None
        contracted = ctx.taps.direction[: ctx.width].flatten(1) @ grad.flatten(1).T
        ctx.taps.gradients[ctx.rows, : ctx.width] += contracted.T
        return grad.sum(0), None, None, None
