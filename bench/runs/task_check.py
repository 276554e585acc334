"""`circuitmark task check`: which lines of a task a model can use, why not others, and how well it does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

import numpy as np

from bench.discovery.start import started
from bench.errors import UsageError
from bench.models.load import LoadedModel, load_model, program_of
from bench.names import choose_task, get_task
from bench.runs.beforehand import LOOKED_AT, readable, said, unable
from bench.scoring.measures import DIVERGENCE
from bench.scoring.metrics import accuracy, choice_accuracy
from bench.scoring.statistics.binary import wilson
from bench.store.record import Bos, check_choices
from tasks.base import Examples, Split, Task, TaskError
from tasks.files.fitting import fit
from tasks.files.task import FileTask
from tasks.mixed import Mixed

SPLITS: tuple[Split, ...] = ("discovery", "validation", "evaluation")


@dataclass(frozen=True)
class Lost:
    """Lines that cannot be used, of one kind."""

    kind: str
    lines: int
    first: str
    """Where the first one is."""
    reason: str
    """Why that one cannot be used."""


@dataclass(frozen=True)
class Ability:
    """How well the model does the task, on prompts of the discovery split."""

    metric: str
    """choice_accuracy; accuracy if no wrong answers are named, for which there is no chance level."""
    value: float
    low: float
    high: float
    """The 95 % interval over these prompts."""
    chance: float | None
    prompts: int
    verdict: str


@dataclass(frozen=True)
class Checked:
    """What the check of a task found."""

    task: str
    model: str
    lines: int | None
    """Lines of the file; None for a task that generates its prompts."""
    usable: int
    """Lines that can be used; for a task that generates its prompts, those that were checked."""
    lost: Sequence[Lost]
    duplicates: int
    """Of these, lines that repeat an earlier one."""
    several_tokens: int
    """Lines with an answer of several tokens, represented by its first."""
    splits: Mapping[str, int]
    """Usable lines of each split."""
    templates: Mapping[str, int]
    """Templates of each split."""
    held_out: int
    """Templates that evaluation has and discovery lacks."""
    measure: str
    ability: Ability | None
    """None if nothing is usable."""

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=2)

    def __str__(self) -> str:
        usable = "prompts checked" if self.lines is None else f"of {self.lines} lines can be used"
        told = [f"{self.task} on {self.model}: {self.usable} {usable}"]
        told += [
            f"  {lost.lines} cannot be used ({lost.kind}); the first is {lost.first}: {lost.reason}"
            for lost in self.lost
        ]
        if self.several_tokens:
            told.append(f"  {self.several_tokens} have an answer of several tokens, represented by its first")
        told.append(f"  duplicates: {self.duplicates}")
        parts = [f"{split} {n} (templates: {self.templates[split]})" for split, n in self.splits.items()]
        told.append(f"  splits: {', '.join(parts)}; templates held out from discovery: {self.held_out}")
        told.append(f"  measure: {self.measure}")
        if self.ability:
            found = self.ability
            chance = "" if found.chance is None else f", chance {found.chance:.2f}"
            told.append(
                f"  {found.metric} on {found.prompts} prompts: {found.value:.2f} "
                f"({found.low:.2f} to {found.high:.2f}){chance}: {found.verdict}"
            )
        return "\n".join(told)


def check_task(text: str, model: str, revision: str = "", bos: str = "auto") -> Checked:
    """Checks which prompts of a task a model can use, and how well it does on them.

    Args:
        text: as typed, see `names.get_task`.
        model: as typed, see `models.load.find_model`.
        revision: of a hub's model.
        bos: whether prompts begin with BOS.

    Raises:
        UsageError: no such task or model, the tokenizer does not support the task, or has no BOS.
    """
    check_choices(bos=bos)
    if program_of(model, revision) is not None:
        raise UsageError(f"the model '{model}' is compiled for its own task: there is nothing to check")
    task, label = get_task(text), choose_task(text).label
    loaded = load_model(model, revision=revision)
    try:
        if isinstance(task, FileTask):
            return _of_lines(task, label, loaded, cast(Bos, bos))
        return _of_prompts(task, label, loaded, cast(Bos, bos))
    except TaskError as error:
        raise UsageError(str(error)) from error


def _of_lines(task: FileTask, label: str, model: LoadedModel, bos: Bos) -> Checked:
    """All lines of a file."""
    fitted, unfit = fit(model.tokenizer, task.lines)
    lost = [Lost(each.kind, 1, each.line.place, each.reason) for each in unfit]
    own = {split: [each for each in fitted if task.split(each.line) == split] for split in SPLITS}
    numbers = {split: {task.template(each.line) for each in held} for split, held in own.items()}
    looked_at = (own["discovery"] or fitted)[:LOOKED_AT]
    return Checked(
        task=label,
        model=model.name,
        lines=len(task.lines),
        usable=len(fitted),
        lost=[
            replace(next(each for each in lost if each.kind == kind), lines=n)
            for kind, n in Counter(each.kind for each in lost).items()
        ],
        duplicates=len(fitted) - len({(tuple(each.clean), tuple(each.corrupted)) for each in fitted}),
        several_tokens=sum(each.several for each in fitted),
        splits={split: len(held) for split, held in own.items() if held},
        templates={split: len(held) for split, held in numbers.items() if held},
        held_out=len(numbers["evaluation"] - numbers["discovery"]),
        measure=task.measure if looked_at and looked_at[0].wrong else DIVERGENCE.name,
        ability=_ability(model, started(task.made(looked_at), model.tokenizer, bos)) if looked_at else None,
    )


def _of_prompts(task: Task, label: str, model: LoadedModel, bos: Bos) -> Checked:
    """A task that generates its prompts, or a combined task: some prompts of each split that it has."""
    files = [part for part in task.tasks if isinstance(part, FileTask)] if isinstance(task, Mixed) else []
    splits = [split for split in SPLITS if all(file.of(split) for file in files)]
    made = {split: readable(task, model, split, LOOKED_AT, 0, bos) for split in splits}
    numbers = {split: set(examples.template.tolist()) for split, examples in made.items()}
    pairs = [np.hstack([examples.clean, examples.corrupted]) for examples in made.values()]
    return Checked(
        task=label,
        model=model.name,
        lines=None,
        usable=sum(map(len, made.values())),
        lost=(),
        duplicates=sum(len(each) - len(np.unique(each, axis=0)) for each in pairs),
        several_tokens=0,
        splits={split: len(examples) for split, examples in made.items()},
        templates={split: len(held) for split, held in numbers.items()},
        held_out=len(numbers["evaluation"] - numbers["discovery"]),
        measure=task.measure if made["discovery"].chooses else DIVERGENCE.name,
        ability=_ability(model, made["discovery"]),
    )


def _ability(model: LoadedModel, examples: Examples) -> Ability:
    outputs, answers = said(model, examples)
    if not examples.chooses:
        right = accuracy(outputs, answers).double()
        verdict = "no wrong answers are named, so there is no chance level to compare with"
    else:
        right = choice_accuracy(outputs, answers)
        reason = unable(outputs, answers)
        verdict = "no better than chance" if reason else "better than chance"
    low, high = wilson(int(right.sum()), len(right))
    chance = examples.chance if examples.chooses else None
    metric = "choice_accuracy" if examples.chooses else "accuracy"
    return Ability(metric, float(right.mean()), low, high, chance, len(right), verdict)
