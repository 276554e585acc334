"""Runs made by hand, whose scores are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from bench.scoring.evaluate import RawOutputs
from bench.scoring.metrics import Answers, Outputs
from bench.store.record import BENCHMARK, Record
from bench.store.results import Run

SIZES = (0.01, 0.1)
PER, GROUPS = 8, 24


def outputs(kl: np.ndarray) -> Outputs:
    n = len(kl)
    return Outputs(
        torch.zeros(n, 2).double(), torch.zeros(n).double(), torch.zeros(n).long(), torch.tensor(kl).double()
    )


def run(
    method: str,
    levels: Mapping[float, float],
    data_seed: int = 0,
    task: str = "gp",
    seen: int = 12,
    scatter: float = 0.2,
    evaluation_seed: int = 0,
) -> Run:
    """A run whose circuits leave shares of the empty circuit's KL that scatter about a level by template.

    Args:
        method: its name.
        levels: by size.
        data_seed: of the run.
        task: its name.
        seen: templates that methods see.
        scatter: of the shares' logs.
        evaluation_seed: of the prompts.
    """
    rng = np.random.default_rng([data_seed, *method.encode(), *[evaluation_seed] * (evaluation_seed > 0)])
    template = np.repeat(np.arange(GROUPS), PER)
    shares = {
        size: level * np.exp(rng.normal(scale=scatter, size=GROUPS))[template]
        for size, level in levels.items()
    }
    n = len(template)
    runs = {"full": outputs(np.zeros(n)), "empty": outputs(np.full(n, 2.0)), "ones": outputs(np.zeros(n))}
    for size, share in shares.items():
        runs |= {f"size {size:g}": outputs(2 * share), f"complement {size:g}": outputs(np.full(n, 2.0))}
    candidates, correct = torch.tensor([[0, 1]]).expand(n, 2), torch.tensor([[True, False]]).expand(n, 2)
    held_out = torch.as_tensor(template >= seen)
    raw = RawOutputs(runs, Answers(candidates, correct, torch.as_tensor(template), held_out))
    circuits = {
        f"size {size:g}": {
            "size_requested": size, "complement": f"complement {size:g}", "edges_kept": 9,
            "effective_edges": 9, "edge_sparsity": 1 - size, "nodes_kept": 1, "weight_density": 1.0,
            "effective_weight_density": 1.0, "hash": f"{method} {size:g} {data_seed}",
        }
        for size in levels
    }  # fmt: skip
    made = Record(
        model="m", task=task, ablation="resample", discovery_ablation="resample", split_embed=False,
        method=method, params="", settings={}, n_discovery=8, data_seed=data_seed, method_seed=0,
        n_evaluation=n, split="evaluation", dtype="float32", evaluation_seed=evaluation_seed,
        model_hash="", lineage=method, task_version=1,
        benchmark=BENCHMARK, sizes=tuple(levels), device="cpu", threads=1, engine="", created="",
        provenance={}, status="ok", status_reason="", measure="logit_diff", graph="g", n_edges=900,
        circuits=circuits,
    )  # fmt: skip
    return Run(made, raw.tensors(), f"{task}-{method}-{data_seed}")


def three(seeds: int = 1) -> Iterator[Run]:
    """Of three methods, one far ahead; and random circuits."""
    for seed in range(seeds):
        yield run("good", {0.01: 0.1, 0.1: 0.05}, seed)
        yield run("bad", {0.01: 0.8, 0.1: 0.4}, seed)
        yield run("same", {0.01: 0.8, 0.1: 0.4}, seed)
    yield run("random_edges", {0.01: 1.0, 0.1: 1.0})
