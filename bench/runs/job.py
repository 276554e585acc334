"""One job from start to end: a process discovers, another one evaluates, everything is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from bench.discovery.checked import notes_of
from bench.discovery.checkpoint import forget
from bench.discovery.data import PROGRAM_TASK
from bench.discovery.discover import cut
from bench.engine.ablation import AblationName
from bench.engine.circuit import Circuit
from bench.engine.masked_model import MaskedModel
from bench.names import get_task
from bench.progress import Progressed
from bench.runs.children import Child, Died, Limits, Line, OutOfMemory, OverLimit, reason_of
from bench.runs.discovering import HALF, Errand, Unfound, discover_apart, load_found
from bench.runs.experiment import Job
from bench.scoring.metrics import CURVE_SHARES
from bench.store.failures import forget_traceback, keep_traceback, kept_traceback
from bench.store.keys import engine
from bench.store.logs import kept_log, log_of
from bench.store.provenance import provenance
from bench.store.record import Record, Status
from bench.store.results import Run, Store, StrayOutputs, now


@dataclass(frozen=True)
class Ended:
    """What became of a job."""

    status: Status
    """``ok``, ``declined``, ``skipped`` (the tokenizer does not support the task) or ``failed``."""
    reason: str = ""
    traceback: Path | None = None
    """The file that holds it."""
    log: Path | None = None
    """The file that holds what its processes printed; None where they printed nothing."""

    def __str__(self) -> str:
        files = {"traceback": self.traceback, "log": self.log if self.status == "failed" else None}
        told = ", ".join(f"{name}: {file}" for name, file in files.items() if file)
        where = f" ({told})" if told else ""
        return f"{self.status}: {self.reason}{where}" if self.reason else self.status


def carry_out(
    job: Job,
    out: Path,
    *,
    threads: int = 1,
    at_a_time: int = 1,
    limits: Limits | None = None,
    progress: Progressed | None = None,
    told: Callable[[str], None] = print,
    unfinished: Path | None = None,
) -> Ended:
    """Runs a job and stores its outcome, whatever it is.

    The method runs in a process of its own, and what it found is scored in another one, where none of its
    code was ever imported. A method that fails or declines, or whose process dies, leaves a run that says so.

    Args:
        job: what is run.
        out: the results folder.
        threads: of torch, in each process.
        at_a_time: how many jobs run at a time; it stands in the record.
        limits: that discovery must keep.
        progress: told how far it is.
        told: what happened that a user should know.
        unfinished: the folder in which it leaves what it has when it is interrupted, and when it has ended;
            one in `out` without it, which is cleared when it has.

    Raises:
        UserError: the model or a file cannot be used, or `out` takes no file.
        Stopped: the user stopped the run.
    """
    limits = limits or Limits()
    record = _record(job, threads, at_a_time)
    held = unfinished or _unfinished(out)
    errand = Errand(
        study=job.study, method=job.method.text, sizes=job.sizes, method_seed=job.dimensions.method_seed,
        threads=threads, key=job.key, found=_found(held, job.stem), checkpoint=_checkpoint(held, job.stem),
        log=log_of(out.absolute(), job.stem),
    )  # fmt: skip
    outcome = discover_apart(errand, limits, progress, told)
    if outcome is None:
        outcome = _score_apart(job, errand, record, out.absolute(), limits, progress, told)
    forget_traceback(out, job.stem)
    if outcome is not None:
        Store(out).save(job.stem, Run(replace(record, status=outcome.status, status_reason=outcome.reason)))
        keep_traceback(out, job.stem, outcome.traceback)
    status: Status = "ok" if outcome is None else outcome.status
    if unfinished is None:
        forget_unfinished(out, job.stem, status)
    return ended(job, out, status, "" if outcome is None else outcome.reason)


def give_up(job: Job, out: Path, status: Status, reason: str) -> Ended:
    """Stores that there is nothing of a job, for a reason that none of its own processes told.

    Args:
        job: what is not run, or was lost.
        out: the results folder.
        status: skipped or failed.
        reason: in words.

    Raises:
        UnwritableFolder: `out` takes no file.
    """
    record = replace(_record(job, 1, 1), status=status, status_reason=reason)
    Store(out).save(job.stem, Run(record))
    return ended(job, out, status, reason)


def ended(job: Job, out: Path, status: Status, reason: str) -> Ended:
    """What is told of a job that has been stored.

    Args:
        job: that has ended.
        out: the results folder.
        status: what became of it.
        reason: in words.
    """
    return Ended(status, reason, kept_traceback(out, job.stem), kept_log(out, job.stem))


def forget_unfinished(out: Path, stem: str, status: Status) -> None:
    """Clears what an interrupted job would go on from; what failed may, where it is tried again.

    Args:
        out: the results folder.
        stem: of the job's files.
        status: what became of it.
    """
    if status != "failed":
        forget(_checkpoint(_unfinished(out), stem))
    forget(_found(_unfinished(out), stem))


def _unfinished(out: Path) -> Path:
    return out.absolute() / "unfinished"


def _checkpoint(folder: Path, stem: str) -> Path:
    return folder / f"{stem}.safetensors"


def _found(folder: Path, stem: str) -> Path:
    return folder / f"{stem}.found.safetensors"


def _score_apart(
    job: Job,
    errand: Errand,
    record: Record,
    out: Path,
    limits: Limits,
    progress: Progressed | None,
    told: Callable[[str], None],
) -> Unfound | None:
    """Scores and stores what was found; None, or why there is nothing."""
    limits = replace(limits, seconds=None)

    def attempt(smaller: int) -> Unfound | None:
        with Child(_score, job, errand, record, out, smaller, limits=limits, log=errand.log) as child:
            for message in child.messages():
                match message["said"]:
                    case "progress" if progress:
                        progress(message["done"], message["total"], message["note"])
                    case "kept":
                        return None
                    case "unfound":
                        return Unfound("failed", message["reason"])
                    case "failed" if message["out_of_memory"]:
                        raise OutOfMemory(message["reason"])
                    case "failed":
                        return Unfound("failed", message["reason"], message["traceback"])
            raise Died(f"while it was scored, {child.last_words()}")

    try:
        try:
            return attempt(1)
        except OutOfMemory as error:
            told(f"{job.method.text}, scoring: {error}: once more with half the batch")
            return attempt(HALF)
    except (OverLimit, Died) as error:
        return Unfound("failed", str(error))


def _score(line: Line, job: Job, errand: Errand, record: Record, out: Path, smaller: int) -> None:
    """In a process of its own, where no method ever ran."""
    torch.set_num_threads(errand.threads)
    study = job.study(smaller)
    model = study.model
    try:
        found, cost = load_found(errand, model.graph, model.maskable)
        wanted = cut(model.graph, found, job.sizes)
    except (TypeError, ValueError) as error:
        return line.say("unfound", reason=reason_of(error))
    # only a ranking serves sizes that were not asked for
    ranked = found.scores is not None and not found.edges and not found.weights
    curve = cut(model.graph, found, CURVE_SHARES) if ranked else {}
    named = {f"size {size:g}": (size, circuit) for size, circuit in wanted.items()}
    named |= {f"size {size:g}": (size, circuit) for size, circuit in curve.items() if size not in wanted}
    runs = {name: circuit for name, (_, circuit) in named.items()}
    complements = {f"complement {size:g}": circuit.complement() for size, circuit in wanted.items()}
    reference = study.reference(study.ablation)

    def progress(done: int, total: int, note: str) -> None:
        line.say("progress", done=done, total=total, note=note)

    raw = study.outputs({**runs, **complements}, reference=reference, progress=progress)
    record = replace(
        record,
        created=now(),
        ablation_policy=reference.policy,
        position_policy=study.data.evaluation.positions,
        measure=study.data.measure.name,
        graph=model.graph.description,
        n_edges=model.graph.n_edges,
        objective=found.objective,
        selection=found.selection if found.scores is not None else "",
        **asdict(cost),
        unaided_edges=None if found.unaided is None else int(found.unaided.sum()),
        trace=found.trace,
        notes=notes_of(found, model.graph),
        repeated_prompts=study.data.evaluation.repeated_prompts,
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
    saved = {f"{size:g}": circuit for size, circuit in wanted.items()}
    if found.unaided is not None:
        saved["unaided"] = Circuit(model.graph, found.unaided)
    for name, circuit in saved.items():
        circuit.save(out / "circuits" / job.stem / f"{name}.safetensors")
    scores = {} if found.scores is None else {"discovery.scores": found.scores}
    try:
        Store(out).save(job.stem, Run(record, {**raw.tensors(), **scores}))
    except StrayOutputs as error:
        return line.say("unfound", reason=str(error))
    return line.say("kept")


def _sizes(circuit: Circuit, ablation: AblationName, model: MaskedModel) -> dict[str, int | float]:
    return {
        "edges_kept": len(circuit),
        "effective_edges": len(circuit.effective(ablation)),
        "edge_sparsity": circuit.sparsity,
        "nodes_kept": circuit.nodes_kept,
        "weight_density": circuit.weight_density(model.matrices),
        "effective_weight_density": circuit.effective_weight_density(ablation, model.matrices),
    }


def _record(job: Job, threads: int, at_a_time: int) -> Record:
    """What every run says of itself, whatever became of it."""
    task = job.dimensions.task
    return Record(
        **asdict(job.dimensions),
        **asdict(job.evaluation),
        model_hash=job.model_hash,
        lineage=job.lineage,
        task_code=job.task_code,
        task_version=1 if task == PROGRAM_TASK else get_task(task).version,
        settings=job.method.settings,
        sizes=job.sizes,
        device=job.device,
        threads=threads,
        engine=engine(),
        created=now(),
        provenance=provenance(),
        status="ok",
        status_reason="",
        jobs=at_a_time,
    )
