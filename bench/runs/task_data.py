"""What a job runs on: the model, discovery and evaluation batches; of a task, or of a compiled program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from bench.discovery.batches import make_batches
from bench.engine.masked_model import MaskedModel
from bench.models.load import load_model, program_of
from bench.names import get_program, get_task
from bench.runs.experiment import Job
from methods.base import Batch


@dataclass(frozen=True)
class TaskData:
    """A model and its two sets of prompt pairs."""

    model: MaskedModel
    discovery: Sequence[Batch]
    evaluation: Sequence[Batch]
    template: Int[Tensor, " answer"]
    """Of each evaluation answer: its wording; of a compiled program, its input."""
    one_length: bool
    """Whether all prompts, of both sets, are as long."""


def task_data(job: Job) -> TaskData:
    """The data of a job.

    Raises:
        TaskError: the model's tokenizer cannot carry the task.
        ModelError, ProgramFailed: the model cannot be had.
    """
    return _of_task(job) if program_of(job.model) is None else _of_program(job)


def _of_task(job: Job) -> TaskData:
    task, loaded = get_task(job.task), load_model(job.model, job.dtype, job.device)
    model = loaded.masked.with_split_embed() if job.split_embed else loaded.masked
    discovery = task.examples(loaded.tokenizer, "discovery", job.n_discovery, job.seed)
    evaluation = task.examples(loaded.tokenizer, job.split, job.n_evaluation, 0)
    return TaskData(
        model,
        make_batches(model, discovery),
        make_batches(model, evaluation),
        torch.as_tensor(evaluation.template),
        len({*discovery.lengths.tolist(), *evaluation.lengths.tolist()}) == 1,
    )


def _of_program(job: Job) -> TaskData:
    """Half of a program's inputs are for discovery, the others for evaluation."""
    from bench.models.tracr import load_program

    program = program_of(job.model)
    assert program is not None
    loaded = load_program(get_program(program), job.dtype)
    evaluation = loaded.batches(job.n_evaluation, 0, "evaluation")
    starts = torch.tensor([0, *(len(batch) for batch in evaluation)]).cumsum(0)
    return TaskData(
        loaded.masked,
        loaded.batches(job.n_discovery, 1 + job.seed, "discovery"),
        evaluation,
        torch.cat([start + b.examples for start, b in zip(starts, evaluation, strict=False)]),
        len(loaded.compiled.lengths.unique()) == 1,
    )
