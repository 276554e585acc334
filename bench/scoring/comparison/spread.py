"""What a method's scores vary with: the model's training, the data, the method's own draws, the prompts.

Models whose names differ only in a number after a colon are trainings of one model: `embedded`,
`embedded:1`, `embedded:2`, run into one results folder.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from bench.errors import MixedSettings
from bench.scoring.cells import Place, sized, unseen
from bench.scoring.metrics import Answers
from bench.scoring.statistics.variance import COMPONENTS, components
from bench.store.results import Run

LEAST = 1e-6
"""Nats below which the KL of outputs in single precision is rounding, and so is the scatter of its log."""
Made = tuple[str, int, int]
"""Model, data seed and method seed of a run."""


@dataclass(frozen=True, order=True)
class Row:
    """One method at one size; the place's model is the family."""

    place: Place
    method: str
    size: float
    n_discovery: int
    discovery_ablation: str
    wordings: str = "all"


@dataclass(frozen=True)
class Spread:
    """Components of the variance of log kl, over answers of templates that no method saw."""

    row: Row
    models: int
    data_seeds: int
    method_seeds: int
    templates: int
    answers: int
    variances: Mapping[str, float]
    """By component; NaN for one with a single level, or that cannot be told from the rest."""

    def to_json(self) -> dict[str, Any]:
        """For other programs: standard deviations; unknown values are null.

        An estimate below 0 is reported as 0: the component was not detected. `below_0` names those.
        """
        return {
            **asdict(self.row.place),
            **{name: value for name, value in asdict(self.row).items() if name != "place"},
            "models": self.models, "data_seeds": self.data_seeds, "method_seeds": self.method_seeds,
            "templates": self.templates, "answers": self.answers,
            "standard_deviations": {
                name: None if math.isnan(variance) else math.sqrt(max(variance, 0.0))
                for name, variance in self.variances.items()
            },
            "below_0": [name for name, variance in self.variances.items() if variance < 0],
        }  # fmt: skip


def spreads(runs: Iterable[Run]) -> list[Spread]:
    """The rows of a table, in order: every method with several runs at a size.

    Only seeds that all models of a family share are used, so that every combination is there once.

    Args:
        runs: of one results folder; those that ended ok count, on tasks that hold templates out.

    Raises:
        MixedSettings: models of one family were scored on different prompts.
    """
    asked: dict[Place, Answers] = {}
    values: dict[Row, dict[Made, np.ndarray]] = defaultdict(dict)
    for run in runs:
        record = run.record
        if (seen := unseen(run)) is None:
            continue
        place, entrant, raw = seen
        place = replace(place, model=re.sub(r":\d+$", "", place.model))
        if not _are_same(asked.setdefault(place, raw.answers), raw.answers):
            raise MixedSettings(
                f"models named {place.model} were scored on different prompts of {place.behaviour}, which "
                "cannot be compared: use one tokenizer and one version of the task"
            )
        name = entrant._replace(wordings="all").named(entrant.found_under)
        for size, circuit in sized(run).items():
            row = Row(place, name, size, record.n_discovery, record.discovery_ablation, record.wordings)
            log_kl = raw.runs[circuit].kl.double().clamp(min=LEAST).log()
            values[row][record.model, record.data_seed, record.method_seed] = log_kl.numpy()
    return [
        _spread(row, made, asked[row.place].template.numpy())
        for row, made in sorted(values.items())
        if len(made) > 1
    ]


def _spread(row: Row, made: Mapping[Made, np.ndarray], template: Int[np.ndarray, " answer"]) -> Spread:
    """The spread over all combinations of models with the seeds that these share."""
    models = sorted({model for model, _, _ in made})
    data_seeds = sorted(set.intersection(*({d for m, d, _ in made if m == model} for model in models)))
    runs = [(model, data) for model in models for data in data_seeds]
    each = [{seed for *of, seed in made if tuple(of) == run} for run in runs]
    method_seeds = sorted(set.intersection(*each)) if each else []
    shape = (len(models), len(data_seeds), len(method_seeds))
    variances = dict.fromkeys(COMPONENTS, math.nan)
    if method_seeds:
        values = np.array([made[*run, seed] for run in runs for seed in method_seeds])
        variances = components(values.reshape(*shape, -1), template)
    return Spread(row, *shape, len(np.unique(template)), len(template), variances)


def _are_same(one: Answers, other: Answers) -> bool:
    return all(torch.equal(getattr(one, each.name), getattr(other, each.name)) for each in fields(Answers))
