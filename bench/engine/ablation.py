"""What a removed edge carries instead of its sender's output.

- ``resample``: the sender's output in the full model on the corrupted prompt;
- ``zero``: nothing; the bias of attention's output, which belongs to no edge, stays;
- ``zero_with_bias``: nothing, and of a head's edge its share of that bias goes as well: every head is taken
  to write b_O / n_heads, as DiscoGP's code has it;
- ``mean``: the sender's mean output over the discovery set's clean prompts, padding left out; per
  position where all prompts have one length, otherwise over positions.
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
"""What removed edges carry whatever the prompt; None stands for zero."""


@runtime_checkable
class Prompts(Protocol):
    """A batch, as far as a reference reads it."""

    @property
    def clean(self) -> Int[Tensor, "batch pos"]: ...
    @property
    def lengths(self) -> Int[Tensor, " batch"]: ...


@dataclass(frozen=True)
class Ablation:
    """One way to remove an edge."""

    name: AblationName
    constant: Callable[[MaskedModel, Sequence[Prompts], bool], Constant]
    """Of a model, the discovery batches and whether all prompts, evaluated ones too, are as long."""
    from_corrupted: bool = False
    """Removed edges carry the full model's activations on the corrupted prompt, and no constant."""
    from_discovery: bool = False
    """The constant takes a forward pass of every discovery batch."""


@dataclass(frozen=True)
class Reference:
    """Hands out what removed edges carry, batch by batch."""

    ablation: Ablation
    constant: Constant = None

    def of(
        self,
        model: MaskedModel,
        corrupted: Int[Tensor, "batch pos"],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " senders #batch #pos d_model"] | None:
        """The reference activations of a batch; None stands for zero.

        Args:
            model: run on the corrupted prompts under resample, otherwise unused.
            corrupted: the batch's corrupted prompts.
            lengths: tokens of each prompt, padding left out; matters to bidirectional models alone.
        """
        return model.senders(corrupted, lengths) if self.ablation.from_corrupted else self.constant

    @property
    def policy(self) -> str:
        """What a record says: the ablation, and for a mean over what it was taken."""
        if not self.ablation.from_discovery:
            return self.ablation.name
        assert self.constant is not None
        over = "per_position" if self.constant.shape[2] > 1 else "over_positions"
        return f"{self.ablation.name}_{over}"


def without_bias(model: MaskedModel) -> Float[Tensor, "senders 1 1 d_model"]:
    """What takes a removed head's share of the output bias away: minus b_O / n_heads.

    All of b_O flows to everyone, so a receiver that reads this instead of a head reads that much less.
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
    """Mean sender outputs over batches, padding left out.

    Args:
        model: run in full, on every batch.
        batches: pairs of tokens and lengths.
        per_position: one mean per position, for prompts of one length; otherwise one over all positions.

    Raises:
        ValueError: there is no batch.
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
    """What an ablation puts in the place of removed edges' senders.

    Args:
        model: whose edges are removed.
        ablation: a key of `ABLATIONS`.
        discovery: prompts over which means are taken; read by the mean ablation alone.
        one_length: whether all prompts, evaluated ones too, are as long, so that means can be per position.

    Raises:
        ValueError: a mean is to be taken over no prompt.
    """
    kind = ABLATIONS[ablation]
    return Reference(kind, kind.constant(model, discovery, one_length))
