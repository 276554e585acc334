"""What tests of the masked forward share: tiny models, prompts and comparisons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from bench.engine.architecture import Architecture
from bench.engine.masked_model import MaskedModel
from bench.models.bridge import masked_model
from bridge_oracle import BridgeOracle, tiny_gpt2

TRACR = Architecture(
    n_layers=2, n_heads=2, n_kv_heads=2, d_model=12, d_head=4, n_ctx=8, d_vocab=10,
    activation="relu", norm="none", causal=False, split_embed=True,
)  # fmt: skip
PROMPTS = torch.randint(0, 10, (2, 4, 6), generator=torch.Generator().manual_seed(2))
LENGTHS = torch.tensor([6, 2, 5, 1])
REFERENCES = ["resample", "zero", "mean", "mean_by_position"]
MASKS = ["ones", "zeros", "soft0", "soft1", "soft2", "binary"]
INSIDE = torch.arange(6) < LENGTHS[:, None]


@dataclass
class Tiny:
    """A random GPT-2 as Hugging Face, bridge and MaskedModel, with clean and corrupted prompts."""

    hf: GPT2LMHeadModel
    model: MaskedModel
    oracle: BridgeOracle
    clean: Tensor
    corrupted: Tensor

    @property
    def tolerance(self) -> float:
        return 1e-9 if self.model.dtype == torch.float64 else 1e-5

    def mask(self, kind: str) -> Tensor:
        """Ones, zeros, one of three random masks in [0, 1], or a random binary one."""
        shape = self.model.graph.exists.shape
        if kind in ("ones", "zeros"):
            return torch.full(shape, float(kind == "ones"), dtype=self.model.dtype)
        uniform = torch.rand(shape, generator=seeded(kind), dtype=self.model.dtype)
        return (uniform < 0.5).to(self.model.dtype) if kind == "binary" else uniform

    def reference(self, kind: str) -> Tensor | None:
        """What a removed edge carries under an ablation; the means are over the corrupted prompts."""
        if kind == "zero":
            return None
        senders = self.model.senders(self.corrupted)
        if kind == "resample":
            return senders
        return senders.mean((1, 2) if kind == "mean" else 1, keepdim=True)

    def agree(self, actual: Tensor, expected: Tensor) -> None:
        close(actual, expected, self.tolerance)

    def run(self, mask: Tensor, reference: Tensor | None, differentiable: bool = True) -> Tensor:
        """Logits of the clean prompts, on the path that keeps what a gradient to the mask needs, or not."""
        with torch.set_grad_enabled(differentiable):
            leaf = mask.clone().requires_grad_(differentiable)
            return self.model.run(self.clean, leaf, reference).detach()


@cache
def tiny(dtype: torch.dtype = torch.float64, split_embed: bool = False) -> Tiny:
    hf = tiny_gpt2(dtype)
    model = masked_model(hf)
    if split_embed:
        model = model.with_split_embed()
    clean, corrupted = torch.randint(0, 50, (2, 3, 7), generator=seeded("prompts"))
    return Tiny(hf, model, BridgeOracle(hf, model.graph), clean, corrupted)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual.detach(), expected.detach(), atol=tolerance, rtol=tolerance)


def seeded(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(sum(map(ord, name)))


def loss(logits: Tensor) -> Tensor:
    """A scalar that no direction leaves unmoved."""
    return logits.log_softmax(-1)[..., :5].sum()


def less(reference: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Towards z - ref, the direction in which a mask's entry grows."""
    return lambda z: z if reference is None else z - reference


def random_model(arch: Architecture) -> MaskedModel:
    """Weights of the given shapes, none of them special."""
    d, d_mlp, ports = arch.d_model, 20, arch.n_heads + 2 * arch.n_kv_heads
    shapes: dict[str, tuple[int, ...]] = {"embed.W_E": (arch.d_vocab, d), "embed.W_pos": (arch.n_ctx, d)}
    for a, m in ((f"a{layer}", f"m{layer}") for layer in range(arch.n_layers)):
        shapes |= {f"{a}.W_QKV": (ports, d, arch.d_head), f"{a}.b_QKV": (ports, arch.d_head)}
        shapes |= {f"{a}.W_O": (arch.n_heads, arch.d_head, d), f"{a}.b_O": (d,)}
        shapes |= {f"{m}.W_in": (d, d_mlp), f"{m}.b_in": (d_mlp,)}
        shapes |= {f"{m}.W_out": (d_mlp, d), f"{m}.b_out": (d,)}
        shapes |= {f"{block}.norm.{part}": (d,) for block in (a, m) for part in "wb"}
    shapes |= {"logits.W_U": (d, arch.d_vocab), "logits.b_U": (arch.d_vocab,)}
    shapes |= {f"logits.norm.{part}": (d,) for part in "wb"}
    generator = torch.Generator().manual_seed(1)
    weights = {n: 0.4 * torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}
    return MaskedModel(arch, weights)


def mask_gradient(case: Tiny, mask: Tensor, reference: Tensor | None) -> Tensor:
    leaf = mask.clone().requires_grad_()
    return torch.autograd.grad(loss(case.model.run(case.clean, leaf, reference)), leaf)[0]


def some_edges(case: Tiny, count: int) -> list[tuple[int, int]]:
    edges = case.model.graph.exists.nonzero().tolist()
    picked = torch.randperm(len(edges), generator=seeded("edges"))[:count]
    return [tuple(edges[i]) for i in picked]
