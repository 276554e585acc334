"""A decoder's shape and formulas, as far as a masked forward and its backward need them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from bench.engine.graph import EdgeGraph
from methods.rules.gradient_rules import PLAIN, GradientRules

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}


@dataclass(frozen=True)
class Architecture:
    """One decoder's shape and formulas. Weights are kept separately (`masked_model.MaskedModel`)."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    n_ctx: int
    """Longest sequence in tokens; with sliding-window attention, at most the window."""
    d_vocab: int
    activation: str
    d_mlp: int = 0
    """Hidden units of an MLP; used only to estimate memory."""
    norm: Literal["layer", "rms", "none"] = "layer"
    eps: float = 1e-5
    causal: bool = True
    parallel: bool = False
    """Attention and MLP of a layer read the same residual stream (GPT-NeoX, Phi)."""
    split_embed: bool = False
    """Token and position embedding are separate senders."""
    gated: bool = False
    """The MLP multiplies its hidden units by a second projection (``W_gate`` is the activated one)."""
    rotary: int = 0
    """How many of a head's dimensions rotate with the position; 0 if positions are learned."""
    rotary_scale: float = 1.0
    """Factor of the rotation's cosine and sine (YaRN)."""
    qk_norm: bool = False
    """Queries and keys go through an RMSNorm of their own (Qwen3)."""
    post_norm: bool = False
    """What attention and MLP write goes through an RMSNorm of its own (Gemma-2)."""
    scale: float | None = None
    """Factor of attention scores; None means 1 / sqrt(d_head)."""
    score_cap: float | None = None
    """Attention scores s become cap * tanh(s / cap)."""
    logit_cap: float | None = None
    """The same for logits."""
    rules: GradientRules = PLAIN
    """What backward passes compute instead of gradients."""

    def graph(self) -> EdgeGraph:
        """The edge graph of this shape."""
        return EdgeGraph(
            self.n_layers, self.n_heads, self.n_kv_heads, self.parallel, self.split_embed, self.post_norm
        )
