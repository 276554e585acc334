"""One job from start to end: discover on the discovery split, evaluate, keep everything."""

from __future__ import annotations

import resource
import sys
import traceback
from dataclasses import asdict, replace
from pathlib import Path

import torch

from bench.discovery.checkpoint import forget
from bench.discovery.data import PROGRAM_TASK
from bench.discovery.discover import Declined, cut, discover, plain_forward_seconds
from bench.engine.ablation import AblationName
from bench.engine.circuit import Circuit
from bench.engine.masked_model import MaskedModel
from bench.names import get_method, get_task
from bench.progress import Progressed
from bench.runs.experiment import Job
from bench.scoring.metrics import CURVE_SHARES
from bench.store.keys import engine
from bench.store.provenance import provenance
from bench.store.record import Record, Status
from bench.store.results import Run, Store, now
from tasks.base import TaskError


def execute(job: Job, out: Path, threads: int, n_processes: int, progress: Progressed | None = None) -> str:
    """Runs a job and stores its outcome, whatever it is; returns its status.

    A method that fails or declines leaves a run that says so, with the reason.

    Args:
        job: what is run.
        out: the results folder.
        threads: of torch.
        n_processes: how many jobs run at a time; above 1, this one has a process of its own.
        progress: told how far it is.

    Returns:
        ``ok``, ``declined``, ``skipped`` (the tokenizer does not support the task) or ``failed``.

    Raises:
        UnwritableFolder: `out` takes no file.
    """
    torch.set_num_threads(threads)
    checkpoint = out / "unfinished" / f"{job.stem}.safetensors"
    try:
        run, circuits = _run(job, n_processes, checkpoint, progress)
    except Declined as error:
        run, circuits = Run(_record(job, "declined", str(error))), {}
    except TaskError as error:
        run, circuits = Run(_record(job, "skipped", str(error))), {}
    except (Exception, SystemExit) as error:  # a method's own failure must not stop the others
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        record = _record(job, "failed", reason)
        run, circuits = Run(replace(record, traceback=traceback.format_exc())), {}
    for name, circuit in circuits.items():
        circuit.save(out / "circuits" / job.stem / f"{name}.safetensors")
    run = Run(replace(run.record, jobs=n_processes), run.tensors)
    Store(out).save(job.stem, run)
    if run.record.status != "failed":
        forget(checkpoint)
    return run.record.status


def _run(
    job: Job, n_processes: int, checkpoint: Path, progress: Progressed | None
) -> tuple[Run, dict[str, Circuit]]:
    study = job.study()
    model = study.model
    plain = plain_forward_seconds(model, study.data.discovery)
    problem = study.problem(
        job.sizes, method_seed=job.dimensions.method_seed, progress=progress, checkpoint=checkpoint
    )
    found, seconds = discover(get_method(job.method.text), problem)

    wanted = cut(model.graph, found, job.sizes)
    # only a ranking serves sizes that were not asked for
    ranked = found.scores is not None and not found.edges and not found.weights
    curve = cut(model.graph, found, CURVE_SHARES) if ranked else {}
    named = {f"size {size:g}": (size, circuit) for size, circuit in wanted.items()}
    named |= {f"size {size:g}": (size, circuit) for size, circuit in curve.items() if size not in wanted}
    runs = {name: circuit for name, (_, circuit) in named.items()}
    complements = {f"complement {size:g}": circuit.complement() for size, circuit in wanted.items()}
    reference = study.reference(study.ablation)
    raw = study.outputs({**runs, **complements}, reference=reference, progress=progress)
    record = replace(
        _record(job, "ok", ""),
        ablation_policy=reference.policy,
        position_policy=study.data.evaluation.positions,
        measure=study.data.measure.name,
        graph=model.graph.description,
        n_edges=model.graph.n_edges,
        objective=found.objective,
        selection=found.selection if found.scores is not None else "",
        seconds=seconds,
        forward_equivalents=seconds / plain,
        **asdict(problem.counter),
        unaided_edges=None if found.unaided is None else int(found.unaided.sum()),
        peak_memory_mb=_peak_memory_mb() if n_processes > 1 else None,
        trace={name: [float(v) for v in series] for name, series in found.trace.items()},
        circuits={
            name: {
                "size_requested": size,
                "complement": f"complement {size:g}" if size in wanted else None,
                "hash": circuit.digest,
                **_sizes(circuit, study.ablation, model),
            }
            for name, (size, circuit) in named.items()
        },
    )
    scores = {} if found.scores is None else {"discovery.scores": found.scores}
    saved = {f"{size:g}": circuit for size, circuit in wanted.items()}
    if found.unaided is not None:
        saved["unaided"] = Circuit(model.graph, found.unaided)
    return Run(record, {**raw.tensors(), **scores}), saved


def _sizes(circuit: Circuit, ablation: AblationName, model: MaskedModel) -> dict[str, int | float]:
    return {
        "edges_kept": len(circuit),
        "effective_edges": len(circuit.effective(ablation)),
        "edge_sparsity": circuit.sparsity,
        "nodes_kept": circuit.nodes_kept,
        "weight_density": circuit.weight_density(model.matrices),
        "effective_weight_density": circuit.effective_weight_density(ablation, model.matrices),
    }


def _peak_memory_mb() -> float:
    """Most memory that this process has held, its model's loading included."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _record(job: Job, status: Status, reason: str) -> Record:
    """What every run says of itself, whatever became of it."""
    task = job.dimensions.task
    return Record(
        **asdict(job.dimensions),
        **asdict(job.evaluation),
        model_hash=job.model_hash,
        lineage=job.lineage,
        task_version=1 if task == PROGRAM_TASK else get_task(task).version,
        settings=job.method.settings,
        sizes=job.sizes,
        device=job.device,
        threads=torch.get_num_threads(),
        engine=engine(),
        created=now(),
        provenance=provenance(),
        status=status,
        status_reason=reason,
    )
