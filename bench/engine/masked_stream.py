"""The residual stream under an edge mask (`streams.py` has the other forms).

All tensors of one run live in one preallocated buffer of senders, so a read is one matrix product and
nothing is concatenated; autograd sees one token that threads through all reads and writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from bench.engine.streams import BufferPool


class MaskedStream:
    """The residual stream under an edge mask.

    With delta_s = z_s - ref_s, receiver r reads  base + sum_s m[r,s] delta_s,  where base is the sum
    of all references and constants so far. Row 0 of the buffer is base, so a read is one product of
    [1, m] with the buffer. A sender whose column of the mask is empty reaches no receiver and, without
    gradients, is not computed at all. What an MLP reads from earlier layers is mixed together with what
    the heads read, since the time of the product goes into reading the buffer.

    Raises nothing itself; `MaskedModel.run` checks shapes.
    """

    def __init__(
        self,
        edges: Float[Tensor, "receivers senders"],
        reference: Float[Tensor, " senders #batch #pos d_model"] | None,
        shape: tuple[int, int, int],
        owners: Tensor,
        pool: BufferPool,
        differentiable: bool,
        recompute: bool = False,
    ) -> None:
        self.differentiable = differentiable
        self.recompute = recompute and differentiable
        """Whether the backward pass recomputes each block instead of keeping its inputs."""
        n_senders = edges.shape[1]
        self.alive = torch.ones(n_senders, dtype=torch.bool)
        if not self.differentiable:
            self.alive = (edges != 0).any(0).cpu()
        # a receiver is read if a live sender computes from it; the logits always
        self.wanted = (owners[:, self.alive].sum(1) > 0) | (owners.sum(1) == 0)
        self.slots = self.alive.cumsum(0)
        """For each column c, how many of the first c + 1 senders are live."""
        self.mask = torch.cat([edges.new_ones(len(edges), 1), edges[:, self.alive]], 1)
        self.reference = reference
        size = (1 + int(self.alive.sum()), *shape)
        self.buffer = pool.borrow(self, size, edges)
        self.buffer[0] = 0.0
        self.buffer_grad: Tensor | None = None
        self.inputs: Tensor | None = None
        if self.differentiable:  # kept until the backward pass, so worth pooling too
            self.buffer_grad = pool.borrow(self, size, edges)
        if self.differentiable and not self.recompute:
            self.inputs = pool.borrow(self, (len(edges), *shape), edges)
        self._partial: Tensor | None = None  # what `begin` read for an MLP
        self._begun = 0  # from how many live senders
        # Threads through all reads and writes, so that autograd runs their backward passes in
        # exactly the reverse order; the buffers themselves are outside autograd.
        self.token: Tensor | None = edges.new_zeros((), requires_grad=self.differentiable)

    def read(self, rows: slice, width: int) -> Tensor:
        picked = self.mask[rows]
        if not self.wanted[rows].all():
            picked = picked[self.wanted[rows].to(picked.device)]
        picked = picked[:, : 1 + self._live_before(width)]
        if self.differentiable:
            x, self.token = _Read.apply(self.token, picked, self, rows)  # type: ignore[no-untyped-call]
            if width == len(self.alive):  # the logits' read is the last: leave no reference cycle
                self.token = None
            return x  # type: ignore[no-any-return]
        return self.mix(picked)

    def block(self, rows: slice, columns: slice, width: int, compute: Callable[[Tensor], Tensor]) -> None:
        """Reads, computes and writes in one step, which the backward pass repeats; every sender is live.

        Args:
            rows: the receivers that are read.
            columns: the senders that are written.
            width: how many of the first senders the receivers read.
            compute: maps what is read to what is written; called again in the backward pass.
        """
        picked, slots = self.mask[rows][:, : 1 + width], slice(1 + columns.start, 1 + columns.stop)
        self.token = _Block.apply(self.token, picked, self, columns, slots, compute)  # type: ignore[no-untyped-call]

    def begin(self, rows: slice, width: int) -> Tensor:
        picked = self.mask[rows.start : rows.stop + 1].clone()
        picked[-1, 0] = 0.0  # base grows until `finish`, which adds it
        wanted = self.wanted[rows.start : rows.stop + 1]
        if not wanted.all():
            picked = picked[wanted.to(picked.device)]
        self._begun = self._live_before(width)
        picked = picked[:, : 1 + self._begun]
        if self.differentiable:
            x, self._partial, self.token = _Begin.apply(self.token, picked, self, rows)  # type: ignore[no-untyped-call]
            return x  # type: ignore[no-any-return]
        x = self.mix(picked)
        heads = int(wanted[:-1].sum())
        self._partial = x[heads:]
        return x[:heads]

    def finish(self, row: slice, width: int) -> Tensor:
        slots = slice(1 + self._begun, 1 + self._live_before(width))
        picked = self.mask[row][:, slots]
        partial, self._partial = self._partial, None
        assert partial is not None
        if self.differentiable:
            x, self.token = _Finish.apply(self.token, partial, picked, self, slots)  # type: ignore[no-untyped-call]
            return x  # type: ignore[no-any-return]
        return self.add(partial, picked, slots)

    def add(self, partial: Tensor, mask: Tensor, slots: slice) -> Tensor:
        """Completes in place what was begun: adds base and the senders of some slots.

        Args:
            partial: what `begin` read, overwritten.
            mask: the receiver's, for those senders only.
            slots: their rows of the buffer.
        """
        partial = partial.data
        partial += self.buffer[0]
        partial.flatten(1).addmm_(mask.detach(), self.buffer[slots].flatten(1))
        return partial

    def mix(self, mask: Tensor, out: Tensor | None = None) -> Tensor:
        mixed = torch.mm(mask, self.buffer[: mask.shape[1]].flatten(1), out=out)
        return mixed.view(len(mask), *self.buffer.shape[1:]).data

    def unmix(self, mask: Tensor, grad: Tensor, wanted: bool) -> Tensor | None:
        """The backward of `mix`: accumulates the senders' gradients and returns the mask's if wanted.

        Args:
            mask: as passed to `mix`, base's column first.
            grad: of what was read, ``[rows, batch * pos * d_model]``.
            wanted: whether the mask needs a gradient.
        """
        width = mask.shape[1]
        assert self.buffer_grad is not None
        # The last read (the logits', of all senders) comes first in the backward pass: it starts the sums.
        first = width == len(self.buffer)
        self.buffer_grad[:width].flatten(1).addmm_(mask.T, grad, beta=0.0 if first else 1.0)
        if not wanted:
            return None
        # The gradient of the first column, base's, is never needed. This order of the product is nearly
        # twice as fast on CPU as its transpose.
        grad_mask = torch.zeros_like(mask)
        grad_mask[:, 1:] = (self.buffer[1:width].flatten(1) @ grad.T).T
        return grad_mask

    def write(self, columns: slice, out: Tensor) -> None:
        start = self._live_before(columns.start)
        slots = slice(1 + start, 1 + start + len(out))
        if self.differentiable:
            self.token = _Write.apply(self.token, out, self, columns, slots)  # type: ignore[no-untyped-call]
        else:
            self.store(out, columns, slots)

    def store(self, out: Tensor, columns: slice, slots: slice) -> None:
        """Stores outputs minus references in the buffer, and adds the references of all columns to base.

        Args:
            out: of the live senders among `columns`.
            columns: senders whose references are added, live or not.
            slots: the live ones' rows of the buffer.
        """
        if self.reference is None:
            self.buffer[slots] = out
            return
        reference = self.reference[columns]
        self.buffer[0] += reference.sum(0)
        alive = self.alive[columns]
        if not alive.all():
            reference = reference[alive.to(reference.device)]
        if len(out):
            torch.sub(out, reference, out=self.buffer[slots])

    def shift(self, constant: Tensor) -> None:
        if self.differentiable:
            self.token = _Shift.apply(self.token, constant, self)  # type: ignore[no-untyped-call]
        else:
            self.buffer[0] += constant

    def live(self, columns: slice) -> Tensor | None:
        alive = self.alive[columns]
        return None if alive.all() else alive

    def _live_before(self, column: int) -> int:
        return int(self.slots[column - 1]) if column else 0


class _Read(Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, mask: Tensor, stream: MaskedStream, rows: slice
    ) -> tuple[Tensor, Tensor]:
        ctx.stream = stream
        ctx.save_for_backward(mask)
        # .data: the rows never overlap, so one shared version counter would raise false alarms
        out = None if stream.inputs is None else stream.inputs[rows].flatten(1).data
        return stream.mix(mask, out), token.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (mask,) = ctx.saved_tensors
        grad_mask = ctx.stream.unmix(mask, grads[0].flatten(1), ctx.needs_input_grad[1])
        return grads[1], grad_mask, None, None


class _Begin(Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, mask: Tensor, stream: MaskedStream, rows: slice
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.stream = stream
        ctx.save_for_backward(mask)
        assert stream.inputs is not None
        x = stream.mix(mask, stream.inputs[rows.start : rows.stop + 1].flatten(1).data)
        return x[:-1].data, x[-1:].data, token.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (mask,) = ctx.saved_tensors
        grad = torch.cat(grads[:2]).flatten(1)
        return grads[2], ctx.stream.unmix(mask, grad, ctx.needs_input_grad[1]), None, None


class _Finish(Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, partial: Tensor, mask: Tensor, stream: MaskedStream, slots: slice
    ) -> tuple[Tensor, Tensor]:
        ctx.stream, ctx.slots = stream, slots
        ctx.save_for_backward(mask)
        return stream.add(partial, mask, slots), token.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        (mask,) = ctx.saved_tensors
        stream, grad = ctx.stream, grads[0].flatten(1)
        stream.buffer_grad[0] += grads[0][0]
        stream.buffer_grad[ctx.slots].flatten(1).addmm_(mask.T, grad)
        grad_mask = None
        if ctx.needs_input_grad[2]:
            grad_mask = (stream.buffer[ctx.slots].flatten(1) @ grad.T).T
        return grads[1], grads[0], grad_mask, None, None


class _Block(Function):
    @staticmethod
    def forward(
        ctx: Any,
        token: Tensor,
        mask: Tensor,
        stream: MaskedStream,
        columns: slice,
        slots: slice,
        compute: Callable[[Tensor], Tensor],
    ) -> Tensor:
        ctx.stream, ctx.slots, ctx.compute = stream, slots, compute
        ctx.save_for_backward(mask)
        ctx.base = stream.buffer[0].clone()  # base changes later, the senders do not
        stream.store(compute(stream.mix(mask)), columns, slots)
        return token.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None, None, None]:
        (mask,) = ctx.saved_tensors
        assert ctx.stream.buffer_grad is not None
        ctx.stream.buffer[0] = ctx.base
        with torch.enable_grad():
            x = ctx.stream.mix(mask).requires_grad_()
            (grad,) = torch.autograd.grad(ctx.compute(x), x, ctx.stream.buffer_grad[ctx.slots])
        grad_mask = ctx.stream.unmix(mask, grad.flatten(1), ctx.needs_input_grad[1])
        return grads[0], grad_mask, None, None, None, None


class _Write(Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, out: Tensor, stream: MaskedStream, columns: slice, slots: slice
    ) -> Tensor:
        ctx.stream, ctx.slots = stream, slots
        stream.store(out, columns, slots)
        return token.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        assert ctx.stream.buffer_grad is not None
        return grads[0], ctx.stream.buffer_grad[ctx.slots], None, None, None


class _Shift(Function):
    @staticmethod
    def forward(ctx: Any, token: Tensor, constant: Tensor, stream: MaskedStream) -> Tensor:
        ctx.stream = stream
        stream.buffer[0] += constant
        return token.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        return grads[0], ctx.stream.buffer_grad[0].sum((0, 1)), None
