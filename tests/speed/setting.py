"""What the speed suite measures on: random models of some shapes, a batch of prompt pairs, the operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from bench.discovery.select import top
from bench.engine.circuit import Circuit
from bench.engine.graph import edges_of_share
from bench.engine.masked_model import MaskedModel
from bench.scoring.metrics import CURVE_SHARES
from methods.rules.gradient_rules import ATTN_LRP, GIM, PLAIN, RELP, GradientRules

if TYPE_CHECKING:
    from transformers import PreTrainedModel  # `make gpu` does without


def gpt2(**config: Any) -> PreTrainedModel:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(**config, bos_token_id=0, eos_token_id=0))


def smollm2() -> PreTrainedModel:
    """SmolLM2-135M's shape: 30 layers, 9 heads that share 3 KV heads, gated MLPs, rotary."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config)


SHAPES: dict[str, tuple[Callable[[], PreTrainedModel], tuple[int, int]]] = {
    "S": (partial(gpt2, n_layer=4, n_head=4, n_embd=128, vocab_size=1000, n_positions=64), (32, 16)),
    "M": (gpt2, (8, 16)),  # GPT-2 small
    "smollm2": (smollm2, (8, 16)),
}
ROUNDS = {"S": 30, "M": 9, "smollm2": 5}


class Operations:
    """A model, a batch of prompt pairs, and what is measured on them."""

    def __init__(self, shape: str, model: MaskedModel, size: tuple[int, int]) -> None:
        """`size` is that of the batch: examples and positions."""
        self.shape, self.model, self.graph = shape, model, model.graph
        device, vocabulary = model.device, model.architecture.d_vocab
        self.clean, self.corrupted = torch.randint(vocabulary, (2, *size)).to(device)
        self.mask = (0.01 + 0.98 * torch.rand(self.graph.exists.shape)).to(device)
        self.scores = torch.rand(self.graph.exists.shape)
        self.reference = model.senders(self.corrupted)
        # a scalar loss: a fixed weighting of the logits
        self.weights = torch.randn(*size, vocabulary).to(device, model.dtype)

    @torch.no_grad()
    def masked_forward(self) -> torch.Tensor:
        return self.model.run(self.clean, self.mask, self.reference)

    def masked_forward_backward(self) -> torch.Tensor | None:
        mask = self.mask.clone().requires_grad_()
        self.model.run(self.clean, mask, self.reference).backward(self.weights)
        return mask.grad

    def eap(self, rules: GradientRules = PLAIN) -> torch.Tensor:
        reference = self.model.senders(self.corrupted)
        model = MaskedModel(replace(self.model.architecture, rules=rules), self.model.weights)
        return model.edge_gradients(
            self.clean, lambda logits: (logits * self.weights).sum(), lambda senders: reference - senders
        )

    def gim(self) -> torch.Tensor:
        return self.eap(GIM)

    def relp(self) -> torch.Tensor:
        return self.eap(RELP)

    def attn_lrp(self) -> torch.Tensor:
        return self.eap(ATTN_LRP)

    def eap_ig_5(self) -> torch.Tensor:
        reference, clean = self.model.senders(self.corrupted), self.model.senders(self.clean)
        total = torch.zeros_like(self.mask)
        for k in range(1, 6):
            inputs = torch.lerp(reference[:1], clean[:1], k / 5)
            total += self.model.edge_gradients(
                self.clean,
                lambda logits: (logits * self.weights).sum(),
                lambda senders: reference - clean,
                inputs,
            )
        return total / 5

    @torch.no_grad()
    def evaluate_10_sizes(self) -> list[float]:
        """KL of ten circuits, 0.1 % to 100 % of edges, cut from random scores."""
        full = self.model.run(self.clean).log_softmax(-1)
        reference = self.model.senders(self.corrupted)
        kls = []
        for share in CURVE_SHARES:
            kept = top(self.graph, self.scores, edges_of_share(self.graph.n_edges, share))
            effective = Circuit(self.graph, kept).effective("resample").kept.float()
            logits = self.model.run(self.clean, effective, reference).log_softmax(-1)
            kls.append(float((full.exp() * (full - logits)).sum(-1).mean()))
        return kls


class Setting(Operations):
    """The same beside Hugging Face's own model, of random weights."""

    def __init__(self, shape: str) -> None:
        from bench.models.bridge import masked_model

        torch.manual_seed(0)
        torch.set_num_threads(1)
        make, size = SHAPES[shape]
        self.hf: Any = make().eval()
        super().__init__(shape, masked_model(self.hf), size)

    @torch.no_grad()
    def plain(self) -> torch.Tensor:
        logits: torch.Tensor = self.hf(self.clean).logits
        return logits
