"""Values of the masked forward, held to TransformerBridge hooks (`bridge_oracle.py`) on a random GPT-2.

Other shapes are held to a naive loop over heads in `test_masked_shapes.py`, other families in
`test_architecture_masks.py`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.engine.masked_model import MaskedModel
from bench.models.bridge import masked_model
from bridge_oracle import BridgeOracle, tiny_gpt2
from tiny_models import MASKS, REFERENCES, Tiny, loss, mask_gradient, seeded, some_edges, tiny

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
def test_scalings_that_are_not_supported_are_refused(option: dict[str, Any]) -> None:
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
    for mask, removed in ((None, None), (case.mask("soft0"), case.reference("resample"))):
        everywhere = case.model.run(case.clean, mask, removed)
        assert everywhere.shape == (3, 7, 50)
        picked = case.model.run(case.clean, mask, removed, answers=answers)
        case.agree(picked, everywhere[answers])


def test_masks_outside_the_graph_do_nothing(case: Tiny) -> None:
    """Entries where there is no edge are not read, be they NaN, and get no gradient."""
    mask, removed = case.mask("soft0"), case.reference("resample")
    poisoned = torch.where(case.model.graph.exists, mask, math.nan)
    case.agree(case.run(poisoned, removed), case.run(mask, removed))
    assert not mask_gradient(case, poisoned, removed)[~case.model.graph.exists].any()


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


@pytest.mark.parametrize("reference", ["resample", "zero", "mean"])
def test_several_masks_at_once(counted: Tiny, reference: str) -> None:
    """Each gives what it gives alone, with prompts of several lengths."""
    masks = torch.stack(list(sparse_masks(counted).values())).bool()
    removed = counted.reference(reference)
    answers, lengths = (torch.tensor([2, 0, 1]), torch.tensor([4, 3, 1])), torch.tensor([7, 4, 5])
    found = counted.model.run_each(counted.clean, masks, removed, answers, lengths)
    for mask, logits in zip(masks, found, strict=True):
        alone = counted.model.run(
            counted.clean, mask.to(counted.model.dtype), removed, answers=answers, lengths=lengths
        )
        counted.agree(logits, alone)


# ---- bad input


def test_a_mask_of_the_wrong_shape_is_refused(case: Tiny) -> None:
    """The message says which shape fits; a transposed mask is the likely mistake."""
    with pytest.raises(ValueError, match=r"^this model's edge mask has shape \(40, 16\), not \(16, 40\)$"):
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
    calls: list[Callable[[], Tensor]] = [
        lambda: case.model.run(tokens),
        lambda: case.model.run(tokens, case.mask("ones")),
        lambda: case.model.senders(tokens),
        lambda: case.model.edge_gradients(tokens, loss, lambda z: z),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    assert case.model.run(tokens[:, :12]).shape == (1, 12, 50)


def test_edge_gradients_leave_their_inputs_alone(case: Tiny) -> None:
    """They stay the caller's, and want no gradient afterwards."""
    inputs = case.model.embed(case.corrupted)
    before = inputs.clone()
    case.model.edge_gradients(case.clean, loss, lambda z: z, inputs)
    assert not inputs.requires_grad
    assert inputs.equal(before)
