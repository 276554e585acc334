"""MaskedModel: a decoder whose every edge, and every weight, can be masked.

It is our own forward pass over weights that TransformerLens loaded (`models/bridge.py`), because
hooks cost 1.5 times the time and up to three times the memory of a direct computation. It is not a
trainer and not a generator: weights are frozen, gradients flow to masks and to edges.

Node by node it computes what Hugging Face computes; `tests/test_masked_model.py` holds it to
TransformerBridge hooks, which stay the oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from bench.graph import EdgeGraph
from bench.streams import BufferPool, MaskedStream, PlainStream, Stream, TappedStream, Taps

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}


@dataclass(frozen=True)
class Architecture:
    """What a decoder's shape and formulas are, as far as the masked forward must know."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    n_ctx: int
    """Longest sequence, in tokens."""
    d_vocab: int
    activation: str
    norm: Literal["layer", "none"] = "layer"
    eps: float = 1e-5
    causal: bool = True
    parallel: bool = False
    split_embed: bool = False

    def graph(self) -> EdgeGraph:
        """The edges of this shape."""
        return EdgeGraph(self.n_layers, self.n_heads, self.n_kv_heads, self.parallel, self.split_embed)


class MaskedModel:
    """A frozen decoder with an edge- and weight-masked forward.

    `weights` maps names to tensors: ``embed.W_E``, ``embed.W_pos``, then per layer ``a0.W_QKV``
    ``[q heads + k heads + v heads, d_model, d_head]``, ``a0.b_QKV``, ``a0.W_O`` ``[heads, d_head,
    d_model]``, ``a0.b_O``, ``m0.W_in``, ``m0.b_in``, ``m0.W_out``, ``m0.b_out``, the norms' ``.w``
    and ``.b`` (``a0.norm``, ``m0.norm``, ``logits.norm``), and ``logits.W_U``, ``logits.b_U``.
    """

    def __init__(self, architecture: Architecture, weights: Mapping[str, Tensor]) -> None:
        self.architecture = architecture
        self.graph = architecture.graph()
        self._exists = self.graph.exists  # made here, not inside somebody's inference mode
        self.weights = {name: tensor.detach() for name, tensor in weights.items()}
        self._pool = BufferPool()

    @property
    def dtype(self) -> torch.dtype:
        return self.weights["embed.W_E"].dtype

    @property
    def device(self) -> torch.device:
        return self.weights["embed.W_E"].device

    @property
    def matrices(self) -> dict[str, int]:
        """Entries of every attention and MLP matrix by name; embeddings and biases are not among them."""
        return {
            name: weight.numel()
            for name, weight in self.weights.items()
            if ".W_" in name and not name.startswith(("embed.", "logits."))
        }

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> MaskedModel:
        """The same model on another device or in another precision."""
        return MaskedModel(
            self.architecture, {n: w.to(device=device, dtype=dtype) for n, w in self.weights.items()}
        )

    def with_split_embed(self) -> MaskedModel:
        """The same model counted with token and position embedding as two senders."""
        return MaskedModel(replace(self.architecture, split_embed=True), self.weights)

    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        edges: Float[Tensor, "receivers senders"] | None = None,
        reference: Float[Tensor, "senders #batch #pos d_model"] | None = None,
        weights: Mapping[str, Tensor] | None = None,
        answers: tuple[Int[Tensor, " answer"], Int[Tensor, " answer"]] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "*where vocab"]:
        """Logits under an edge mask in [0, 1] and weight masks; both optional, both differentiable.

        `reference` is what a removed edge carries instead (`ablation.py`); None means zero. With
        `answers` (examples, positions) the logits come as ``[answer, vocab]``, else as ``[batch,
        pos, vocab]``. `lengths` matters to bidirectional models alone: under causal attention,
        padding on the right is never read.

        Raises:
            ValueError: the mask or the tokens do not fit this model.
        """
        self._check(tokens)
        masked_weights = self._masked_weights(weights)
        stream: Stream = PlainStream()
        if edges is not None:
            if edges.shape != self.graph.exists.shape:
                raise ValueError(
                    f"an edge mask of this model is {tuple(self.graph.exists.shape)}, "
                    f"not {tuple(edges.shape)}"
                )
            if reference is not None:
                self._check_reference(reference, tokens)
            mask = torch.where(self._exists.to(edges.device), edges, 0).to(self.dtype)
            shape = (*tokens.shape, self.architecture.d_model)
            masks = (edges, *(weights or {}).values())
            differentiable = torch.is_grad_enabled() and any(m.requires_grad for m in masks)
            stream = MaskedStream(mask, reference, shape, self.graph.owners, self._pool, differentiable)
        self._layers(self.embed(tokens, masked_weights), stream, masked_weights, lengths)
        return self._logits(stream, masked_weights, answers)

    @torch.no_grad()
    def senders(
        self, tokens: Int[Tensor, "batch pos"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "senders batch pos d_model"]:
        """Every sender's output in the full model. An MLP's includes its bias, a head's no b_O."""
        self._check(tokens)
        recorder = self._recorder(tokens)
        self._layers(self.embed(tokens), PlainStream(recorder), self.weights, lengths)
        return recorder

    def edge_gradients(
        self,
        tokens: Int[Tensor, "batch pos"],
        loss: Callable[[Tensor], Tensor],
        direction: Callable[[Tensor], Tensor],
        inputs: Float[Tensor, "n_embed batch pos d_model"] | None = None,
        answers: tuple[Tensor, Tensor] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "receivers senders"]:
        """direction_s . dL/dx_r for every edge, at the full model, from one backward pass.

        Summed over examples, positions and width. `loss` maps logits to a scalar L. `direction`
        maps the senders' outputs of this very run, ``[senders, batch, pos, d_model]``, to what each
        sender's outputs would move along. `inputs` replaces the embedding senders' outputs, so
        that the gradient is taken elsewhere than at the prompt.
        """
        self._check(tokens)
        with torch.enable_grad():
            recorder = self._recorder(tokens)
            taps = Taps(recorder.new_zeros(self.graph.exists.shape))
            stream = TappedStream(recorder, taps)
            embedded = (self.embed(tokens) if inputs is None else inputs).detach().requires_grad_()
            self._layers(embedded, stream, self.weights, lengths)
            value = loss(self._logits(stream, self.weights, answers))
        taps.direction = direction(recorder)
        # the input asked for is the first node of the graph, so the pass runs through every tap
        torch.autograd.grad(value, embedded)
        return taps.gradients

    def embed(
        self, tokens: Int[Tensor, "batch pos"], weights: Mapping[str, Tensor] | None = None
    ) -> Float[Tensor, "n_embed batch pos d_model"]:
        """The embedding senders' outputs: their sum, or token and position apart."""
        weights = weights or self.weights
        token = weights["embed.W_E"][tokens]
        position = weights["embed.W_pos"][: tokens.shape[1]].expand_as(token)
        parts = torch.stack([token, position])
        return parts if self.architecture.split_embed else parts.sum(0, keepdim=True)

    # ---- the forward, once for every kind of stream

    def _layers(
        self, embedded: Tensor, stream: Stream, weights: Mapping[str, Tensor], lengths: Tensor | None
    ) -> None:
        columns = slice(0, self.graph.n_embed)
        live = stream.live(columns)
        stream.write(columns, embedded if live is None else embedded[live])
        bias = self._attention_bias(embedded, lengths)
        for layer in range(self.architecture.n_layers):
            heads = self.graph.head_columns(layer)
            attention_rows = self.graph.attention_rows(layer)
            mlp_row = slice(attention_rows.stop, attention_rows.stop + 1)
            mlp_column = slice(heads.stop, heads.stop + 1)
            mlp = partial(self._mlp, weights, f"m{layer}", stream, mlp_row, mlp_column, embedded)
            early = mlp() if self.architecture.parallel else None
            live = stream.live(heads)
            attended = self._attention(weights, f"a{layer}", stream, attention_rows, live, bias, embedded)
            stream.write(heads, attended)
            stream.shift(weights[f"a{layer}.b_O"])
            stream.write(mlp_column, mlp() if early is None else early)

    def _attention(
        self,
        weights: Mapping[str, Tensor],
        name: str,
        stream: Stream,
        rows: slice,
        live: Tensor | None,
        bias: Tensor | None,
        like: Tensor,
    ) -> Tensor:
        """Outputs of the live heads, ``[live heads, batch, pos, d_model]``."""
        arch = self.architecture
        group = arch.n_heads // arch.n_kv_heads
        W_QKV, b_QKV, W_O = (weights[f"{name}.{part}"] for part in ("W_QKV", "b_QKV", "W_O"))
        n_q, n_kv = arch.n_heads, arch.n_kv_heads
        kv_of_head = torch.arange(arch.n_heads) // group
        if live is not None:
            if not live.any():
                return like.new_empty(0, *like.shape[1:])
            heads = live.nonzero()[:, 0]
            kv, kv_of_head = torch.unique(kv_of_head[heads], return_inverse=True)
            picked = torch.cat([heads, arch.n_heads + kv, arch.n_heads + arch.n_kv_heads + kv])
            W_QKV, b_QKV, W_O = W_QKV[picked], b_QKV[picked], W_O[heads]
            n_q, n_kv = len(heads), len(kv)
        x = stream.read(rows, int(self.graph.widths[rows.start]))
        x = self._norm(x, weights, f"{name}.norm")
        _, batch, pos, d_model = x.shape
        flat = x.reshape(len(x), batch * pos, d_model).expand(len(W_QKV), -1, -1)
        qkv = torch.baddbmm(b_QKV[:, None], flat, W_QKV)
        q, k, v = qkv.view(len(W_QKV), batch, pos, -1).split([n_q, n_kv, n_kv])
        if group > 1:
            k, v = k[kv_of_head], v[kv_of_head]
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=arch.causal)
        return (z.reshape(n_q, batch * pos, -1) @ W_O).view(n_q, batch, pos, d_model)

    def _mlp(
        self,
        weights: Mapping[str, Tensor],
        name: str,
        stream: Stream,
        row: slice,
        column: slice,
        like: Tensor,
    ) -> Tensor:
        """The MLP's output, ``[1, batch, pos, d_model]``; ``[0, ...]`` when it is not live."""
        if stream.live(column) is not None:
            return like.new_empty(0, *like.shape[1:])
        x = stream.read(row, int(self.graph.widths[row.start]))
        x = self._norm(x, weights, f"{name}.norm")
        hidden = F.linear(x, weights[f"{name}.W_in"].T, weights[f"{name}.b_in"])
        hidden = ACTIVATIONS[self.architecture.activation](hidden)
        return F.linear(hidden, weights[f"{name}.W_out"].T, weights[f"{name}.b_out"])

    def _logits(
        self, stream: Stream, weights: Mapping[str, Tensor], answers: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        row = len(self.graph.receivers) - 1
        x = stream.read(slice(row, row + 1), len(self.graph.senders))[0]
        if answers is not None:
            x = x[answers]
        x = self._norm(x, weights, "logits.norm")
        return F.linear(x, weights["logits.W_U"].T, weights["logits.b_U"])

    def _norm(self, x: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
        if self.architecture.norm == "none":
            return x
        return F.layer_norm(
            x, x.shape[-1:], weights[f"{name}.w"], weights[f"{name}.b"], self.architecture.eps
        )

    def _attention_bias(self, embedded: Tensor, lengths: Tensor | None) -> Tensor | None:
        """Keeps padding out of bidirectional attention."""
        if self.architecture.causal or lengths is None:
            return None
        inside = torch.arange(embedded.shape[2], device=embedded.device) < lengths[:, None]
        return inside[:, None, :]

    def _masked_weights(self, masks: Mapping[str, Tensor] | None) -> Mapping[str, Tensor]:
        if not masks:
            return self.weights
        unknown = sorted(set(masks) - set(self.weights))
        if unknown:
            raise ValueError(
                f"'{unknown[0]}' is no weight of this model; known are {', '.join(sorted(self.weights))}"
            )
        return {n: w * masks[n].to(w.dtype) if n in masks else w for n, w in self.weights.items()}

    def _recorder(self, tokens: Tensor) -> Tensor:
        shape = (len(self.graph.senders), *tokens.shape, self.architecture.d_model)
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    def _check(self, tokens: Tensor) -> None:
        if tokens.shape[1] > self.architecture.n_ctx:
            raise ValueError(
                f"a prompt of {tokens.shape[1]} tokens is longer than this model's "
                f"context of {self.architecture.n_ctx}: shorten it or take another model"
            )

    def _check_reference(self, reference: Tensor, tokens: Tensor) -> None:
        batch, pos = tokens.shape
        wanted = (len(self.graph.senders), batch, pos, self.architecture.d_model)
        fits = reference.dim() == 4 and reference.shape[0] == wanted[0] and reference.shape[3] == wanted[3]
        if not fits or reference.shape[1] not in (1, batch) or reference.shape[2] not in (1, pos):
            raise ValueError(f"a reference for these tokens is {wanted}, not {tuple(reference.shape)}")
