"""The masked forward, held to three references.

- TransformerBridge hooks (`bridge_oracle.py`), on a random GPT-2: values and gradients.
- Finite differences, for whatever has a gradient.
- A naive loop over heads, for other shapes: `test_masked_shapes.py`; other families are in
  `test_architectures.py`.
"""

from __future__ import annotations

import gc
import inspect
import math
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.masked_model import MaskedModel
from bench.masked_stream import MaskedStream
from bench.models.bridge import masked_model
from bridge_oracle import BridgeOracle, tiny_gpt2
from tiny_models import LENGTHS, PROMPTS, TRACR, Tiny, loss, random_model, seeded, tiny

REFERENCES = ["resample", "zero", "mean", "mean_by_position"]
MASKS = ["ones", "zeros", "soft0", "soft1", "soft2", "binary"]


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def either(request: pytest.FixtureRequest) -> Tiny:
    """In both precisions."""
    return tiny(request.param)


@pytest.fixture
def case() -> Tiny:
    """In float64."""
    return tiny()


@pytest.fixture(params=[False, True], ids=["joint", "split"])
def counted(request: pytest.FixtureRequest) -> Tiny:
    """In float64, with the embedding as one sender and as two."""
    return tiny(split_embed=request.param)


def slope(function: Callable[[Tensor], Tensor], at: Tensor, direction: Tensor, step: float = 1e-5) -> float:
    """The derivative along a direction, by central differences."""
    with torch.no_grad():
        return float(function(at + step * direction) - function(at - step * direction)) / (2 * step)


def mask_gradient(case: Tiny, mask: Tensor, reference: Tensor | None) -> Tensor:
    leaf = mask.clone().requires_grad_()
    return torch.autograd.grad(loss(case.model.run(case.clean, leaf, reference)), leaf)[0]


def fresh(model: MaskedModel) -> MaskedModel:
    """The same model with nothing computed or lent yet."""
    return MaskedModel(model.architecture, model.weights)


def some_edges(case: Tiny, count: int) -> list[tuple[int, int]]:
    edges = case.model.graph.exists.nonzero().tolist()
    picked = torch.randperm(len(edges), generator=seeded("edges"))[:count]
    return [tuple(edges[i]) for i in picked]


# ---- values, against bridge hooks


def test_the_full_run_is_bridge_and_hugging_face(either: Tiny) -> None:
    """Without a mask, logits are those of both libraries."""
    logits = either.model.run(either.clean)
    assert logits.dtype == either.model.dtype
    either.agree(logits, either.oracle.bridge(either.clean))
    either.agree(logits, either.hf(either.clean).logits)


def test_other_configurations_of_gpt2(case: Tiny) -> None:
    """The MLP's width, the activation, LayerNorm's epsilon and an untied unembedding are read off."""
    hf = tiny_gpt2(
        n_inner=20, activation_function="relu", layer_norm_epsilon=0.1, tie_word_embeddings=False, n_head=2
    )
    case.agree(masked_model(hf).run(case.clean), hf(case.clean).logits)


@pytest.mark.parametrize(
    "option", [{"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_weights": False}], ids=str
)
def test_scalings_that_are_not_carried_are_refused(option: dict[str, bool]) -> None:
    """Better an error than other logits than Hugging Face's."""
    with pytest.raises(ValueError, match="scale"):
        masked_model(tiny_gpt2(**option))


def test_senders_are_the_hooks_outputs(either: Tiny) -> None:
    """Embedding, ``hook_result`` of every head (no b_O in it), ``hook_mlp_out``."""
    either.agree(either.model.senders(either.clean), either.oracle.senders(either.clean))


def test_split_senders_are_the_hooks_outputs(counted: Tiny) -> None:
    """Token and position embedding stand apart when asked for."""
    counted.agree(counted.model.senders(counted.clean), counted.oracle.senders(counted.clean))


def test_senders_and_b_O_add_up_to_the_final_residual(case: Tiny) -> None:
    """Nothing else is written into the residual stream."""
    final = case.oracle.bridge.run_with_cache(case.clean)[1]["ln_final.hook_in"]
    case.agree(case.model.senders(case.clean).sum(0) + case.oracle.bridge.b_O.sum(0), final)


@pytest.mark.parametrize(
    ("switch", "hook"),
    [("attn_result", "hook_result"), ("split_qkv_input", "hook_q_input"), ("hook_mlp_in", "hook_mlp_in")],
)
def test_the_oracle_is_never_silent(case: Tiny, switch: str, hook: str) -> None:
    """With a switch off bridge has no such hook: it says so, or the oracle notices."""
    oracle = BridgeOracle(case.hf, case.model.graph)
    getattr(oracle.bridge, f"set_use_{switch}")(False)
    with pytest.raises((ValueError, AssertionError), match=hook):
        oracle.senders(case.clean)


@pytest.mark.parametrize("differentiable", [False, True], ids=["no_grad", "grad"])
@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("kind", MASKS)
def test_masked_runs(either: Tiny, kind: str, reference: str, differentiable: bool) -> None:
    """Under any mask and ablation, with and without a gradient wanted, logits are the oracle's."""
    mask, removed = either.mask(kind), either.reference(reference)
    logits = either.run(mask, removed, differentiable)
    either.agree(logits, either.oracle.masked(either.clean, mask, removed))


@pytest.mark.parametrize("reference", REFERENCES)
def test_masked_runs_with_token_and_position_apart(reference: str) -> None:
    """The same with one more sender."""
    case = tiny(split_embed=True)
    mask, removed = case.mask("soft0"), case.reference(reference)
    case.agree(case.run(mask, removed), case.oracle.masked(case.clean, mask, removed))


@pytest.mark.parametrize("reference", REFERENCES)
def test_all_ones_equals_the_full_model(counted: Tiny, reference: str) -> None:
    """Under any ablation."""
    logits = counted.run(counted.mask("ones"), counted.reference(reference))
    counted.agree(logits, counted.model.run(counted.clean))


def test_all_zeros_equals_the_corrupted_run_under_resample(counted: Tiny) -> None:
    """Every receiver then reads what it read on the corrupted prompt."""
    logits = counted.run(counted.mask("zeros"), counted.reference("resample"))
    counted.agree(logits, counted.model.run(counted.corrupted))


@pytest.mark.parametrize("reference", ["zero", "mean", "mean_by_position"])
def test_all_zeros_is_a_constant_run_under_zero_and_mean(counted: Tiny, reference: str) -> None:
    """One row of logits, whatever the prompt; the same at every position, unless the mean is not."""
    mask, removed = counted.mask("zeros"), counted.reference(reference)
    logits = counted.run(mask, removed)
    counted.agree(logits, counted.model.run(counted.corrupted, mask, removed))
    counted.agree(logits, logits[:1].expand_as(logits))
    if reference != "mean_by_position":
        counted.agree(logits, logits[:1, :1].expand_as(logits))


def test_answers_pick_examples_and_positions(case: Tiny) -> None:
    """In any order, an example more than once, with and without a mask."""
    answers = torch.tensor([2, 0, 0]), torch.tensor([6, 3, 1])
    mask, removed = case.mask("soft0"), case.reference("resample")
    for arguments in ((), (mask, removed)):
        everywhere = case.model.run(case.clean, *arguments)
        assert everywhere.shape == (3, 7, 50)
        case.agree(case.model.run(case.clean, *arguments, answers=answers), everywhere[answers])


def test_masks_outside_the_graph_do_nothing(case: Tiny) -> None:
    """Entries where there is no edge are not read, be they NaN, and get no gradient."""
    mask, removed = case.mask("soft0"), case.reference("resample")
    poisoned = torch.where(case.model.graph.exists, mask, math.nan)
    case.agree(case.run(poisoned, removed), case.run(mask, removed))
    assert not mask_gradient(case, poisoned, removed)[~case.model.graph.exists].any()


def test_a_run_leaves_its_arguments_alone(case: Tiny) -> None:
    """Mask, reference and weights are the caller's."""
    mask, removed = case.mask("soft0"), case.reference("mean")
    arguments = [mask, removed, *case.model.weights.values()]
    before = [tensor.clone() for tensor in arguments]
    mask_gradient(case, mask, removed)
    case.run(mask, removed, differentiable=False)
    assert all(torch.equal(a, b) for a, b in zip(arguments, before, strict=True))


# ---- sparse masks, whose empty columns are skipped when no gradient is wanted


def sparse_masks(case: Tiny) -> dict[str, Tensor]:
    """Binary masks with many empty columns, and an empty one."""
    shape = case.model.graph.exists.shape
    masks = {f"density {p}": (torch.rand(shape, generator=seeded(str(p))) < p) for p in (0.02, 0.1, 0.3)}
    for name, keep in (("heads", "head"), ("MLPs", "mlp"), ("embedding", "embed")):
        columns = torch.tensor([node.kind == keep for node in case.model.graph.senders])
        masks[f"only {name} send"] = columns.expand(shape)
    masks["nothing"] = torch.zeros(shape, dtype=torch.bool)
    return {name: mask.to(case.model.dtype) for name, mask in masks.items()}


@pytest.mark.parametrize("reference", ["resample", "zero", "mean"])
def test_skipping_senders_without_readers_changes_nothing(counted: Tiny, reference: str) -> None:
    """Without a gradient, a sender whose column is empty is not computed; logits stay the same."""
    removed = counted.reference(reference)
    for mask in sparse_masks(counted).values():
        skipped = counted.run(mask, removed, differentiable=False)
        counted.agree(skipped, counted.run(mask, removed))
        counted.agree(skipped, counted.oracle.masked(counted.clean, mask, removed))


@pytest.mark.parametrize("reference", ["resample", "zero"])
def test_every_single_edge(case: Tiny, reference: str) -> None:
    """Each mask of one edge: the skipping path equals the differentiable one."""
    removed = case.reference(reference)
    for row, column in some_edges(case, 40):
        mask = case.mask("zeros")
        mask[row, column] = 1.0
        case.agree(case.run(mask, removed, differentiable=False), case.run(mask, removed))


# ---- gradients to the edge mask


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


def test_two_live_runs_do_not_disturb_each_other(case: Tiny) -> None:
    """Two graphs at once, backward in the other order, then both in one backward pass."""
    removed = case.reference("resample")
    masks = [case.mask("soft0"), case.mask("soft1")]
    alone = [mask_gradient(case, mask, removed) for mask in masks]
    first, second = (mask.clone().requires_grad_() for mask in masks)
    losses = [loss(case.model.run(case.clean, mask, removed)) for mask in (first, second)]
    assert torch.equal(torch.autograd.grad(losses[1], second, retain_graph=True)[0], alone[1])
    assert torch.equal(torch.autograd.grad(losses[0], first, retain_graph=True)[0], alone[0])
    together = torch.autograd.grad(losses[0] + losses[1], [first, second])
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


def test_one_mask_in_two_runs(case: Tiny) -> None:
    """The gradient of a sum of runs is the sum of their gradients."""
    mask, removed = case.mask("soft0").requires_grad_(), case.reference("resample")
    prompts = (case.clean, case.corrupted)
    losses = [loss(case.model.run(prompt, mask, removed)) for prompt in prompts]
    (together,) = torch.autograd.grad(losses[0] + losses[1], mask, retain_graph=True)
    apart = [torch.autograd.grad(value, mask)[0] for value in losses]
    case.agree(together, apart[0] + apart[1])


def test_backward_twice_through_one_run(case: Tiny) -> None:
    """With `retain_graph`, the second pass starts its sums afresh."""
    mask, removed = case.mask("soft0").requires_grad_(), case.reference("resample")
    logits = case.model.run(case.clean, mask, removed)
    values = [loss(logits[:1]), loss(logits[1:])]
    halves = [torch.autograd.grad(value, mask, retain_graph=True)[0] for value in values]
    again = torch.autograd.grad(values[0], mask, retain_graph=True)[0]
    assert torch.equal(again, halves[0])
    case.agree(halves[0] + halves[1], mask_gradient(case, case.mask("soft0"), removed))


def test_second_derivatives_are_refused() -> None:
    """The buffers stand outside autograd, so a gradient's gradient would be silently wrong."""
    model = random_model(TRACR)
    mask = torch.rand(model.graph.exists.shape, generator=seeded("mask")).double().requires_grad_()
    value = loss(model.run(PROMPTS[0], mask, lengths=LENGTHS))
    (gradient,) = torch.autograd.grad(value, mask, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(gradient.square().sum(), mask)


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


# ---- buffers, lent from run to run


def test_nothing_of_an_earlier_run_shows(case: Tiny) -> None:
    """A run that fills every buffer with NaN leaves no trace in the next."""
    mask, removed = case.mask("soft0"), case.reference("resample")
    spoilt = replace(case, model=fresh(case.model))
    assert mask_gradient(spoilt, mask, torch.full_like(removed, math.nan)).isnan().any()
    assert torch.equal(mask_gradient(spoilt, mask, removed), mask_gradient(case, mask, removed))
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
    arguments = (case.mask("soft0"), case.reference("resample")) if masked_edges else ()
    leaf = mask.clone().requires_grad_()

    def run(mask: Tensor) -> Tensor:
        return case.model.run(case.clean, *arguments, weights={name: mask})

    logits = run(leaf)
    multiplied = MaskedModel(case.model.architecture, case.model.weights | {name: weight * mask})
    case.agree(logits, multiplied.run(case.clean, *arguments))
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
    with pytest.raises(ValueError, match=r"'a0\.W_Q' is no weight of this model; known are a0\.W_O"):
        case.model.run(case.clean, weights={"a0.W_Q": torch.ones(1)})


# ---- edge_gradients


def test_edge_gradients_are_those_of_the_mask_at_all_ones(counted: Tiny) -> None:
    """Towards z - ref, since x_r = sum_s ref_s + m[r,s] (z_s - ref_s)."""
    for reference in REFERENCES:
        removed = counted.reference(reference)
        towards = 0.0 if removed is None else removed
        gradients = counted.model.edge_gradients(counted.clean, loss, lambda z, ref=towards: z - ref)
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


# ---- bad input


def test_a_mask_of_the_wrong_shape_is_refused(case: Tiny) -> None:
    """The message says which shape fits; a transposed mask is the likely mistake."""
    with pytest.raises(ValueError, match=r"^an edge mask of this model is \(40, 16\), not \(16, 40\)$"):
        case.model.run(case.clean, case.mask("ones").T)


@pytest.mark.parametrize(
    "shape",
    [(17, 1, 1, 32), (15, 1, 1, 32), (1, 1, 1, 32), (16, 2, 1, 32), (16, 1, 6, 32), (16, 1, 1, 31)],
    ids=str,
)
def test_a_reference_that_does_not_fit_is_refused(case: Tiny, shape: tuple[int, ...]) -> None:
    """With token and position apart, say, it has one sender more: an error, not other logits."""
    run = inspect.unwrap(MaskedModel.run)  # as users call it: without the shape checks of test runs
    with pytest.raises(ValueError, match="reference"):
        run(case.model, case.clean, case.mask("ones"), torch.zeros(shape, dtype=torch.float64))


def test_a_prompt_beyond_the_context_is_refused(case: Tiny) -> None:
    """By every entrance, in one line."""
    tokens = torch.zeros(1, 13, dtype=torch.long)
    message = r"^a prompt of 13 tokens is longer than .* context of 12: [^\n]*$"
    for call in (
        lambda: case.model.run(tokens),
        lambda: case.model.run(tokens, case.mask("ones")),
        lambda: case.model.senders(tokens),
        lambda: case.model.edge_gradients(tokens, loss, lambda z: z),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert case.model.run(tokens[:, :12]).shape == (1, 12, 50)
