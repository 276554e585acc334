"""Buffers that the masked forward lends from run to run, and what outlives a run."""

from __future__ import annotations

import gc
import math
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.engine.masked_model import MaskedModel
from bench.engine.masked_stream import MaskedStream
from tiny_models import Tiny, loss, mask_gradient


def test_a_run_leaves_its_arguments_alone(case: Tiny) -> None:
    """Mask, reference and weights are the caller's."""
    mask, removed = case.mask("soft0"), case.reference("mean")
    assert removed is not None
    arguments = [mask, removed, *case.model.weights.values()]
    before = [tensor.clone() for tensor in arguments]
    mask_gradient(case, mask, removed)
    case.run(mask, removed, differentiable=False)
    assert all(torch.equal(a, b) for a, b in zip(arguments, before, strict=True))


def test_two_live_runs_do_not_disturb_each_other(case: Tiny) -> None:
    """Two graphs at once, backward in the other order, then both in one backward pass."""
    removed = case.reference("resample")
    masks = [case.mask("soft0"), case.mask("soft1")]
    alone = [mask_gradient(case, mask, removed) for mask in masks]
    first, second = (mask.clone().requires_grad_() for mask in masks)
    losses = [loss(case.model.run(case.clean, mask, removed)) for mask in (first, second)]
    case.agree(torch.autograd.grad(losses[1], second, retain_graph=True)[0], alone[1])
    case.agree(torch.autograd.grad(losses[0], first, retain_graph=True)[0], alone[0])
    together = torch.autograd.grad(losses[0] + losses[1], [first, second])
    for gradient, expected in zip(together, alone, strict=True):
        case.agree(gradient, expected)


def test_backward_twice_through_one_run(case: Tiny) -> None:
    """With `retain_graph`, the second pass starts its sums afresh."""
    mask, removed = case.mask("soft0").requires_grad_(), case.reference("resample")
    logits = case.model.run(case.clean, mask, removed)
    values = [loss(logits[:1]), loss(logits[1:])]
    halves = [torch.autograd.grad(value, mask, retain_graph=True)[0] for value in values]
    again = torch.autograd.grad(values[0], mask, retain_graph=True)[0]
    case.agree(again, halves[0])
    case.agree(halves[0] + halves[1], mask_gradient(case, case.mask("soft0"), removed))


def test_logits_carry_a_gradient_only_where_one_is_wanted(case: Tiny) -> None:
    """To any mask of edges or weights, and not in a `no_grad` block."""
    plain, wanted = case.mask("soft0"), case.mask("soft0").requires_grad_()
    weights = {"m0.W_in": torch.ones_like(case.model.weights["m0.W_in"]).requires_grad_()}
    assert not case.model.run(case.clean).requires_grad
    assert not case.model.run(case.clean, plain).requires_grad
    assert case.model.run(case.clean, wanted).requires_grad
    assert case.model.run(case.clean, plain, weights=weights).requires_grad
    assert case.model.run(case.clean, weights=weights).requires_grad
    with torch.no_grad():
        assert not case.model.run(case.clean, wanted, weights=weights).requires_grad


def fresh(model: MaskedModel) -> MaskedModel:
    """The same model with nothing computed or lent yet."""
    return MaskedModel(model.architecture, model.weights)


def test_nothing_of_an_earlier_run_shows(case: Tiny) -> None:
    """A run that fills every buffer with NaN leaves no trace in the next."""
    mask, removed = case.mask("soft0"), case.reference("resample")
    assert removed is not None
    spoilt = replace(case, model=fresh(case.model))
    assert mask_gradient(spoilt, mask, torch.full_like(removed, math.nan)).isnan().any()
    case.agree(mask_gradient(spoilt, mask, removed), mask_gradient(case, mask, removed))
    logits = spoilt.run(mask, removed, differentiable=False)
    case.agree(logits, case.oracle.masked(case.clean, mask, removed))


def test_logits_outlive_their_run(case: Tiny) -> None:
    """A later run does not write into an earlier one's result."""
    removed = case.reference("resample")
    with torch.no_grad():
        kept = case.model.run(case.clean, case.mask("soft0"), removed)
        before = kept.clone()
        case.model.run(case.corrupted, case.mask("soft1"), removed)
    assert torch.equal(kept, before)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_a_run_is_freed_with_its_logits(case: Tiny, backward: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No reference cycle keeps its buffers until the garbage collector comes by."""
    alive: weakref.WeakSet[MaskedStream] = weakref.WeakSet()

    start = MaskedStream.__init__

    def watched(stream: MaskedStream, *arguments: Any, **options: Any) -> None:
        start(stream, *arguments, **options)
        alive.add(stream)

    monkeypatch.setattr(MaskedStream, "__init__", watched)
    gc.disable()
    try:
        value = loss(case.model.run(case.clean, case.mask("soft0").requires_grad_()))
        assert len(alive) == 1
        if backward:
            value.backward()
        del value
        assert not alive
    finally:
        gc.enable()


def test_edge_gradients_free_what_they_recorded(case: Tiny) -> None:
    """The senders' outputs and the direction go as soon as the call returns."""
    large: list[weakref.ref[Tensor]] = []

    def towards(z: Tensor) -> Tensor:
        direction = torch.ones_like(z)
        large.extend([weakref.ref(z), weakref.ref(direction)])
        return direction

    gc.disable()
    try:
        case.model.edge_gradients(case.clean, loss, towards)
        assert [there() for there in large] == [None, None]
    finally:
        gc.enable()


def test_inference_mode_before_training_mode(case: Tiny) -> None:
    """Buffers first used in `torch.inference_mode` serve a differentiable run too."""
    model = fresh(case.model)
    with torch.inference_mode():
        model.run(case.clean, case.mask("soft0"))
    mask = case.mask("soft0").requires_grad_()
    case.agree(model.run(case.clean, mask), case.model.run(case.clean, mask))
