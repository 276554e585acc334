"""Writes what `oracle.py` holds a device to: tiny models, and what TransformerLens's hooks say of them.

    PYTHONPATH=tests python tests/gpu/make_oracle.py

In float64 all through, and stored in float32: a machine with a GPU may lack TransformerLens.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from oracle import FILE, MASKS, REFERENCES, loss, mask_of
from safetensors.torch import save_file
from torch import Tensor

from bench.models.bridge import masked_model
from bench.models.tiny import decoder
from bridge_oracle import BridgeOracle, tiny_gpt2
from decoders import GROUPED
from naive_decoder import in_float64


def main() -> None:
    """All families in one file, their shapes in its header."""
    with pytest.MonkeyPatch.context() as patch:
        in_float64(patch)
        made: dict[str, Tensor] = {}
        shapes = {}
        families = {
            "gpt2": tiny_gpt2(n_layer=2),
            "llama": decoder("Llama", **GROUPED),
            "neox": decoder("GPTNeoX", rotary_pct=0.5),
        }
        for family, hf in families.items():
            model = masked_model(hf)
            slow = BridgeOracle(hf, model.graph)
            shapes[family] = asdict(model.architecture)
            clean, corrupted = torch.randint(0, 50, (2, 3, 7), generator=torch.Generator().manual_seed(3))
            made |= {f"{family}.weights.{name}": weight for name, weight in model.weights.items()}
            made |= {f"{family}.clean": clean, f"{family}.corrupted": corrupted}
            senders = slow.senders(corrupted).detach()
            for kind in MASKS:
                for reference in REFERENCES:
                    mask = mask_of(kind, model.graph.exists).double().requires_grad_()
                    logits = slow.masked(clean, mask, senders if reference == "resample" else None)
                    (gradient,) = torch.autograd.grad(loss(logits), mask)
                    made[f"{family}.logits.{kind}.{reference}"] = logits
                    made[f"{family}.gradient.{kind}.{reference}"] = gradient * model.graph.exists
    stored = {name: t.detach().float() if t.is_floating_point() else t for name, t in made.items()}
    save_file({name: t.contiguous() for name, t in stored.items()}, FILE, {"shapes": json.dumps(shapes)})
    print(f"{FILE.name}: {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
