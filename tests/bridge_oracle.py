"""The slow, obvious reference: an edge-masked forward built from TransformerBridge hooks.

Nothing here knows which edges exist: a receiver's hook reads whatever senders' hooks have fired
before it, save that in a parallel block the MLP, which comes second, reads what attention read. Only
the order of rows and columns is taken from the graph (`test_graph.py` pins it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from bench.engine.graph import EdgeGraph
from bench.models.bridge import bridge_of

Receive = Callable[[int, Tensor, list[Tensor], Tensor], Tensor]
"""(row, input, outputs of the senders so far, sum of b_O so far) -> the input to use instead."""


def tiny_gpt2(dtype: torch.dtype = torch.float64, **changes: Any) -> GPT2LMHeadModel:
    """A random GPT-2; biases and LayerNorms too, which Hugging Face starts at 0 and 1."""
    shape = {"vocab_size": 50, "n_positions": 12, "n_embd": 32, "n_layer": 3, "n_head": 4}
    config = GPT2Config(**(shape | {"bos_token_id": None, "eos_token_id": None} | changes))
    model: Any = GPT2LMHeadModel(config)  # whose methods Hugging Face wraps, and their types get lost
    model = model.to(dtype).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(centre + 0.25 * noise)
    tiny: GPT2LMHeadModel = model
    return tiny


class BridgeOracle:
    """A TransformerBridge whose every receiver's input can be replaced."""

    def __init__(self, model: PreTrainedModel, graph: EdgeGraph) -> None:
        self.graph = graph
        self.bridge = bridge_of(model)
        self.bridge.set_use_attn_result(True)
        self.bridge.set_use_split_qkv_input(True)
        self.bridge.set_use_hook_mlp_in(True)
        self.has_positions = "pos_embed" in dict(self.bridge.named_children())

    def b_O(self, layer: int) -> Tensor:
        """Attention's output bias; zero where there is none."""
        bias: Tensor | None = self.bridge.blocks[layer].attn.o.original_component.bias
        return torch.zeros_like(self.bridge.W_E[0]) if bias is None else bias

    def masked(self, tokens: Tensor, mask: Tensor, reference: Tensor | None) -> Tensor:
        """Logits when receiver r reads sum_s m[r,s] z_s + (1 - m[r,s]) ref_s + constants."""

        def mix(row: int, x: Tensor, senders: list[Tensor], constant: Tensor) -> Tensor:
            total = constant.expand_as(x)
            for column, z in enumerate(senders):
                removed = 0.0 if reference is None else reference[column]
                total = total + mask[row, column] * z + (1 - mask[row, column]) * removed
            return total

        return self.run(tokens, mix)[0]

    def shifted(self, tokens: Tensor, shifts: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Logits when receiver r reads ``shifts[r]`` on top of the full model's input."""

        def shift(row: int, x: Tensor, senders: list[Tensor], constant: Tensor) -> Tensor:
            return x + shifts[row]

        return self.run(tokens, shift, inputs)[0]

    def senders(self, tokens: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Every sender's output in the full model, ``[senders, batch, pos, d_model]``."""
        return self.run(tokens, lambda row, x, senders, constant: x, inputs)[1]

    def run(self, tokens: Tensor, receive: Receive, inputs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits and senders' outputs; `inputs` stands for the outputs of the embedding senders."""
        rows = {node.name: row for row, node in enumerate(self.graph.receivers)}
        senders: list[Tensor] = []
        constant = torch.zeros_like(self.bridge.W_E[0])
        before_attention: tuple[list[Tensor], Tensor] = [], constant
        fired: Counter[str] = Counter()

        def embedded(x: Tensor, hook: Any, part: int) -> Tensor:
            if inputs is not None:
                x = inputs[part] if part < len(inputs) else torch.zeros_like(x)
            if part == 0 or self.graph.split_embed:
                senders.append(x)
            else:
                senders[0] = senders[0] + x
            return x

        def reads(x: Tensor, hook: Any, name: str) -> Tensor:
            return receive(rows[name], x, senders, constant)

        def mlp_reads(x: Tensor, hook: Any, name: str) -> Tensor:
            so_far = before_attention if self.graph.parallel else (senders, constant)
            return receive(rows[name], x, *so_far)

        def heads_read(x: Tensor, hook: Any, layer: int, port: str) -> Tensor:
            nonlocal before_attention
            before_attention = [*senders], constant
            names = [f"a{layer}.h{head}.{port}" for head in range(x.shape[2])]
            return torch.stack([reads(x[:, :, h], hook, name) for h, name in enumerate(names)], 2)

        def writes(x: Tensor, hook: Any) -> None:
            senders.append(x)

        def heads_write(x: Tensor, hook: Any, layer: int) -> None:
            nonlocal constant
            senders.extend(x.unbind(2))
            constant = constant + self.b_O(layer)

        hooks: dict[str, Callable[..., Tensor | None]] = {
            "hook_embed": partial(embedded, part=0),
            "ln_final.hook_in": partial(reads, name="logits"),
        }
        if self.has_positions:
            hooks["hook_pos_embed"] = partial(embedded, part=1)
        for layer in range(self.graph.n_layers):
            for port in "qkv":
                hooks[f"blocks.{layer}.hook_{port}_input"] = partial(heads_read, layer=layer, port=port)
            hooks[f"blocks.{layer}.attn.hook_result"] = partial(heads_write, layer=layer)
            hooks[f"blocks.{layer}.hook_mlp_in"] = partial(mlp_reads, name=f"m{layer}")
            hooks[f"blocks.{layer}.hook_mlp_out"] = writes

        def counted(name: str, x: Tensor, hook: Any) -> Tensor | None:
            fired[name] += 1
            return hooks[name](x, hook)

        logits = self.bridge.run_with_hooks(
            tokens, fwd_hooks=[(name, partial(counted, name)) for name in hooks]
        )
        # With a switch off, `hook_dict` takes a hook that never fires; here it would be noticed.
        assert fired == Counter(list(hooks)), f"silent hooks: {sorted(set(hooks) - set(fired))}"
        return logits, torch.stack(senders)
