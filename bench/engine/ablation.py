"""What a removed edge carries instead of its sender's output.

- ``resample``: the sender's output in the full model on the corrupted prompt;
- ``zero``: zero; the attention output bias b_O, which belongs to no edge, stays;
- ``zero_with_bias``: zero, and an edge from a head also removes the head's share of b_O: every head is
  taken to write b_O / n_heads, as in DiscoGP's code;
- ``mean``: the sender's mean output over the clean discovery prompts, padding excluded; per position if
  all prompts have the same length, otherwise over all positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bench.engine.masked_model import MaskedModel

AblationName = Literal["resample", "zero", "zero_with_bias", "mean"]
Constant = Float[Tensor, "senders 1 #pos d_model"] | None
"""What removed edges carry on every prompt; None means zero."""


@runtime_checkable
class Prompts(Protocol):
    """The part of a batch that a reference reads."""

    @property
    def clean(self) -> Int[Tensor, "batch pos"]: ...
    @property
    def lengths(self) -> Int[Tensor, " batch"]: ...


@dataclass(frozen=True)
class Ablation:
    """One way to remove an edge."""

    name: AblationName
    constant: Callable[[MaskedModel, Sequence[Prompts], bool], Constant]
    """Takes the model, the discovery batches, and whether all prompts of both sets have the same length."""
    from_corrupted: bool = False
    """Removed edges carry the full model's activations on the corrupted prompt, not a constant."""
    from_discovery: bool = False
    """Computing the constant takes a forward pass on every discovery batch."""


@dataclass(frozen=True)
class Reference:
    """Provides what removed edges carry, batch by batch."""

    ablation: Ablation
    constant: Constant = None

    def of(
        self,
        model: MaskedModel,
        corrupted: Int[Tensor, "batch pos"],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " senders #batch #pos d_model"] | None:
        """The reference activations of a batch; None means zero.

        Args:
            model: run on the corrupted prompts under resample, otherwise unused.
            corrupted: the batch's corrupted prompts.
            lengths: of each prompt in tokens, without padding; only bidirectional models need them.
        """
        return model.senders(corrupted, lengths) if self.ablation.from_corrupted else self.constant

    @property
    def policy(self) -> str:
        """The ablation as recorded; for a mean, also what it was averaged over."""
        if not self.ablation.from_discovery:
            return self.ablation.name
        assert self.constant is not None
        over = "per_position" if self.constant.shape[2] > 1 else "over_positions"
        return f"{self.ablation.name}_{over}"


def without_bias(model: MaskedModel) -> Float[Tensor, "senders 1 1 d_model"]:
    """The constants that take away removed heads' shares of the output bias: -b_O / n_heads for a head.

    Every receiver reads all of b_O, so one that reads this instead of a head reads that much less.
    """
    graph, width = model.graph, model.architecture.d_model
    constant = torch.zeros(len(graph.senders), 1, 1, width, dtype=model.dtype, device=model.device)
    for layer in range(graph.n_layers):
        constant[graph.head_columns(layer)] = -model.weights[f"a{layer}.b_O"] / graph.n_heads
    return constant


def mean_activations(
    model: MaskedModel,
    batches: Iterable[tuple[Int[Tensor, "batch pos"], Int[Tensor, " batch"]]],
    per_position: bool,
) -> Float[Tensor, "senders 1 #pos d_model"]:
    """Mean sender outputs over batches, padding excluded.

    Args:
        model: run unmasked on every batch.
        batches: pairs of tokens and lengths.
        per_position: one mean per position, for prompts of one length; otherwise one over all positions.

    Raises:
        ValueError: there are no batches.
    """
    wide = torch.promote_types(model.dtype, torch.float32)  # half precision has too few bits for sums
    total: Tensor | None = None
    count = 0
    for tokens, lengths in batches:
        inside = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        outputs = model.senders(tokens, lengths) * inside[..., None]
        summed = outputs.sum(1, dtype=wide) if per_position else outputs.sum((1, 2), dtype=wide)[:, None]
        total = summed if total is None else total + summed
        count += len(tokens) if per_position else int(lengths.sum())
    if total is None:
        raise ValueError("mean ablation needs at least one discovery example")
    return (total / count).to(model.dtype)[:, None]


def _mean(model: MaskedModel, discovery: Sequence[Prompts], one_length: bool) -> Constant:
    pairs = ((batch.clean, batch.lengths) for batch in discovery)
    return mean_activations(model, pairs, one_length)


_ALL = (
    Ablation("resample", lambda *_: None, from_corrupted=True),
    Ablation("zero", lambda *_: None),
    Ablation("zero_with_bias", lambda model, *_: without_bias(model)),
    Ablation("mean", _mean, from_discovery=True),
)
ABLATIONS: dict[AblationName, Ablation] = {ablation.name: ablation for ablation in _ALL}


def make_reference(
    model: MaskedModel, ablation: AblationName, discovery: Sequence[Prompts], one_length: bool
) -> Reference:
    """The reference of an ablation, which provides what removed edges carry.

    Args:
        model: the model whose edges are removed.
        ablation: a key of `ABLATIONS`.
        discovery: prompts to average over; only mean ablation reads them.
        one_length: whether all prompts of both sets have the same length, so that means can be per position.

    Raises:
        ValueError: mean ablation without discovery prompts.
    """
    kind = ABLATIONS[ablation]
    return Reference(kind, kind.constant(model, discovery, one_length))
