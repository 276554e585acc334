"""MaskedModel: a decoder in which every edge and every weight can be masked.

It is our own forward pass over weights that TransformerLens loaded (`models/bridge.py`), because hooks take
1.5 times the time and up to three times the memory of a direct computation. It neither trains nor generates:
weights are frozen, and gradients flow only to masks and edges.

Each node computes what it computes in Hugging Face; `tests/test_engine/test_masked_model.py` compares it with
TransformerBridge hooks, which are the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bench.engine import blocks
from bench.engine.architecture import Architecture
from bench.engine.blocks import Weights
from bench.engine.masked_stream import MaskedStream
from bench.engine.streams import BufferPool, PlainStream, StackedStream, Stream, TappedStream, Taps

KEEP_BYTES = 2**31


class MaskedModel:
    """A frozen decoder whose forward takes edge and weight masks.

    `weights` maps names to tensors: ``embed.W_E``, ``embed.W_pos``, then per layer ``a0.W_QKV`` ``[q heads +
    k heads + v heads, d_model, d_head]``, ``a0.b_QKV``, ``a0.W_O`` ``[heads, d_head, d_model]``, ``a0.b_O``,
    ``m0.W_in``, ``m0.b_in``, ``m0.W_out``, ``m0.b_out``, the norms' ``.w`` and ``.b`` (``a0.norm``,
    ``m0.norm``, ``logits.norm``), and ``logits.W_U``, ``logits.b_U``. Some architectures have more:
    ``m0.W_gate``, ``a0.q_norm.w``, ``a0.k_norm.w``, ``a0.post.w``, ``m0.post.w``, and ``rotary.inv_freq``
    instead of ``embed.W_pos``.
    """

    def __init__(self, architecture: Architecture, weights: Mapping[str, Tensor]) -> None:
        self.architecture = architecture
        self.graph = architecture.graph()
        self._exists = self.graph.exists  # computed here, not later in a caller's inference mode
        self.weights = {name: tensor.detach() for name, tensor in weights.items()}
        self._pool = BufferPool()
        self.keep_bytes = KEEP_BYTES
        """In a run with gradients, receivers' inputs are kept up to this many bytes; beyond that, the
        backward pass recomputes them block by block. If weight masks need gradients, they are always kept."""

    @property
    def dtype(self) -> torch.dtype:
        return self.weights["embed.W_E"].dtype

    @property
    def device(self) -> torch.device:
        return self.weights["embed.W_E"].device

    @property
    def matrices(self) -> dict[str, torch.Size]:
        """Shapes of every attention and MLP matrix by name, without embeddings and biases."""
        return {name: shape for name, shape in self.maskable.items() if ".W_" in name}

    @property
    def maskable(self) -> dict[str, torch.Size]:
        """Shapes of attention and MLP matrices and biases by name, except b_O, which belongs to no edge."""
        return {
            name: weight.shape
            for name, weight in self.weights.items()
            if (".W_" in name or ".b_" in name) and not name.startswith(("embed.", "logits."))
            if not name.endswith(".b_O")
        }

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> MaskedModel:
        """The same model on another device or in another precision."""
        fixed = {"rotary.inv_freq": torch.float32}  # the angles of late positions need float32, not more
        moved = {n: w.to(device, fixed.get(n, dtype)) for n, w in self.weights.items()}
        return MaskedModel(self.architecture, moved)

    def with_split_embed(self) -> MaskedModel:
        """The same model with token and position embedding as two senders.

        Raises:
            ValueError: it has no position embedding.
        """
        if self.architecture.rotary:
            raise ValueError("this model uses rotary embeddings and has no position embedding to split off")
        return MaskedModel(replace(self.architecture, split_embed=True), self.weights)

    def with_kv_per_head(self) -> MaskedModel:
        """The same model with a key and a value input per query head. Copies of their weights take memory;
        weight masks and densities treat each copy as a weight of its own."""
        rows = self.graph.rows_per_head[: 3 * self.graph.n_heads].to(self.device)  # of any layer
        weights = {n: w[rows] if n.endswith("_QKV") else w for n, w in self.weights.items()}
        return MaskedModel(replace(self.architecture, n_kv_heads=self.graph.n_heads), weights)

    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        edges: Float[Tensor, "receivers senders"] | None = None,
        reference: Float[Tensor, "senders #batch #pos d_model"] | None = None,
        weights: Mapping[str, Tensor] | None = None,
        answers: tuple[Int[Tensor, " answer"], Int[Tensor, " answer"]] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "*where vocab"]:
        """Logits under an edge mask and weight masks, differentiable in both.

        Args:
            tokens: prompts, padded on the right.
            edges: how much of each edge is kept, from 0 to 1, on any device; None keeps every edge whole.
            reference: what a removed edge carries instead (`ablation.py`); None means zero.
            weights: weight masks by name, from 0 to 1; weights that are not named are whole.
            answers: examples and positions at which to compute logits; None for all positions.
            lengths: tokens of each prompt, for bidirectional models; causal ones never read the padding.

        Returns:
            ``[answer, vocab]`` with `answers`, otherwise ``[batch, pos, vocab]``.

        Raises:
            ValueError: a mask, the reference or the tokens do not fit this model.
        """
        self._check(tokens)
        masked_weights = self._masked_weights(weights)
        stream: Stream = PlainStream()
        if edges is not None:
            stream = self._masked_stream(tokens, edges, reference, weights)
        self._layers(self.embed(tokens, masked_weights), stream, masked_weights, lengths)
        return self._logits(stream, masked_weights, answers)

    @torch.no_grad()
    def run_each(
        self,
        tokens: Int[Tensor, "batch pos"],
        edges: Bool[Tensor, "mask receivers senders"],
        reference: Float[Tensor, "senders #batch #pos d_model"] | None,
        answers: tuple[Int[Tensor, " answer"], Int[Tensor, " answer"]],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "mask answer vocab"]:
        """Logits at some answers under each of several edge masks, all computed at once.

        Takes the memory of that many runs, but on small models a tenth of the time of separate ones.

        Args:
            tokens: prompts, padded on the right.
            edges: True where an edge is kept.
            reference: what a removed edge carries instead; None means zero.
            answers: examples and positions at which to compute logits.
            lengths: as in `run`.

        Raises:
            ValueError: the reference or the tokens do not fit this model.
        """
        self._check(tokens)
        if reference is not None:
            self._check_reference(reference, tokens)
        n = len(edges)
        masks = (edges & self._exists).to(self.device, self.dtype)
        stream = StackedStream(masks, reference, (*tokens.shape, self.architecture.d_model))
        each = tokens.repeat(n, 1)
        self._layers(self.embed(each), stream, self.weights, None if lengths is None else lengths.repeat(n))
        examples, positions = answers
        batch = torch.arange(n, device=examples.device)[:, None] * len(tokens) + examples
        return self._logits(stream, self.weights, (batch, positions.expand(n, -1)))

    @torch.no_grad()
    def deltas(
        self,
        tokens: Int[Tensor, "batch pos"],
        edges: Bool[Tensor, "receivers senders"],
        reference: Float[Tensor, "senders #batch #pos d_model"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "senders batch pos d_model"]:
        """Each sender's output under an edge mask, minus its reference; 0 where no kept edge reads it.

        Args:
            tokens: prompts, padded on the right.
            edges: True where an edge is kept.
            reference: what a removed edge carries instead; None means zero.
            lengths: as in `run`.

        Raises:
            ValueError: the mask or the reference does not fit this model.
        """
        stream = self._masked_stream(tokens, edges.to(self.device, self.dtype), reference, None)
        self._layers(self.embed(tokens), stream, self.weights, lengths)
        deltas = self._recorder(tokens).zero_()
        deltas[stream.alive.to(self.device)] = stream.buffer[1:]
        return deltas

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
        replaced: tuple[slice, Float[Tensor, "columns batch pos d_model"]] | None = None,
    ) -> Float[Tensor, "receivers senders"]:
        """direction_s . dL/dx_r for every edge of the full model, summed over examples, positions and width.

        Args:
            tokens: prompts, padded on the right.
            loss: maps logits, as `run` returns them, to a scalar L.
            direction: maps the senders' outputs in this run to the directions in which they would move.
            inputs: replace the embeddings' outputs, for a gradient at another point than the prompt.
            answers: as in `run`.
            lengths: as in `run`.
            replaced: senders that are computed together, and constants that they write instead.

        Raises:
            ValueError: the tokens do not fit this model.
        """
        self._check(tokens)
        if replaced is not None and replaced[0] == self.graph.groups[0]:
            inputs, replaced = replaced[1], None  # the pass starts from the embeddings
        with torch.enable_grad():
            recorder = self._recorder(tokens)
            taps = Taps(recorder.new_zeros(self.graph.exists.shape))
            stream = TappedStream(recorder, taps, replaced)
            embedded = (self.embed(tokens) if inputs is None else inputs).detach().requires_grad_()
            self._layers(embedded, stream, self.weights, lengths)
            value = loss(self._logits(stream, self.weights, answers))
        taps.direction = direction(recorder)
        # the requested input is the first node of the graph, so the pass runs through every tap
        torch.autograd.grad(value, embedded)
        return taps.gradients

    def embed(
        self, tokens: Int[Tensor, "batch pos"], weights: Mapping[str, Tensor] | None = None
    ) -> Float[Tensor, "n_embed batch pos d_model"]:
        """The embedding senders' outputs: their sum, or token and position separately."""
        weights = weights or self.weights
        token = weights["embed.W_E"][tokens]
        if self.architecture.rotary:
            return token[None]
        position = weights["embed.W_pos"][: tokens.shape[1]].expand_as(token)
        parts = torch.stack([token, position])
        return parts if self.architecture.split_embed else parts.sum(0, keepdim=True)

    # ---- the forward pass, shared by every kind of stream

    def _layers(self, embedded: Tensor, stream: Stream, weights: Weights, lengths: Tensor | None) -> None:
        columns = slice(0, self.graph.n_embed)
        live = stream.live(columns)
        stream.write(columns, embedded if live is None else embedded[live])
        bias = self.attention_bias(embedded.shape[2], lengths)
        for layer in range(self.architecture.n_layers):
            heads = self.graph.head_columns(layer)
            attention_rows = self.graph.attention_rows(layer)
            mlp_row = slice(attention_rows.stop, attention_rows.stop + 1)
            mlp_column = slice(heads.stop, heads.stop + 1)
            if isinstance(stream, MaskedStream) and stream.recompute:
                self._layer_in_blocks(weights, layer, stream, bias)
                continue
            width = int(self.graph.widths[attention_rows.start])
            attend = partial(self._attention, weights, f"a{layer}", bias, stream.live(heads), embedded)
            mlp = partial(self._mlp, weights, f"m{layer}", stream.live(mlp_column), embedded)
            if self.architecture.parallel:
                written = mlp(partial(stream.read, mlp_row, width))
                stream.write(heads, attend(partial(stream.read, attention_rows, width)))
                stream.shift(weights[f"a{layer}.b_O"])
            else:
                stream.write(heads, attend(partial(stream.begin, attention_rows, width)))
                stream.shift(weights[f"a{layer}.b_O"])
                written = mlp(partial(stream.finish, mlp_row, heads.stop))
            stream.write(mlp_column, written)

    def _layer_in_blocks(
        self, weights: Weights, layer: int, stream: MaskedStream, bias: Tensor | None
    ) -> None:
        """A layer that keeps only its senders' outputs for the backward pass."""
        rows, heads = self.graph.attention_rows(layer), self.graph.head_columns(layer)
        mlp_row, mlp_column = rows.stop, heads.stop
        attend = partial(blocks.attention, self.architecture, weights, f"a{layer}", heads=None, bias=bias)
        mlp = partial(blocks.mlp, self.architecture, weights, f"m{layer}")
        width = int(self.graph.widths[rows.start])
        if self.architecture.parallel:
            both = slice(rows.start, mlp_row + 1), slice(heads.start, mlp_column + 1)
            stream.block(*both, width, lambda x: torch.cat([attend(x[:-1]), mlp(x[-1:])]))
            stream.shift(weights[f"a{layer}.b_O"])
            return
        stream.block(rows, heads, width, attend)
        stream.shift(weights[f"a{layer}.b_O"])
        row, column = slice(mlp_row, mlp_row + 1), slice(mlp_column, mlp_column + 1)
        stream.block(row, column, int(self.graph.widths[mlp_row]), mlp)

    def _attention(
        self,
        weights: Weights,
        name: str,
        bias: Tensor | None,
        live: Tensor | None,
        like: Tensor,
        read: Callable[[], Tensor],
    ) -> Tensor:
        """Outputs of the live heads, ``[live heads, batch, pos, d_model]``."""
        x = read()
        if live is None:
            return blocks.attention(self.architecture, weights, name, x, None, bias)
        if not live.any():
            return like.new_empty(0, *like.shape[1:])
        if self.architecture.post_norm:
            return blocks.attention(self.architecture, weights, name, x, None, bias)[live]
        return blocks.attention(self.architecture, weights, name, x, live.nonzero()[:, 0], bias)

    def _mlp(
        self, weights: Weights, name: str, live: Tensor | None, like: Tensor, read: Callable[[], Tensor]
    ) -> Tensor:
        """The MLP's output, ``[1, batch, pos, d_model]``; ``[0, ...]`` when it is not live."""
        if live is not None:
            return like.new_empty(0, *like.shape[1:])
        return blocks.mlp(self.architecture, weights, name, read())

    def _logits(self, stream: Stream, weights: Weights, answers: tuple[Tensor, Tensor] | None) -> Tensor:
        row = len(self.graph.receivers) - 1
        x = stream.read(slice(row, row + 1), len(self.graph.senders))[0]
        return blocks.logits(self.architecture, weights, x if answers is None else x[answers])

    def attention_bias(
        self, pos: int, lengths: Int[Tensor, " batch"] | None
    ) -> Bool[Tensor, "batch 1 pos"] | None:
        """Keeps padding out of bidirectional attention."""
        if self.architecture.causal or lengths is None:
            return None
        inside = torch.arange(pos, device=lengths.device) < lengths[:, None]
        return inside[:, None, :]

    def _masked_stream(
        self,
        tokens: Tensor,
        edges: Tensor,
        reference: Tensor | None,
        weights: Mapping[str, Tensor] | None,
    ) -> MaskedStream:
        if edges.shape != self.graph.exists.shape:
            raise ValueError(
                f"this model's edge mask has shape {tuple(self.graph.exists.shape)}, not {tuple(edges.shape)}"
            )
        if reference is not None:
            self._check_reference(reference, tokens)
        mask = torch.where(self._exists.to(edges.device), edges, 0).to(self.device, self.dtype)
        shape = (*tokens.shape, self.architecture.d_model)
        masks = (edges, *(weights or {}).values())
        differentiable = torch.is_grad_enabled() and any(m.requires_grad for m in masks)
        read = len(self.graph.receivers) * tokens.numel() * shape[2] * mask.element_size()
        frozen = not any(m.requires_grad for m in masks[1:])
        recompute = frozen and read > self.keep_bytes
        return MaskedStream(
            mask, reference, shape, self.graph.owners, self._pool, differentiable, recompute=recompute
        )

    def _masked_weights(self, masks: Mapping[str, Tensor] | None) -> Mapping[str, Tensor]:
        if not masks:
            return self.weights
        unknown = sorted(set(masks) - set(self.weights))
        if unknown:
            raise ValueError(
                f"'{unknown[0]}' is not a weight of this model; known: {', '.join(sorted(self.weights))}"
            )
        for name, mask in masks.items():
            if mask.shape != (shape := self.weights[name].shape):
                raise ValueError(f"a mask of {name} has shape {tuple(shape)}, not {tuple(mask.shape)}")
        return {
            n: w * _in_order_of(w, masks[n].to(w.device, w.dtype)) if n in masks else w
            for n, w in self.weights.items()
        }

    def _recorder(self, tokens: Tensor) -> Tensor:
        shape = (len(self.graph.senders), *tokens.shape, self.architecture.d_model)
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    def _check(self, tokens: Tensor) -> None:
        if tokens.shape[1] > self.architecture.n_ctx:
            raise ValueError(
                f"a prompt of {tokens.shape[1]} tokens is longer than this model's "
                f"context of {self.architecture.n_ctx}: shorten it or use another model"
            )

    def _check_reference(self, reference: Tensor, tokens: Tensor) -> None:
        batch, pos = tokens.shape
        wanted = (len(self.graph.senders), batch, pos, self.architecture.d_model)
        fits = reference.dim() == 4 and reference.shape[0] == wanted[0] and reference.shape[3] == wanted[3]
        if not fits or reference.shape[1] not in (1, batch) or reference.shape[2] not in (1, pos):
            raise ValueError(f"a reference for these tokens has shape {wanted}, not {tuple(reference.shape)}")


def _in_order_of(weight: Tensor, mask: Tensor) -> Tensor:
    """A mask in the weight's memory order: multiplying across orders takes twice as long as reordering."""
    return mask if weight.is_contiguous() else mask.mT.contiguous().mT
