"""The formulas of one block: what a head, an MLP and a norm compute from what they read.

Nothing here knows about masks or the residual stream. Each node computes what it does in Hugging Face.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from bench.engine import backward
from bench.engine.architecture import ACTIVATIONS, Architecture
from methods.rules.gradient_rules import PLAIN, GradientRules

Weights = Mapping[str, Tensor]


def norm(
    arch: Architecture, weights: Weights, name: str, x: Float[Tensor, "*any d"]
) -> tuple[Float[Tensor, "*any d"], Float[Tensor, "*any 1"] | None]:
    """LayerNorm, RMSNorm or nothing before a projection: what to project, and a factor of the projection.

    An RMSNorm's weight is folded into the projections (`models/bridge.py`), and its factor is applied after
    them, where there is less to multiply.

    Args:
        arch: says which norm it is.
        weights: as `MaskedModel` names them.
        name: of the norm, such as ``a3.norm``; its weights are read only for a LayerNorm.
        x: the receivers' inputs.
    """
    if arch.norm == "none":
        return x, None
    if arch.norm == "rms":
        return x, _rms_factor(arch, x)
    if arch.rules.frozen_norms:
        x = x - x.mean(-1, keepdim=True)
        return x * _rms_factor(arch, x) * weights[f"{name}.w"] + weights[f"{name}.b"], None
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.w"], weights[f"{name}.b"], arch.eps), None


def _rms_factor(arch: Architecture, x: Tensor) -> Tensor:
    """1 / sqrt(mean of squares + eps), in float32 at least."""
    return _RMSFactor.apply(x.detach() if arch.rules.frozen_norms else x, arch.eps)  # type: ignore[no-untyped-call, no-any-return]


class _RMSFactor(Function):
    """Its gradient in one pass over x; autograd's own takes three, and a masked forward has many rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=dtype)
        factor = torch.rsqrt(length.square() / x.shape[-1] + eps).to(x.dtype)
        ctx.save_for_backward(x, factor)
        return factor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        x, factor = ctx.saved_tensors
        return x * (grads[0] * factor.pow(3) / -x.shape[-1]), None


def _project(x: Tensor, factor: Tensor | None, W: Tensor, b: Tensor) -> Tensor:
    """factor * (x W) + b."""
    return F.linear(x, W.T, b) if factor is None else F.linear(x, W.T) * factor + b


def attention(
    arch: Architecture,
    weights: Weights,
    name: str,
    x: Float[Tensor, "#rows batch pos d_model"],
    heads: Int[Tensor, " heads"] | None,
    bias: Tensor | None,
) -> Float[Tensor, "heads batch pos d_model"]:
    """Outputs of some heads of a layer, from the inputs of their q, k and v receivers; without b_O.

    Args:
        arch: the model's shape and formulas.
        weights: as `MaskedModel` names them.
        name: of the layer's attention, such as ``a3``.
        x: those receivers' inputs in order (q, k, v), or one row for all of them.
        heads: numbers within the layer, ascending; None for all, as a post-norm requires, since the heads
            share its scale.
        bias: as `MaskedModel.attention_bias`.
    """
    rows = None if heads is None else torch.cat(ports(arch, heads))
    return attend(arch, weights, name, *project(arch, weights, name, x, rows), heads, bias)


def ports(arch: Architecture, heads: Int[Tensor, " heads"]) -> tuple[Tensor, Tensor, Tensor]:
    """The rows, within a layer, of some heads' q, k and v receivers."""
    kv = torch.unique(heads // (arch.n_heads // arch.n_kv_heads))
    return heads, arch.n_heads + kv, arch.n_heads + arch.n_kv_heads + kv


def project(
    arch: Architecture,
    weights: Weights,
    name: str,
    x: Float[Tensor, "#rows batch pos d_model"],
    rows: Int[Tensor, " rows"] | None,
    at: Int[Tensor, " batch"] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, ``[q rows, batch, pos, d_head]`` and so on, of some of a layer's receivers.

    Args:
        arch: the model's shape and formulas.
        weights: as `MaskedModel` names them.
        name: of the layer's attention, such as ``a3``.
        x: the receivers' inputs, or one row for all of them.
        rows: which receivers, counted within the layer, ascending; None for all.
        at: if `x` holds only one position of each example, that position.
    """
    W_QKV, b_QKV = weights[f"{name}.W_QKV"], weights[f"{name}.b_QKV"]
    counts = [arch.n_heads, arch.n_kv_heads, arch.n_kv_heads]
    if rows is not None:
        W_QKV, b_QKV = W_QKV[rows], b_QKV[rows]
        n_q, n_qk = (int((rows < stop).sum()) for stop in (arch.n_heads, arch.n_heads + arch.n_kv_heads))
        counts = [n_q, n_qk - n_q, len(rows) - n_qk]
    x, factor = norm(arch, weights, f"{name}.norm", x)
    _, batch, pos, d_model = x.shape
    flat = x.reshape(len(x), batch * pos, d_model).expand(len(W_QKV), -1, -1)
    if factor is None:
        qkv = torch.baddbmm(b_QKV[:, None], flat, W_QKV)
    else:
        qkv = torch.bmm(flat, W_QKV) * factor.reshape(len(x), batch * pos, 1) + b_QKV[:, None]
    q, k, v = qkv.view(len(W_QKV), batch, pos, -1).split(counts)
    if arch.qk_norm:
        q, k = (_own_norm(arch, x, weights[f"{name}.{port}_norm.w"]) for x, port in ((q, "q"), (k, "k")))
    if arch.rotary:
        cos, sin = rotation(arch, weights, pos) if at is None else rotation(arch, weights, int(at.max()) + 1)
        if at is not None:
            cos, sin = cos[at][:, None], sin[at][:, None]
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
    return q, k, v


def _own_norm(arch: Architecture, x: Tensor, weight: Tensor) -> Tensor:
    """RMSNorm of queries or keys."""
    if arch.rules.frozen_norms:
        return x * _rms_factor(arch, x) * weight
    return F.rms_norm(x, x.shape[-1:], weight, arch.eps)


def attend(
    arch: Architecture,
    weights: Weights,
    name: str,
    q: Float[Tensor, "heads batch queries d_head"],
    k: Float[Tensor, "kv batch pos d_head"],
    v: Float[Tensor, "kv batch pos d_head"],
    heads: Int[Tensor, " heads"] | None,
    bias: Tensor | None,
    at: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, "heads batch queries d_model"]:
    """Outputs of some heads from their queries, and the keys and values that they use; without b_O.

    Args:
        arch: the model's shape and formulas.
        weights: as `MaskedModel` names them.
        name: of the layer's attention, such as ``a3``.
        q: one row per head.
        k: one row per KV head that these heads use.
        v: likewise.
        heads: numbers within the layer, ascending; None for all.
        bias: as `MaskedModel.attention_bias`.
        at: if each example has only one query, its position.
    """
    W_O = weights[f"{name}.W_O"]
    kv_of_head = torch.arange(arch.n_heads) // (arch.n_heads // arch.n_kv_heads)
    if heads is not None:
        kv_of_head = torch.unique(kv_of_head[heads], return_inverse=True)[1]
        W_O = W_O[heads]
    if len(q) != len(k):
        k, v = k[kv_of_head], v[kv_of_head]
    if arch.causal and at is not None:
        bias = (torch.arange(k.shape[2], device=at.device) <= at[:, None])[:, None, :]
    z = _softmax_attention(arch, q, k, v, bias, arch.causal and at is None)
    n_q, batch, pos, _ = q.shape
    out = (z.reshape(n_q, batch * pos, -1) @ W_O).view(n_q, batch, pos, -1)
    if arch.post_norm:
        out = out * (_rms_factor(arch, out.sum(0)) * weights[f"{name}.post.w"])
    return out


def mlp(
    arch: Architecture, weights: Weights, name: str, x: Float[Tensor, "1 batch pos d_model"]
) -> Float[Tensor, "1 batch pos d_model"]:
    """The MLP's output, biases included.

    Args:
        arch: the model's shape and formulas.
        weights: as `MaskedModel` names them.
        name: of the MLP, such as ``m3``.
        x: what it reads, before its norm.
    """
    x, factor = norm(arch, weights, f"{name}.norm", x)
    hidden = _project(x, factor, weights[f"{name}.W_in"], weights[f"{name}.b_in"])
    activated = (
        _project(x, factor, weights[f"{name}.W_gate"], weights[f"{name}.b_gate"]) if arch.gated else hidden
    )
    activated = backward.elementwise(arch.rules, ACTIVATIONS[arch.activation], activated)
    hidden = backward.scaled(hidden * activated, arch.rules.gated) if arch.gated else activated
    out = F.linear(hidden, weights[f"{name}.W_out"].T, weights[f"{name}.b_out"])
    return out * (_rms_factor(arch, out) * weights[f"{name}.post.w"]) if arch.post_norm else out


def logits(arch: Architecture, weights: Weights, x: Float[Tensor, "*where d_model"]) -> Tensor:
    """Logits over the vocabulary.

    Args:
        arch: the model's shape and formulas.
        weights: as `MaskedModel` names them.
        x: the input of the ``logits`` receiver, before the last norm.
    """
    x, factor = norm(arch, weights, "logits.norm", x)
    return cap(_project(x, factor, weights["logits.W_U"], weights["logits.b_U"]), arch.logit_cap, arch.rules)


def cap(x: Tensor, limit: float | None, rules: GradientRules = PLAIN) -> Tensor:
    """Soft cap: values stay between -limit and limit.

    Args:
        x: of any shape.
        limit: None for no cap.
        rules: of the backward pass.
    """
    return x if limit is None else backward.elementwise(rules, torch.tanh, x / limit) * limit


def rotation(
    arch: Architecture, weights: Weights, pos: int
) -> tuple[Float[Tensor, "pos rotary"], Float[Tensor, "pos rotary"]]:
    """Cosine and sine of every position's rotation, computed in float32 as Hugging Face does.

    Args:
        arch: has the scale of both.
        weights: has the frequencies; the result has the dtype of ``embed.W_E``.
        pos: number of positions.
    """
    frequencies = weights["rotary.inv_freq"].float()
    angles = torch.arange(pos, device=frequencies.device).float()[:, None] * frequencies
    angles = torch.cat([angles, angles], -1)
    dtype = weights["embed.W_E"].dtype
    return (angles.cos() * arch.rotary_scale).to(dtype), (angles.sin() * arch.rotary_scale).to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021) of the first dimensions, halves paired as in NeoX.

    Args:
        x: queries or keys; dimensions beyond those of `cos` stay as they are.
        cos: as `rotation` returns it.
        sin: likewise.
    """
    turned, kept = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    first, second = turned.chunk(2, -1)
    turned = turned * cos + torch.cat([-second, first], -1) * sin
    return torch.cat([turned, kept], -1) if kept.shape[-1] else turned


def _softmax_attention(
    arch: Architecture, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool
) -> Tensor:
    rules = arch.rules
    # q and k are factors of the pattern; the pattern and v are factors of the output
    q, k = (backward.scaled(x, rules.attended**2) for x in (q, k))
    v = backward.scaled(v, rules.attended)
    if arch.score_cap is None and rules.softmax == "gradient":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=causal, scale=arch.scale)
    scale = arch.d_head**-0.5 if arch.scale is None else arch.scale
    scores = cap(q @ k.mT * scale, arch.score_cap, rules)
    if causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(future, -torch.inf)
    elif bias is not None:
        scores = scores.masked_fill(~bias, -torch.inf)
    return backward.pattern(rules, scores) @ v
