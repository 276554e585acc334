"""Correctness on a device: masked runs and gradients beside stored ones, adapters beside the CPU."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.conformance.prompts import batches_of, ragged_examples
from bench.discovery.checked import as_discovery
from bench.discovery.discover import cut, seed_generators
from bench.discovery.problem import BenchProblem
from bench.engine.ablation import ABLATIONS, Reference
from bench.engine.architecture import Architecture
from bench.engine.circuit import Circuit
from bench.engine.masked_model import MaskedModel
from bench.names import as_method
from bench.scoring.evaluate import run_circuits
from bench.scoring.measures import LOGIT_DIFF
from methods.base import find_methods

FILE = Path(__file__).with_name("oracle.safetensors")
MASKS = ("ones", "zeros", "soft", "binary")
REFERENCES = ("resample", "zero")
TOLERANCE = {"float32": {"logits": 1e-5, "gradient": 1e-4}, "bfloat16": {"logits": 0.05, "gradient": 0.2}}
"""Of the length of the difference, beside that of what is stored.

On a CPU the largest are 5e-7 and 1e-5 in float32, 0.02 and 0.11 in bfloat16; on an H200 hardly more."""
SENDERS_THAT_DIFFER = {("zeros", "resample"): (slice(None), slice(1))}
"""Senders whose edges' gradients are compared, where not all.

A gradient is a product with what a sender's output differs from its reference. Where every edge is resampled
that is nothing, but for the embeddings; what else comes out is rounding, in bfloat16 0.8 of the length of the
whole on a GPU."""
BRIEF = {
    "acdc": "acdc:attempts=3",
    "edge_pruning": "edge_pruning:halving=10,hold=10,settling=30,rate=0.3",
    "discogp": "discogp:hold=5,settling=30,rate=0.3,density=0.3,start_price=10",
}
"""Long searches and trainings, cut short."""
SHARE = {"acdc": 0.9, "acdc_screened": 0.9, "acdc_shuffled": 0.9, "edge_pruning": 0.0, "discogp": 0.0}
"""Of the edges in either circuit, those that must be in both; all of them for methods not named.

ACDC decides otherwise where an effect is within rounding of its threshold. What a training finds hangs on the
device's random numbers, so of that the share is told and nothing is asked."""
SIZES = (0.1, 0.4)


def stored(file: Path = FILE) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file: a header as JSON, then raw numbers."""
    kinds = {"F32": torch.float32, "I64": torch.int64}
    raw = bytearray(file.read_bytes())
    (length,) = struct.unpack("<Q", raw[:8])
    header: dict[str, Any] = json.loads(raw[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, at in header.items():
        start, stop = (8 + length + offset for offset in at["data_offsets"])
        numbers = torch.frombuffer(raw[start:stop], dtype=kinds[at["dtype"]])
        tensors[name] = numbers.view(at["shape"])
    return tensors, metadata


def mask_of(kind: str, exists: Tensor) -> Tensor:
    """One of `MASKS`, in float32; the same wherever it is made."""
    if kind in ("ones", "zeros"):
        return torch.full(exists.shape, float(kind == "ones"))
    places = torch.arange(exists.numel(), dtype=torch.float64).view(exists.shape)
    soft = (places * 0.6180339887498949 % 1).float()
    return (soft < 0.5).float() if kind == "binary" else soft


def loss(logits: Tensor) -> Tensor:
    """A scalar that no direction leaves unmoved."""
    return logits.log_softmax(-1)[..., :5].sum()


def models() -> Iterator[tuple[str, MaskedModel, dict[str, Tensor]]]:
    """Family, model on the CPU in float32, and all else that is stored of it."""
    tensors, metadata = stored()
    for family, shape in json.loads(metadata["shapes"]).items():
        own = {
            name.removeprefix(f"{family}."): t for name, t in tensors.items() if name.startswith(f"{family}.")
        }
        weights = {n.removeprefix("weights."): t for n, t in own.items() if n.startswith("weights.")}
        yield family, MaskedModel(Architecture(**shape), weights), own


def off(ours: Tensor, wanted: Tensor) -> float:
    """The length of the difference beside that of what is wanted."""
    difference = ours.detach().cpu().double() - wanted.double()
    return float(difference.norm() / wanted.double().norm().clamp(min=1e-30))


def forward(device: str) -> Iterator[dict[str, Any]]:
    """Logits and gradients under every mask and reference, kept inputs and blocks computed anew."""
    for family, whole, told in models():
        for name, most in TOLERANCE.items():
            model = whole.to(device, getattr(torch, name))
            clean, corrupted = told["clean"].to(device), told["corrupted"].to(device)
            for keep_bytes in (2**31, 0):
                model.keep_bytes = keep_bytes
                for kind in MASKS:
                    for reference in REFERENCES:
                        mask = mask_of(kind, model.graph.exists).to(device).requires_grad_()
                        differ = SENDERS_THAT_DIFFER.get((kind, reference), ...)
                        removed = model.senders(corrupted) if reference == "resample" else None
                        logits = model.run(clean, mask, removed)
                        (gradient,) = torch.autograd.grad(loss(logits.float()), mask)
                        with torch.no_grad():
                            lean = model.run(clean, mask, removed)
                        case = f"{kind}.{reference}"
                        errors = {
                            "logits": off(logits, told[f"logits.{case}"]),
                            "logits_without_gradient": off(lean, told[f"logits.{case}"]),
                            "gradient": off(gradient[differ], told[f"gradient.{case}"][differ]),
                        }
                        yield {
                            "check": "masked forward", "model": family, "dtype": name, "mask": kind,
                            "reference": reference, "anew": not keep_bytes, **errors,
                            "ok": all(e <= most[part.partition("_")[0]] for part, e in errors.items()),
                        }  # fmt: skip


def adapters(device: str) -> Iterator[dict[str, Any]]:
    """Every method on the device and on the CPU: how much of their circuits is the same."""
    _, whole, _ = next(models())
    for name in sorted(find_methods()[0]):
        found = []
        for place in ("cpu", device):
            model = whole.to(place)
            batches = batches_of(model, ragged_examples(12, model.architecture.d_vocab), 5)
            task = BenchProblem(
                model, batches, LOGIT_DIFF, lambda _: Reference(ABLATIONS["resample"]), SIZES, 0
            )
            seed_generators(0)
            discovery = as_method(BRIEF.get(name, name)).discover(task)
            discovery = as_discovery(discovery, model.graph, task.weights, task.sizes)
            found.append(cut(model.graph, discovery, SIZES))
        for size in SIZES:
            here, there = (circuits[size].kept for circuits in found)
            shared = int((here & there).sum()) / max(1, int((here | there).sum()))
            least = SHARE.get(name, 1.0)
            yield {
                "check": "adapter", "method": name, "size": size, "edges": int(there.sum()),
                "shared": shared, "least": least, "ok": shared >= least,
            }  # fmt: skip


def evaluation(device: str) -> Iterator[dict[str, Any]]:
    """KL of a circuit on the device and on the CPU, and what the mask of ones is off."""
    for family, whole, _ in models():
        for name, most in {"float32": 1e-4, "bfloat16": 0.5}.items():
            kls = []
            for place in ("cpu", device):
                model = whole.to(place, getattr(torch, name))
                batches = batches_of(model, ragged_examples(12, model.architecture.d_vocab), 5)
                half = Circuit(model.graph, (mask_of("binary", model.graph.exists) > 0) & model.graph.exists)
                reference = Reference(ABLATIONS["resample"])
                raw = run_circuits(
                    model, batches, torch.zeros(12, dtype=torch.long), {"half": half}, reference
                )
                kls.append([float(raw.runs[run].kl.mean()) for run in ("half", "empty", "ones")])
            here, there = kls
            apart = max(abs(a - b) / max(b, 1.0) for a, b in zip(there, here, strict=True))
            yield {
                "check": "evaluation", "model": family, "dtype": name, "kl": there[0], "kl_cpu": here[0],
                "ones": there[2], "ones_cpu": here[2], "apart": apart, "most": most, "ok": apart <= most,
            }  # fmt: skip


def main(device: str, tiny: bool) -> dict[str, Any]:
    """All of it, whatever `tiny` says: it takes seconds."""
    rows = [*forward(device), *evaluation(device), *adapters(device)]
    failed = [row for row in rows if not row["ok"]]
    worst = {
        dtype: max(row[part] for row in rows if row.get("dtype") == dtype and part in row)
        for dtype, part in (("float32", "gradient"), ("bfloat16", "gradient"))
    }
    return {"checks": len(rows), "failed": failed, "largest_error_of_gradients": worst, "rows": rows}
