"""What operations cost on a device, in plain forwards of the same batch: the ratios of `make bench`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import discogp
import edge_pruning
import torch
from memory import SHAPES, llama, random_model
from plain import plain_forward
from setting import Operations

from bench.engine.architecture import Architecture

GPT2 = Architecture(12, 12, 12, 768, 64, 1024, 50257, "gelu_new", 3072)
MEASURED = {"M": GPT2, "smollm2": SHAPES["SmolLM2 135M"], "1.1B": SHAPES["TinyLlama 1.1B"]}
TINY = {
    "tiny": Architecture(2, 2, 2, 32, 16, 32, 100, "gelu_new", 64),
    "tiny llama": llama(2, 4, 2, 32, 8, 64, 100),
}
BATCH = (8, 16)
OPERATIONS = ("masked_forward", "masked_forward_backward", "eap", "eap_ig_5", "evaluate_10_sizes")
WARM_UP, ROUNDS = 2, 9
LIMIT = 300
"""Seconds after which no further shape is begun."""


def synchronize(device: str) -> None:
    """Waits for the device to have done what it was told."""
    kind = torch.device(device).type
    if kind != "cpu":
        getattr(torch, kind).synchronize()


def seconds_of(operation: Callable[[], object], device: str) -> float:
    """By the clock, from an idle device to an idle device."""
    synchronize(device)
    started = time.perf_counter()
    operation()
    synchronize(device)
    return time.perf_counter() - started


def rows_of(
    name: str, arch: Architecture, device: str, dtype: torch.dtype, rounds: int
) -> Iterator[dict[str, Any]]:
    """A row per operation: the median over rounds of its time over that of a plain forward beside it."""
    torch.manual_seed(0)
    model = random_model(arch, device, dtype)
    setting = Operations(name, model, BATCH)
    forward, whose = plain_forward(model)

    @torch.no_grad()
    def plain() -> torch.Tensor:
        return forward(setting.clean)

    measured: dict[str, Callable[[], object]] = {each: getattr(setting, each) for each in OPERATIONS}
    measured["edge_pruning_step"] = edge_pruning.step(setting)
    measured["discogp_edge_step"] = discogp.step(setting, "edges")
    for operation, run in measured.items():
        for _ in range(min(WARM_UP, rounds)):
            plain()
            run()
        pairs = [(seconds_of(plain, device), seconds_of(run, device)) for _ in range(rounds)]
        ratio = statistics.median(ours / theirs for theirs, ours in pairs)
        print(f"{name} {dtype} {operation}: {ratio:.2f} plain forwards", flush=True)
        yield {
            "operation": operation,
            "shape": name,
            "dtype": str(dtype).removeprefix("torch."),
            "ratio": ratio,
            "seconds": statistics.median(ours for _, ours in pairs),
            "plain_seconds": statistics.median(theirs for theirs, _ in pairs),
            "plain": whose,
        }


def main(device: str, tiny: bool) -> dict[str, Any]:
    """Every shape, in float32 and in bfloat16."""
    shapes, rounds = (TINY, 1) if tiny else (MEASURED, ROUNDS)
    rows: list[dict[str, Any]] = []
    started = time.perf_counter()
    for name, arch in shapes.items():
        for dtype in (torch.float32, torch.bfloat16):
            if time.perf_counter() - started > LIMIT:
                rows.append({"shape": f"{name} {dtype}", "skipped": f"{LIMIT} seconds were over"})
                continue
            rows += rows_of(name, arch, device, dtype, rounds)
            if torch.device(device).type == "cuda":
                torch.cuda.empty_cache()
    return {"batch": BATCH, "rounds": rounds, "failed": [], "rows": rows}
