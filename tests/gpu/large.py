"""Models of 7B and 13B on one device, random weights in bfloat16: memory and seconds, beside the formula."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import edge_pruning
import torch
from acdc import problem
from memory import BATCH, GB, SHAPES, llama, random_model
from ratios import seconds_of
from setting import Operations

from bench.engine.architecture import Architecture
from bench.engine.memory import parameters, step_bytes

MEASURED = ("Llama-2 7B", "Llama-2 13B")
TINY = {"tiny llama": llama(2, 4, 2, 32, 8, 64, 100)}
ROOM = 1.1
"""Times what the formula says must be free; elsewhere a shape is left out, and it is said what it needs."""


def measured(name: str, arch: Architecture, device: str) -> dict[str, Any]:
    """A step as the formula has it, one of Edge Pruning, a batch of EAP; the second of two is timed.

    Peaks are what torch allocated at most during an operation, weights included; on a CPU there are none.
    """
    formula = step_bytes(arch, *BATCH, 2)
    needs = sum(formula.values())
    row: dict[str, Any] = {
        "shape": name,
        "parameters": sum(parameters(arch).values()),
        "edges": arch.graph().n_edges,
        "batch": BATCH,
        "formula_gb": needs / GB,
        **{f"{part}_gb": size / GB for part, size in formula.items()},
    }
    on_card = torch.device(device).type == "cuda"
    if on_card and (free := torch.cuda.mem_get_info(device)[0]) < ROOM * needs:
        return {**row, "skipped": f"it needs {ROOM * needs / GB:.1f} GB, and {free / GB:.1f} GB are free"}
    setting = Operations(name, random_model(arch, device, torch.bfloat16), BATCH)
    del setting.reference, setting.weights  # each operation makes what it needs
    task = problem(setting)
    task.memory_budget = 0
    pruning = edge_pruning.step(setting)
    operations: dict[str, Callable[[], object]] = {
        "masked_step": lambda: _masked_step(setting),
        "edge_pruning_step": pruning,
        "eap_batch": lambda: task.edge_gradients(task.batches[0], "difference"),
    }
    for operation, run in operations.items():
        if on_card:
            torch.cuda.reset_peak_memory_stats(device)
        run()
        row[f"{operation}_seconds"] = seconds_of(run, device)
        if on_card:
            row[f"{operation}_gb"] = torch.cuda.max_memory_allocated(device) / GB
    return row


def _masked_step(setting: Operations) -> None:
    """What the formula counts: references, a masked forward and a backward pass to the edge mask."""
    (batch,) = problem(setting).batches
    at = batch.examples, batch.positions
    mask = setting.mask.clone().requires_grad_()
    with torch.no_grad():
        full = setting.model.run(setting.clean, answers=at).log_softmax(-1)
    reference = setting.model.senders(setting.corrupted)
    logits = setting.model.run(setting.clean, mask, reference, answers=at).log_softmax(-1)
    (full.exp() * (full - logits)).sum().backward()


def main(device: str, tiny: bool) -> dict[str, Any]:
    """Each shape, its memory given back before the next one."""
    shapes = TINY if tiny else {name: SHAPES[name] for name in MEASURED}
    rows = []
    for name, arch in shapes.items():
        rows.append(measured(name, arch, device))
        gc.collect()
        if torch.device(device).type == "cuda":
            torch.cuda.empty_cache()
    return {"failed": [], "rows": rows}
