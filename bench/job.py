"""One job from start to end: discover on the discovery split, evaluate, keep everything."""

from __future__ import annotations

import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.ablation import Ablation
from bench.circuit import Circuit
from bench.evaluate import run_circuits
from bench.experiment import NUMERICS, Job
from bench.graph import EdgeGraph
from bench.masked_model import MaskedModel
from bench.metrics import CURVE_SHARES
from bench.models.load import load_model
from bench.names import get_method, get_task, params_of, settings_of
from bench.problem import BenchProblem, make_batches, make_reference
from bench.results import Run, Store, now
from bench.select import edges_of_share, greedy, top
from methods.base import Batch, Discovery
from tasks.base import TaskError

Progress = Callable[[int, int, str], None]
SELECTIONS = {"top": top, "greedy": greedy}


def execute(job: Job, out: Path, threads: int, n_processes: int, progress: Progress | None = None) -> str:
    """Runs a job and stores its outcome, whatever it is; gives its status.

    A method that fails or declines leaves a run that says so, with the reason. `n_processes` is how
    many jobs run at a time; above 1, this one has a process of its own.
    """
    torch.set_num_threads(threads)
    try:
        run, circuits = _run(job, n_processes, progress)
    except TaskError as error:
        run, circuits = Run(_record(job, "skipped", str(error))), {}
    except (Exception, SystemExit) as error:  # a method's own failure must not stop the others
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        record = _record(job, "failed", reason)
        run, circuits = Run({**record, "traceback": traceback.format_exc()}), {}
    for name, circuit in circuits.items():
        circuit.save(out / "circuits" / job.stem / f"{name}.safetensors")
    run = Run({**run.record, "jobs": n_processes}, run.tensors)
    Store(out).save(job.stem, run)
    return str(run.record["status"])


def _run(job: Job, n_processes: int, progress: Progress | None) -> tuple[Run, dict[str, Circuit]]:
    method, task = get_method(job.method), get_task(job.task)
    loaded = load_model(job.model, job.dtype)
    model = loaded.masked.with_split_embed() if job.split_embed else loaded.masked
    discovery = task.examples(loaded.tokenizer, "discovery", job.n_discovery, job.seed)
    evaluation = task.examples(loaded.tokenizer, "evaluation", job.n_evaluation, 0)
    batches = make_batches(model, evaluation)
    one_length = len({*discovery.lengths.tolist(), *evaluation.lengths.tolist()}) == 1
    reference = partial(make_reference, model, job.ablation, one_length=one_length)
    plain = _plain_forward_seconds(model, make_batches(model, discovery))
    problem = BenchProblem(model, discovery, task.measure, reference, job.sizes, job.seed, progress=progress)
    random.seed(job.seed)
    np.random.seed(job.seed)
    torch.manual_seed(job.seed)
    started = time.perf_counter()
    reason = method.skip(problem)  # timed too: it may fill the caches
    if reason:
        return Run(_record(job, "declined", reason)), {}
    found = method.discover(problem)
    seconds = time.perf_counter() - started
    _check(found)

    wanted = cut(model.graph, found, job.sizes)
    # only a ranking serves sizes that were not asked for
    ranked = found.scores is not None and not found.edges and not found.weights
    curve = cut(model.graph, found, CURVE_SHARES) if ranked else {}
    named = {f"size {size:g}": (size, circuit) for size, circuit in wanted.items()}
    named |= {f"size {size:g}": (size, circuit) for size, circuit in curve.items() if size not in wanted}
    runs = {name: circuit for name, (_, circuit) in named.items()}
    complements = {f"complement {size:g}": circuit.complement() for size, circuit in wanted.items()}
    evaluation_reference = reference(problem.batches)
    raw = run_circuits(
        model,
        batches,
        torch.as_tensor(evaluation.template),
        {**runs, **complements},
        evaluation_reference,
        progress,
    )
    record = {
        **_record(job, "ok", ""),
        "ablation_policy": evaluation_reference.policy,
        "graph": model.graph.description,
        "n_edges": model.graph.n_edges,
        "objective": found.objective,
        "selection": found.selection if found.scores is not None else "",
        "seconds": seconds,
        "forward_equivalents": seconds / plain,
        **asdict(problem.counter),
        "peak_memory_mb": _peak_memory_mb() if n_processes > 1 else None,
        "trace": {name: [float(v) for v in series] for name, series in found.trace.items()},
        "circuits": {
            name: {
                "size_requested": size,
                "complement": f"complement {size:g}" if size in wanted else None,
                **_sizes(circuit, job.ablation, model),
            }
            for name, (size, circuit) in named.items()
        },
    }
    scores = {} if found.scores is None else {"discovery.scores": found.scores.cpu()}
    saved = {f"{size:g}": circuit for size, circuit in wanted.items()}
    if found.unaided is not None:
        saved["unaided"] = Circuit(model.graph, found.unaided.cpu())
    return Run(record, {**raw.tensors(), **scores}), saved


def _sizes(circuit: Circuit, ablation: Ablation, model: MaskedModel) -> dict[str, int | float]:
    return {
        "edges_kept": len(circuit),
        "effective_edges": len(circuit.effective(ablation)),
        "edge_sparsity": circuit.sparsity,
        "nodes_kept": circuit.nodes_kept,
        "weight_density": circuit.weight_density(model.matrices),
    }


def _check(found: Discovery) -> None:
    """Refuses what a method returned when it is no discovery; `cut` looks at the masks themselves."""
    if not isinstance(found, Discovery):
        raise TypeError(f"discover returned {type(found).__name__}, not a Discovery")
    if found.selection not in SELECTIONS:
        raise ValueError(f"selection is '{found.selection}', not one of {', '.join(SELECTIONS)}")
    if not isinstance(found.objective, str):
        raise TypeError(f"objective is {type(found.objective).__name__}, not a text")
    masks = [found.scores, found.unaided, *found.edges.values()]
    if not all(mask is None or isinstance(mask, Tensor) for mask in masks):
        raise TypeError("scores, edges and unaided must be torch tensors")


def cut(graph: EdgeGraph, found: Discovery, sizes: Sequence[float]) -> dict[float, Circuit]:
    """A circuit per size: the edges that the method named, else the best by its scores.

    Raises:
        ValueError: what the method returned is no discovery: neither edges nor scores for a size, a
            wrong shape, or scores that are not finite.
    """
    scores = found.scores
    if scores is not None:
        if scores.shape != graph.exists.shape:
            raise ValueError(
                f"the method's scores are {tuple(scores.shape)}, the graph {tuple(graph.exists.shape)}"
            )
        scores = scores.cpu()
        if not scores[graph.exists].isfinite().all():
            raise ValueError("the method's scores are not all finite")
    circuits = {}
    for size in sizes:
        weights: Mapping[str, Tensor] = found.weights.get(size, {})
        if size in found.edges:
            kept = found.edges[size].cpu()
        elif scores is not None:
            kept = SELECTIONS[found.selection](graph, scores, edges_of_share(graph, size))
        elif weights:
            kept = graph.exists.clone()
        else:
            raise ValueError(f"the method returned neither scores nor edges for the size {size:g}")
        circuits[size] = Circuit(graph, kept, weights)
    return circuits


@torch.no_grad()
def _plain_forward_seconds(model: MaskedModel, batches: Sequence[Batch]) -> float:
    """Median of three plain forwards of the discovery set, after a warm-up."""
    times = []
    for _ in range(4):
        started = time.perf_counter()
        for batch in batches:
            model.run(batch.clean, answers=(batch.examples, batch.positions), lengths=batch.lengths)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def _peak_memory_mb() -> float:
    """Most memory that this process has held, its model's loading included."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _record(job: Job, status: str, reason: str) -> dict[str, Any]:
    """What every run says of itself, whatever became of it."""
    method, task = get_method(job.method), get_task(job.task)
    return {
        "model": job.model_name,
        "model_hash": job.model_hash,
        "task": job.task,
        "task_version": task.version,
        "measure": task.measure,
        "method": method.name,
        "params": params_of(method),
        "settings": settings_of(method),
        "seed": job.seed,
        "sizes": list(job.sizes),
        "ablation": job.ablation,
        "direction": "clean prompt, removed edges ablated",
        "position_policy": "last token of the prompt",
        "graph": "",
        "n_discovery": job.n_discovery,
        "n_evaluation": job.n_evaluation,
        "dtype": job.dtype,
        "split_embed": job.split_embed,
        "lineage": job.lineage,
        "threads": torch.get_num_threads(),
        "status": status,
        "status_reason": reason,
        "numerics": NUMERICS,
        "created": now(),
        **_provenance(),
    }


@lru_cache
def _provenance() -> dict[str, Any]:
    """Versions, commit and hardware."""
    versions = {name: metadata.version(name) for name in ("torch", "transformers", "transformer-lens")}
    return {
        "version": metadata.version("circuitmark"),
        "versions": " ".join(f"{name}={version}" for name, version in versions.items()),
        "python": platform.python_version(),
        **_commit(),
        "hardware": f"{_processor()}, {os.cpu_count()} cores",
    }


def _commit() -> dict[str, Any]:
    """Commit and dirty flag of the checkout that runs, or nothing when it is an installed wheel."""
    here = Path(__file__).parent.parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != here.resolve():
            return {"commit": "", "dirty": None}
        return {"commit": git("rev-parse", "--short=12", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "", "dirty": None}


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
