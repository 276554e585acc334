"""What a removed edge carries instead of its sender's output.

- ``resample``: the sender's output in the full model on the corrupted prompt;
- ``zero``: nothing;
- ``mean``: the sender's mean output over the discovery set's clean prompts, padding left out; per
  position where all prompts have one length, else over positions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bench.masked_model import MaskedModel

Ablation = Literal["resample", "zero", "mean"]
ABLATIONS: tuple[str, ...] = get_args(Ablation)


@dataclass(frozen=True)
class Reference:
    """Hands out what removed edges carry, batch by batch."""

    ablation: Ablation
    mean: Float[Tensor, "senders 1 #pos d_model"] | None = None
    """Only under mean ablation."""

    def of(
        self,
        model: MaskedModel,
        corrupted: Int[Tensor, "batch pos"],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "senders #batch #pos d_model"] | None:
        """The reference activations of a batch; None stands for zero."""
        if self.ablation == "resample":
            return model.senders(corrupted, lengths)
        return self.mean

    @property
    def policy(self) -> str:
        """What a record says: the ablation, and for mean over what it was taken."""
        if self.mean is None:
            return self.ablation
        return "mean_per_position" if self.mean.shape[2] > 1 else "mean_over_positions"


def mean_activations(
    model: MaskedModel,
    batches: Iterable[tuple[Int[Tensor, "batch pos"], Int[Tensor, " batch"]]],
    per_position: bool,
) -> Float[Tensor, "senders 1 #pos d_model"]:
    """Mean sender outputs over (tokens, lengths) batches, padding left out.

    `per_position` asks for one mean per position and wants all prompts to have one length.
    """
    total: Tensor | None = None
    count = 0
    for tokens, lengths in batches:
        inside = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        outputs = model.senders(tokens, lengths) * inside[..., None]
        summed = outputs.sum(1) if per_position else outputs.sum((1, 2))[:, None]
        total = summed if total is None else total + summed
        count += len(tokens) if per_position else int(lengths.sum())
    if total is None:
        raise ValueError("mean ablation needs at least one discovery example")
    return (total / count)[:, None]
