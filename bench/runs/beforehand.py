"""Checks before any job of an experiment: whether the model can be loaded, and whether it can do the tasks.

They run in a process of their own, so that the one that waits for jobs holds no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bench.discovery.batches import make_batches
from bench.discovery.data import examples_of
from bench.engine.memory import refuse_copies
from bench.errors import UsageError
from bench.models.load import LoadedModel, load_model, program_of
from bench.names import get_task
from bench.runs.children import Child, Limits, Line
from bench.runs.experiment import Job
from bench.scoring.evaluate import joined
from bench.scoring.metrics import Answers, Outputs, choice_accuracy, outputs_of
from bench.store.record import Bos
from tasks.base import Examples, Split, Task, TaskError

LOOKED_AT = 200
"""Number of prompts on which a model must do better than chance."""
ERRORS = 2.0
"""Number of standard errors by which it must."""


def unfit_tasks(jobs: Sequence[Job], limits: Limits, *, even_if_unable: bool = False) -> Mapping[str, str]:
    """The tasks that the model cannot do, each with the reason.

    Args:
        jobs: of one model.
        limits: say when to stop.
        even_if_unable: whether to run a task on which the model is no better than chance.

    Raises:
        UsageError: the experiment cannot be run at all: the model is not available, a prompt is too long for
            it or has a token that it does not know.
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
    """Runs in the child process."""
    torch.set_num_threads(1)
    first = jobs[0]
    if program_of(first.model) is not None:
        first.study()
        return line.say("looked", unfit={})
    first.remember_model()
    model = load_model(first.model, first.evaluation.dtype, first.device, first.revision)
    if first.dimensions.split_embed:
        _refuse_unsplit(model)
    if first.dimensions.kv == "per_head":
        refuse_copies(first.model, model.masked.architecture, model.masked.dtype, model.masked.device)
    unfit: dict[str, Any] = {}
    evaluation = first.evaluation
    for task in dict.fromkeys(job.task for job in jobs):
        kind, own = get_task(task.text), [job.dimensions for job in jobs if job.task == task]
        wanted, seed = (max(getattr(told, name) for told in own) for name in ("n_discovery", "data_seed"))
        try:
            for each in {0, seed}:
                readable(kind, model, "discovery", wanted, each, evaluation.bos)
            readable(
                kind,
                model,
                evaluation.split,
                evaluation.n_evaluation,
                evaluation.evaluation_seed,
                evaluation.bos,
            )
            looked_at = readable(kind, model, "discovery", min(wanted, LOOKED_AT), 0, evaluation.bos)
            if not even_if_unable and looked_at.chooses and (reason := unable(*said(model, looked_at))):
                unfit[task.label] = f"{reason}; --even-if-unable runs it anyway"
        except TaskError as error:
            unfit[task.label] = str(error)
    return line.say("looked", unfit=unfit)


def _refuse_unsplit(model: LoadedModel) -> None:
    try:
        model.masked.with_split_embed()
    except ValueError as error:
        raise UsageError(f"the embedding of '{model.name}' cannot be split: {error}") from error


def readable(
    task: Task, model: LoadedModel, split: Split, count: int, seed: int = 0, bos: Bos = "auto"
) -> Examples:
    """Prompts of a task, if the model can read all of them.

    Args:
        task: makes them.
        model: reads them.
        split: the split to draw from.
        count: number of prompts.
        seed: of the draw.
        bos: whether they begin with BOS.

    Raises:
        TaskError: its tokenizer does not support the task.
        UsageError: a prompt is too long, or has a token that the model does not know; the
            tokenizer has no BOS.
    """
    examples = examples_of(task, model.tokenizer, split, count, seed, bos)
    known = model.masked.architecture
    longest = int(examples.lengths.max())
    largest = max(int(part.max()) for part in (examples.clean, examples.corrupted, examples.candidates))
    if longest > known.n_ctx:
        raise UsageError(
            f"a prompt of the task '{task.name}' has {longest} tokens, but '{model.name}' reads only "
            f"{known.n_ctx}: choose another with -t or --model"
        )
    if largest >= known.d_vocab:
        raise UsageError(
            f"a prompt of the task '{task.name}' has the token {largest}, but '{model.name}' knows "
            f"only {known.d_vocab}: its tokenizer is not the one that it was trained with"
        )
    return examples


@torch.no_grad()
def said(model: LoadedModel, examples: Examples) -> tuple[Outputs, Answers]:
    """A model's outputs on examples, and their answers, on the host."""
    found, batches = [], make_batches(model.masked, examples)
    for batch in batches:
        at = (batch.examples, batch.positions)
        # on the host: a device may have no float64
        logits = model.masked.run(batch.clean, answers=at, lengths=batch.lengths).cpu()
        found.append(outputs_of(logits, logits, batch.candidates.cpu()))
    candidates, correct, template = map(
        torch.tensor, (examples.candidates, examples.correct, examples.template)
    )
    return joined(found), Answers(candidates, correct, template, torch.zeros_like(template, dtype=torch.bool))


def unable(outputs: Outputs, answers: Answers) -> str | None:
    """The reason, in words, if a model's answers are no better than chance; None if they are better."""
    right, chance = choice_accuracy(outputs, answers), answers.correct.double().mean(1)
    beyond = right - chance
    error = float(beyond.std()) / len(beyond) ** 0.5 if len(beyond) > 1 else 0.0
    if float(beyond.mean()) > ERRORS * error:
        return None
    return (
        f"it chooses correctly on {float(right.mean()):.2f} of {len(right)} prompts, where chance is "
        f"{float(chance.mean()):.2f}"
    )
