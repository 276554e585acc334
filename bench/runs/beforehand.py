"""What can be known of an experiment before any of its jobs: whether the model can be had and do the tasks.

It is looked up in a process of its own, so that the one that waits for jobs holds no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bench.discovery.batches import make_batches
from bench.errors import UsageError
from bench.models.load import LoadedModel, load_model, program_of
from bench.names import get_task
from bench.runs.children import Child, Limits, Line
from bench.runs.experiment import Job
from bench.scoring.metrics import Answers, choice_accuracy, outputs_of
from tasks.base import Examples, Split, TaskError

LOOKED_AT = 200
"""Prompts on which a model must do better than chance."""
ERRORS = 2.0
"""Standard errors by which it must."""


def unfit_tasks(jobs: Sequence[Job], limits: Limits, *, even_if_unable: bool = False) -> Mapping[str, str]:
    """The tasks that the model cannot do, each with the reason.

    Args:
        jobs: of one model.
        limits: tell when to stop.
        even_if_unable: passes over that a model is no better than chance.

    Raises:
        UsageError: an experiment that could not be run at all: the model cannot be had, a prompt is too long
            for it or has a token that it does not know.
        Stopped: the user stopped it.
    """
    with Child(_look, tuple(jobs), even_if_unable, limits=limits) as child:
        for message in child.messages():
            match message["said"]:
                case "looked":
                    return dict(message["unfit"])
                case "failed":
                    raise UsageError(f"the model '{jobs[0].model}' cannot be run: {message['reason']}")
        raise UsageError(f"the model '{jobs[0].model}' cannot be run: {child.last_words()}")


def _look(line: Line, jobs: Sequence[Job], even_if_unable: bool) -> None:
    """In a process of its own."""
    torch.set_num_threads(1)
    first = jobs[0]
    if program_of(first.model) is not None:
        first.study()
        return line.say("looked", unfit={})
    first.remember_model()
    model = load_model(first.model, first.evaluation.dtype, first.device, first.revision)
    if first.dimensions.split_embed:
        _refuse_unsplit(model)
    unfit: dict[str, Any] = {}
    for task in dict.fromkeys(job.dimensions.task for job in jobs):
        wanted = max(job.dimensions.n_discovery for job in jobs if job.dimensions.task == task)
        try:
            _examples(model, task, "discovery", wanted)
            _examples(model, task, first.evaluation.split, first.evaluation.n_evaluation)
            if not even_if_unable and (reason := _unable(model, task, min(wanted, LOOKED_AT))):
                unfit[task] = reason
        except TaskError as error:
            unfit[task] = str(error)
    return line.say("looked", unfit=unfit)


def _refuse_unsplit(model: LoadedModel) -> None:
    try:
        model.masked.with_split_embed()
    except ValueError as error:
        raise UsageError(f"the embedding of '{model.name}' cannot be split: {error}") from error


def _examples(model: LoadedModel, task: str, split: Split, count: int) -> Examples:
    """Prompts, all of which the model can read.

    Raises:
        TaskError: its tokenizer does not support the task.
        UsageError: one is too long, or has a token that the model does not know.
    """
    examples = get_task(task).examples(model.tokenizer, split, count, 0)
    known = model.masked.architecture
    longest = int(examples.lengths.max())
    largest = max(int(part.max()) for part in (examples.clean, examples.corrupted, examples.candidates))
    if longest > known.n_ctx:
        raise UsageError(
            f"a prompt of the task '{task}' has {longest} tokens, and '{model.name}' reads {known.n_ctx}: "
            "choose another with -t or --model"
        )
    if largest >= known.d_vocab:
        raise UsageError(
            f"a prompt of the task '{task}' has the token {largest}, and '{model.name}' knows "
            f"{known.d_vocab}: its tokenizer is not the one that it was trained with"
        )
    return examples


@torch.no_grad()
def _unable(model: LoadedModel, task: str, count: int) -> str | None:
    """That a model does a task no better than chance, in words; None where it does better."""
    found, expected = [], []
    for batch in make_batches(model.masked, _examples(model, task, "discovery", count)):
        at = (batch.examples, batch.positions)
        # on the host: a device may have no float64
        logits = model.masked.run(batch.clean, answers=at, lengths=batch.lengths).cpu()
        candidates, correct = batch.candidates.cpu(), batch.correct.cpu()
        unknown = torch.zeros(len(candidates), dtype=torch.long)
        answers = Answers(candidates, correct, unknown, unknown.bool())
        found.append(choice_accuracy(outputs_of(logits, logits, candidates), answers))
        expected.append(correct.double().mean(1))
    right, chance = torch.cat(found).double(), torch.cat(expected)
    beyond = right - chance
    error = float(beyond.std()) / len(beyond) ** 0.5 if len(beyond) > 1 else 0.0
    if float(beyond.mean()) > ERRORS * error:
        return None
    return (
        f"it chooses right in {float(right.mean()):.2f} of {len(right)} prompts, and chance is "
        f"{float(chance.mean()):.2f}; --even-if-unable runs it all the same"
    )
