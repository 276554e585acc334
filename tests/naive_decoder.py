"""A second slow reference: an edge-masked forward over Hugging Face's own weights and norms.

It serves what bridge cannot: Gemma-2's norms after attention and MLP, and Phi's one norm for both. Node
after node, head after head, every receiver's input is a plain sum; `bench` is asked for nothing but the
names and the order of rows and columns. How many heads share a key and a value it reads in Hugging Face's
configuration; the graph says alone how they are counted.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bench.engine.graph import EdgeGraph

Part = Callable[[Tensor], Tensor]


@dataclass
class Layer:
    """What is in one layer, whatever Hugging Face calls it."""

    attention_norm: Part
    mlp_norm: Part
    mlp: Part
    ports: dict[str, tuple[Tensor, Tensor | float]]
    """For q, k and v: weight ``[heads, d_head, d_model]``, bias ``[heads, 1, 1, d_head]``."""
    W_O: Tensor
    """``[d_model, heads, d_head]``"""
    b_O: Tensor | float
    q_norm: Part | None = None
    k_norm: Part | None = None
    attention_post_norm: Any = None
    mlp_post_norm: Part | None = None


class NaiveDecoder:
    """Logits of a Hugging Face decoder whose receivers each read a mix of their own."""

    def __init__(self, model: PreTrainedModel, graph: EdgeGraph) -> None:
        self.model, self.graph = model, graph
        self.base: Any = model.base_model
        self.config = model.config
        self.kv_heads = getattr(model.config, "num_key_value_heads", None) or graph.n_heads
        layers: Any = self.base.h if hasattr(self.base, "h") else self.base.layers
        self.layers = [self._layer(layer) for layer in layers]
        self.replaced: dict[int, Tensor] = {}
        """What senders write in the place of what they compute."""

    def masked(self, tokens: Tensor, mask: Tensor, reference: Tensor | None) -> Tensor:
        """Logits when receiver r reads sum_s m[r,s] z_s + (1 - m[r,s]) ref_s + constants."""
        return self.run(tokens, mask, reference)[0]

    def senders(self, tokens: Tensor) -> Tensor:
        """Every sender's output in the full model, ``[senders, batch, pos, d_model]``."""
        return self.run(tokens, torch.ones(self.graph.exists.shape, dtype=self.model.dtype), None)[1]

    def run(self, tokens: Tensor, mask: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits and senders' outputs."""
        weight_of = {node.name: mask[row] for row, node in enumerate(self.graph.receivers)}
        senders = [self.replaced.get(0, self._embed(tokens))]
        constant: Tensor | float = 0.0

        def read(name: str, norm: Part) -> Tensor:
            x = torch.zeros_like(senders[0]) + constant
            for column, z in enumerate(senders):
                removed = 0.0 if reference is None else reference[column]
                x = x + weight_of[name][column] * z + (1 - weight_of[name][column]) * removed
            return norm(x)

        def write_mlp(i: int) -> Tensor:
            out = self.layers[i].mlp(read(f"m{i}", self.layers[i].mlp_norm))
            after = self.layers[i].mlp_post_norm
            return out if after is None else after(out)

        for i, layer in enumerate(self.layers):
            early = write_mlp(i) if self.graph.parallel else None
            heads = [self._head(i, h, read) for h in range(self.graph.n_heads)]
            if layer.attention_post_norm is not None:
                # the norm of their sum, a share of which is each head's
                post = layer.attention_post_norm
                whole = torch.stack(heads).sum(0)
                root = self._constant((whole.square().mean(-1, keepdim=True) + post.eps).sqrt())
                heads = [z / root * (1 + post.weight) for z in heads]
                torch.testing.assert_close(torch.stack(heads).sum(0), post(whole), atol=1e-4, rtol=1e-4)
            senders += [self.replaced.get(len(senders) + h, z) for h, z in enumerate(heads)]
            constant = constant + layer.b_O
            out = write_mlp(i) if early is None else early
            senders.append(self.replaced.get(len(senders), out))

        names = ("ln_f", "norm", "final_layer_norm", "final_layernorm")
        final = next(getattr(self.base, name) for name in names if hasattr(self.base, name))
        logits = self.model.get_output_embeddings()(read("logits", final))
        cap = getattr(self.config, "final_logit_softcapping", None)
        return (logits if cap is None else cap * self._tanh(logits / cap)), torch.stack(senders)

    def _embed(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.model.get_input_embeddings()(tokens)
        if hasattr(self.base, "wpe"):
            embedded = embedded + self.base.wpe(torch.arange(tokens.shape[1]))
        return embedded

    def _head(self, i: int, h: int, read: Callable[[str, Part], Tensor]) -> Tensor:
        """A head's share of its attention's output, ``[batch, pos, d_model]``."""
        layer = self.layers[i]
        kv = h // (self.graph.n_heads // self.kv_heads)

        def project(port: str, part: int) -> Tensor:
            """From an input of the head's own, or of its group where the graph counts one a group."""
            weight, bias = layer.ports[port]
            reader = h if self.graph.n_kv_heads == self.graph.n_heads else part
            x = read(f"a{i}.h{reader}.{port}", layer.attention_norm)
            return x @ weight[part].T + (bias if isinstance(bias, float) else bias[part])

        q, k, v = project("q", h), project("k", kv), project("v", kv)
        q = q if layer.q_norm is None else layer.q_norm(q)
        k = k if layer.k_norm is None else layer.k_norm(k)
        q, k = self._rotate(q, k)
        scale = getattr(self.config, "query_pre_attn_scalar", None) or q.shape[-1]
        scores = q @ k.mT / math.sqrt(scale)
        cap = getattr(self.config, "attn_logit_softcapping", None)
        scores = scores if cap is None else cap * self._tanh(scores / cap)
        later = torch.ones_like(scores[0]).triu(1).bool()
        return self._mix(scores.masked_fill(later, -math.inf), v) @ layer.W_O[:, h].T

    def _mix(self, scores: Tensor, v: Tensor) -> Tensor:
        return scores.softmax(-1) @ v

    def _tanh(self, x: Tensor) -> Tensor:
        return x.tanh()

    def _constant(self, root: Tensor) -> Tensor:
        """What a norm divides by."""
        return root

    def _rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        if not hasattr(self.base, "rotary_emb"):
            return q, k
        rotate = vars(sys.modules[type(self.model).__module__])["apply_rotary_pos_emb"]
        cos, sin = self.base.rotary_emb(q, torch.arange(q.shape[1])[None])
        n = cos.shape[-1]
        turned = rotate(q[:, None, :, :n], k[:, None, :, :n], cos, sin)
        q, k = (torch.cat([t[:, 0], x[..., n:]], -1) for t, x in zip(turned, (q, k), strict=True))
        return q, k

    def _layer(self, layer: Any) -> Layer:
        if hasattr(layer, "attn"):
            return self._gpt2_layer(layer)
        if hasattr(layer, "attention"):
            return self._neox_layer(layer)
        attention = layer.self_attn
        out = attention.dense if hasattr(attention, "dense") else attention.o_proj
        mlp_norm = getattr(layer, "post_attention_layernorm", layer.input_layernorm)
        posts: dict[str, Any] = {}
        if hasattr(layer, "pre_feedforward_layernorm"):  # Gemma-2
            mlp_norm = layer.pre_feedforward_layernorm
            posts = {"attention_post_norm": layer.post_attention_layernorm,
                     "mlp_post_norm": layer.post_feedforward_layernorm}  # fmt: skip
        ports = {port: getattr(attention, f"{port}_proj") for port in "qkv"}
        return Layer(
            layer.input_layernorm,
            mlp_norm,
            layer.mlp,
            {port: self._by_head(linear.weight, linear.bias, port) for port, linear in ports.items()},
            out.weight.unflatten(1, (self.graph.n_heads, -1)),
            0.0 if out.bias is None else out.bias,
            getattr(attention, "q_norm", None),
            getattr(attention, "k_norm", None),
            **posts,
        )

    def _gpt2_layer(self, layer: Any) -> Layer:
        weights, biases = layer.attn.c_attn.weight.T.chunk(3), layer.attn.c_attn.bias.chunk(3)
        ports = zip("qkv", weights, biases, strict=True)
        return Layer(
            layer.ln_1,
            layer.ln_2,
            layer.mlp,
            {port: self._by_head(weight, bias, port) for port, weight, bias in ports},
            layer.attn.c_proj.weight.T.unflatten(1, (self.graph.n_heads, -1)),
            layer.attn.c_proj.bias,
        )

    def _neox_layer(self, layer: Any) -> Layer:
        """Each head's rows are its query's, its key's and its value's."""
        joint, out = layer.attention.query_key_value, layer.attention.dense
        weights = joint.weight.unflatten(0, (self.graph.n_heads, 3, -1)).unbind(1)
        biases = joint.bias.unflatten(0, (self.graph.n_heads, 3, -1)).unbind(1)
        return Layer(
            layer.input_layernorm,
            layer.post_attention_layernorm,
            layer.mlp,
            {port: (w, b[:, None, None]) for port, w, b in zip("qkv", weights, biases, strict=True)},
            out.weight.unflatten(1, (self.graph.n_heads, -1)),
            out.bias,
        )

    def _by_head(self, weight: Tensor, bias: Tensor | None, port: str) -> tuple[Tensor, Tensor | float]:
        heads = self.graph.n_heads if port == "q" else self.kv_heads
        split = 0.0 if bias is None else bias.unflatten(0, (heads, -1))[:, None, None]
        return weight.unflatten(0, (heads, -1)), split


def in_float64(patch: pytest.MonkeyPatch) -> None:
    """Makes Hugging Face's and bridge's float64 runs float64 all through.

    Their RMSNorms and eager softmaxes go through float32 whatever the model's dtype, which is a
    millionth off.
    """
    from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
    from transformers.models.llama.modeling_llama import LlamaRMSNorm
    from transformers.models.mistral.modeling_mistral import MistralRMSNorm
    from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

    def exact(norm: Any, x: Tensor) -> Tensor:
        added = isinstance(norm, Gemma2RMSNorm)
        eps = norm.eps if added else norm.variance_epsilon
        scaled: Tensor = x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * (norm.weight + added)
        return scaled

    for kind in (Gemma2RMSNorm, LlamaRMSNorm, MistralRMSNorm, Qwen2RMSNorm, Qwen3RMSNorm):
        patch.setattr(kind, "forward", exact)
    softmax = nn.functional.softmax

    def unrounded(x: Tensor, dim: int, dtype: torch.dtype | None = None, **rest: Any) -> Tensor:
        return softmax(x, dim, dtype=None if x.dtype == torch.float64 else dtype, **rest)

    patch.setattr(nn.functional, "softmax", unrounded)
