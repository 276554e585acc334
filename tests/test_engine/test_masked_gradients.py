"""Gradients of the masked forward: to edges, to weights, and `edge_gradients`.

Held to autograd through TransformerBridge hooks and to finite differences.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.engine.masked_model import MaskedModel
from tiny_models import (
    LENGTHS,
    MASKS,
    PROMPTS,
    REFERENCES,
    TRACR,
    Tiny,
    less,
    loss,
    mask_gradient,
    random_model,
    seeded,
    some_edges,
)


def slope(function: Callable[[Tensor], Tensor], at: Tensor, direction: Tensor, step: float = 1e-5) -> float:
    """The derivative along a direction, by central differences."""
    with torch.no_grad():
        return float(function(at + step * direction) - function(at - step * direction)) / (2 * step)


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("kind", MASKS)
def test_gradients_to_the_mask_are_the_oracles(counted: Tiny, kind: str, reference: str) -> None:
    """Autograd through bridge hooks gives the same, edge by edge."""
    mask, removed = counted.mask(kind).requires_grad_(), counted.reference(reference)
    (expected,) = torch.autograd.grad(loss(counted.oracle.masked(counted.clean, mask, removed)), mask)
    counted.agree(mask_gradient(counted, mask.detach(), removed), expected)


@pytest.mark.parametrize("reference", ["resample", "zero"])
def test_gradients_to_the_mask_are_finite_differences(case: Tiny, reference: str) -> None:
    """On a few edges, one at a time."""
    mask, removed = case.mask("soft1"), case.reference(reference)
    gradient = mask_gradient(case, mask, removed)
    for row, column in some_edges(case, 6):
        direction = case.mask("zeros")
        direction[row, column] = 1.0
        expected = slope(lambda m: loss(case.model.run(case.clean, m, removed)), mask, direction)
        assert float(gradient[row, column]) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_gradients_through_answers(case: Tiny) -> None:
    """Picking answers before the unembedding gives the gradient of picking them after it."""
    answers = torch.tensor([2, 0, 0]), torch.tensor([6, 3, 1])
    mask, removed = case.mask("soft1").requires_grad_(), case.reference("resample")
    early = loss(case.model.run(case.clean, mask, removed, answers=answers))
    late = loss(case.model.run(case.clean, mask, removed)[answers])
    case.agree(torch.autograd.grad(early, mask)[0], torch.autograd.grad(late, mask)[0])


def test_one_mask_in_two_runs(case: Tiny) -> None:
    """The gradient of a sum of runs is the sum of their gradients."""
    mask, removed = case.mask("soft0").requires_grad_(), case.reference("resample")
    prompts = (case.clean, case.corrupted)
    losses = [loss(case.model.run(prompt, mask, removed)) for prompt in prompts]
    (together,) = torch.autograd.grad(losses[0] + losses[1], mask, retain_graph=True)
    apart = [torch.autograd.grad(value, mask)[0] for value in losses]
    case.agree(together, apart[0] + apart[1])


def test_second_derivatives_are_refused() -> None:
    """The buffers stand outside autograd, so a gradient's gradient would be silently wrong."""
    model = random_model(TRACR)
    mask = torch.rand(model.graph.exists.shape, generator=seeded("mask")).double().requires_grad_()
    value = loss(model.run(PROMPTS[0], mask, lengths=LENGTHS))
    (gradient,) = torch.autograd.grad(value, mask, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(gradient.square().sum(), mask)


# ---- weight masks


PARTS = {
    "embed": ("W_E", "W_pos"),
    "a1": ("norm.w", "norm.b", "W_QKV", "b_QKV", "W_O", "b_O"),
    "m1": ("norm.w", "norm.b", "W_in", "b_in", "W_out", "b_out"),
    "logits": ("norm.w", "norm.b", "W_U", "b_U"),
}


@pytest.mark.parametrize("masked_edges", [False, True], ids=["full", "masked"])
@pytest.mark.parametrize("name", [f"{node}.{part}" for node in PARTS for part in PARTS[node]])
def test_weight_masks(case: Tiny, name: str, masked_edges: bool) -> None:
    """Masking a weight is running the model whose weight was multiplied; slopes follow."""
    weight = case.model.weights[name]
    mask, direction = torch.rand(2, *weight.shape, generator=seeded(name), dtype=weight.dtype)
    edges = case.mask("soft0") if masked_edges else None
    removed = case.reference("resample") if masked_edges else None
    leaf = mask.clone().requires_grad_()

    def run(mask: Tensor) -> Tensor:
        return case.model.run(case.clean, edges, removed, weights={name: mask})

    logits = run(leaf)
    multiplied = MaskedModel(case.model.architecture, case.model.weights | {name: weight * mask})
    case.agree(logits, multiplied.run(case.clean, edges, removed))
    (gradient,) = torch.autograd.grad(loss(logits), leaf, allow_unused=True)
    assert gradient is not None, "no gradient reaches this weight's mask"
    expected = slope(lambda m: loss(run(m)), mask, direction)
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_weight_and_edge_masks_together(case: Tiny) -> None:
    """One backward pass gives both gradients, each as if the other were fixed."""
    names = ["a0.W_QKV", "a1.W_O", "m1.W_in", "m2.W_out"]
    weights = {n: torch.rand_like(case.model.weights[n]).requires_grad_() for n in names}
    edges, removed = case.mask("soft0").requires_grad_(), case.reference("mean")
    value = loss(case.model.run(case.clean, edges, removed, weights))
    gradients = torch.autograd.grad(value, [edges, *weights.values()])
    for leaf, gradient in zip([edges, *weights.values()], gradients, strict=True):
        frozen = {n: w if w is leaf else w.detach() for n, w in weights.items()}
        mask = edges if leaf is edges else edges.detach()
        alone = loss(case.model.run(case.clean, mask, removed, frozen))
        case.agree(gradient, torch.autograd.grad(alone, leaf)[0])


def test_a_weight_mask_of_an_unknown_name_is_refused(case: Tiny) -> None:
    with pytest.raises(ValueError, match=r"'a0\.W_Q' is not a weight of this model; known: a0\.W_O"):
        case.model.run(case.clean, weights={"a0.W_Q": torch.ones(1)})


def test_a_weight_mask_that_does_not_fit_is_refused(case: Tiny) -> None:
    """Also one that would be spread over the weight."""
    for shape in ((case.model.weights["a0.W_O"].shape[-1],), (3,)):
        with pytest.raises(ValueError, match=r"a mask of a0\.W_O has shape \(.*, not \("):
            case.model.run(case.clean, weights={"a0.W_O": torch.ones(shape)})


# ---- edge_gradients


def test_edge_gradients_are_those_of_the_mask_at_all_ones(counted: Tiny) -> None:
    """Towards z - ref, since x_r = sum_s ref_s + m[r,s] (z_s - ref_s)."""
    for reference in REFERENCES:
        removed = counted.reference(reference)
        gradients = counted.model.edge_gradients(counted.clean, loss, less(removed))
        counted.agree(gradients, mask_gradient(counted, counted.mask("ones"), removed))


@pytest.mark.parametrize("elsewhere", [False, True], ids=["prompt", "interpolated"])
def test_edge_gradients_are_bridges(counted: Tiny, elsewhere: bool) -> None:
    """Any direction, times the gradient at a receiver's input in bridge; at other embeddings too."""
    model, oracle = counted.model, counted.oracle
    inputs = None
    if elsewhere:
        inputs = 0.3 * model.embed(counted.clean) + 0.7 * model.embed(counted.corrupted)
    senders = oracle.senders(counted.clean, inputs)
    direction = torch.randn(senders.shape, generator=seeded("direction"), dtype=senders.dtype)
    shifts = senders.new_zeros(len(model.graph.receivers), *senders.shape[1:]).requires_grad_()
    (at_inputs,) = torch.autograd.grad(loss(oracle.shifted(counted.clean, shifts, inputs)), shifts)
    expected = at_inputs.flatten(1) @ direction.flatten(1).T * model.graph.exists

    def towards(outputs: Tensor) -> Tensor:
        counted.agree(outputs, senders)
        return direction

    counted.agree(model.edge_gradients(counted.clean, loss, towards, inputs), expected)


def test_edge_gradients_are_finite_differences(case: Tiny) -> None:
    """A small step of one receiver's input along the direction moves the loss as predicted."""
    z = case.model.senders(case.clean)
    direction = torch.randn(z.shape, generator=seeded("direction"), dtype=z.dtype)
    gradients = case.model.edge_gradients(case.clean, loss, lambda z: direction)
    still = z.new_zeros(len(case.model.graph.receivers), *z.shape[1:])
    for row, column in some_edges(case, 6):
        shift = still.clone()
        shift[row] = direction[column]
        expected = slope(lambda s: loss(case.oracle.shifted(case.clean, s)), still, shift)
        assert float(gradients[row, column]) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_edge_gradients_at_answers_and_without_grad_mode(case: Tiny) -> None:
    """Answers are picked as in `run`, and a surrounding `no_grad` does not matter."""
    answers = torch.tensor([2, 0]), torch.tensor([6, 3])
    expected = case.model.edge_gradients(case.clean, lambda logits: loss(logits[answers]), lambda z: z)
    with torch.no_grad():
        gradients = case.model.edge_gradients(case.clean, loss, lambda z: z, answers=answers)
    case.agree(gradients, expected)
