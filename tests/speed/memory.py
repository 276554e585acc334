"""Memory and time of a step against model size: measured where it fits, computed where not.

Each shape has a process of its own, with random weights; on a GPU what torch allocated counts, on a CPU what
the process held beyond the bare program. `bench/engine/memory.py` has the formula and the step's definition.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from bench.engine.architecture import Architecture
from bench.engine.masked_model import KEEP_BYTES, MaskedModel
from bench.engine.memory import parameters, step_bytes

GB = 1e9
BATCH = (4, 16)
"""Examples and positions of a step."""


def llama(
    layers: int, heads: int, kv: int, d_model: int, d_head: int, d_mlp: int, vocab: int
) -> Architecture:
    return Architecture(
        layers, heads, kv, d_model, d_head, 4096, vocab, "silu", d_mlp, norm="rms", gated=True, rotary=d_head
    )


SHAPES = {
    "SmolLM2 135M": llama(30, 9, 3, 576, 64, 1536, 49152),
    "SmolLM2 360M": llama(32, 15, 5, 960, 64, 2560, 49152),
    "TinyLlama 1.1B": llama(22, 32, 4, 2048, 64, 5632, 32000),
    "Llama-2 7B": llama(32, 32, 32, 4096, 128, 11008, 32000),
    "Llama-2 13B": llama(40, 40, 40, 5120, 128, 13824, 32000),
}
ANEW = "SmolLM2 360M, blocks anew"
SHAPES[ANEW] = SHAPES["SmolLM2 360M"]
"""The same, keeping nothing of what receivers read: what large models do."""
ON_CPU = (ANEW, "SmolLM2 135M", "SmolLM2 360M", "TinyLlama 1.1B")


def random_model(arch: Architecture, device: str, dtype: torch.dtype) -> MaskedModel:
    """Weights of the right scale, made in place so that nothing but them is held."""

    def made(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device=device, dtype=dtype).normal_(0, shape[-2] ** -0.5)

    d, rows = arch.d_model, arch.n_heads + 2 * arch.n_kv_heads

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, device=device, dtype=dtype)

    def norm(name: str) -> dict[str, torch.Tensor]:
        return {f"{name}.w": 1 + zeros(d), f"{name}.b": zeros(d)} if arch.norm == "layer" else {}

    weights = {
        "embed.W_E": made(arch.d_vocab, d),
        "logits.W_U": made(arch.d_vocab, d).T,
        "logits.b_U": zeros(arch.d_vocab),
        **norm("logits.norm"),
    }
    if arch.rotary:
        weights["rotary.inv_freq"] = 1e-4 ** (torch.arange(0, arch.rotary, 2, device=device) / arch.rotary)
    else:
        weights["embed.W_pos"] = made(arch.n_ctx, d)
    for i in range(arch.n_layers):
        weights |= {
            f"a{i}.W_QKV": made(rows, d, arch.d_head),
            f"a{i}.b_QKV": zeros(rows, arch.d_head),
            f"a{i}.W_O": made(arch.n_heads, arch.d_head, d),
            f"a{i}.b_O": zeros(d),
            f"m{i}.W_in": made(arch.d_mlp, d).T,
            f"m{i}.b_in": zeros(arch.d_mlp),
            f"m{i}.W_out": made(arch.d_mlp, d),
            f"m{i}.b_out": zeros(d),
            **norm(f"a{i}.norm"),
            **norm(f"m{i}.norm"),
        }
        if arch.gated:
            weights |= {f"m{i}.W_gate": made(arch.d_mlp, d).T, f"m{i}.b_gate": zeros(arch.d_mlp)}
    return MaskedModel(arch, weights)


def kept_bytes(name: str) -> int:
    return 0 if name == ANEW else KEEP_BYTES


def held(device: str) -> float:
    """GB at the peak so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / GB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB


def measure(name: str, device: str) -> dict[str, object]:
    """One shape, in this process: the second of two steps is timed."""
    torch.set_num_threads(1)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    before = held(device)
    arch = SHAPES[name]
    model = random_model(arch, device, dtype)
    model.keep_bytes = kept_bytes(name)
    clean, corrupted = torch.randint(arch.d_vocab, (2, *BATCH), device=device)
    at = torch.arange(BATCH[0], device=device), torch.full((BATCH[0],), BATCH[1] - 1, device=device)
    mask = torch.rand(model.graph.exists.shape, device=device).requires_grad_()
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        full = model.run(clean, answers=at).log_softmax(-1)
        logits = model.run(clean, mask, model.senders(corrupted), answers=at).log_softmax(-1)
        (full.exp() * (full - logits)).sum().backward()
        del logits  # it holds on to the run's buffers, which the next step can use again
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    return {"measured_gb": held(device) - before, "seconds": seconds, "device": device}


def main(out: Path) -> None:
    """Every shape: measured in a process of its own where it fits, and the formula's figure beside it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    print(f"{'shape':26}{'parameters':>12}{'edges':>12}{'formula GB':>12}{'measured GB':>13}{'seconds':>9}")
    for name, arch in SHAPES.items():
        itemsize = 2 if device == "cuda" or name not in ON_CPU else 4
        formula = step_bytes(arch, *BATCH, itemsize, kept_bytes(name))
        row: dict[str, Any] = {
            "shape": name,
            "parameters": sum(parameters(arch).values()),
            "edges": arch.graph().n_edges,
            "dtype": "float32" if device == "cpu" and name in ON_CPU else "bfloat16",
            "formula_gb": sum(formula.values()) / GB,
            **{f"{part}_gb": size / GB for part, size in formula.items()},
        }
        if device == "cuda" or name in ON_CPU:
            command = [sys.executable, __file__, "--shape", name, device]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row |= json.loads(done.stdout)
        rows.append(row)
        measured = (
            f"{row['measured_gb']:13.2f}{row['seconds']:9.2f}" if "seconds" in row else f"{'-':>13}{'-':>9}"
        )
        print(f"{name:26}{row['parameters']:12.3g}{row['edges']:12}{row['formula_gb']:12.2f}{measured}")
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(rows, indent=2) + "\n")
    if device == "cpu":
        print("no GPU at hand: the other shapes are computed by the formula, for bfloat16")


if __name__ == "__main__":
    if sys.argv[1] == "--shape":
        print(json.dumps(measure(*sys.argv[2:])))
    else:
        main(Path(sys.argv[1]))
