"""A tiny model, its prompts and rankings of its edges, and what MIB's own evaluator said of them.

The numbers are stored, in float64 all through, and MIB's code is not: `make_mib_oracle.py` calls it, and
`make_mib_files.py` for a model of grouped heads.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from bench.conformance.prompts import batches_of
from bench.discovery.data import Asked, Data
from bench.engine.architecture import Architecture
from bench.engine.masked_model import MaskedModel
from bench.scoring.measures import LOGIT_DIFF
from bench.study import Study
from tasks.base import Examples

PROBLEM, NUMBERS = (Path(__file__).parent / "mib" / name for name in ("problem.safetensors", "numbers.json"))
GROUPED_NUMBERS, FILES = (PROBLEM.parent / name for name in ("grouped.json", "files.zip"))
PER_BATCH = 10


def stored() -> tuple[MaskedModel, Examples, dict[str, Tensor]]:
    """The model, the prompts with the right answer before the wrong one, and signed rankings by name."""
    with safe_open(PROBLEM, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dictionary
        architecture = Architecture(**json.loads(file.metadata()["architecture"]))

    def part(name: str) -> dict[str, Tensor]:
        return {n.removeprefix(f"{name}: "): t for n, t in tensors.items() if n.startswith(f"{name}: ")}

    model = MaskedModel(architecture, {name: weight.double() for name, weight in part("weight").items()})
    return model, asked(**part("prompt")), part("ranking")


def grouped(model: MaskedModel) -> MaskedModel:
    """A model in which heads share keys and values two by two: those of the first of each pair."""
    n = model.architecture.n_heads
    arch = replace(model.architecture, n_kv_heads=n // 2)
    rows = torch.tensor([*range(n), *range(n, 2 * n, 2), *range(2 * n, 3 * n, 2)])
    weights = {k: w[rows] if k.endswith("_QKV") else w for k, w in model.weights.items()}
    return MaskedModel(arch, weights)


def asked(clean: Tensor, corrupted: Tensor, lengths: Tensor, candidates: Tensor) -> Examples:
    """Prompts that are answered at their last token, with the first of two candidates."""
    return Examples(
        clean=clean.numpy(),
        corrupted=corrupted.numpy(),
        lengths=lengths.numpy(),
        positions=lengths.numpy() - 1,
        candidates=candidates.numpy(),
        correct=torch.tensor([[True, False]]).expand(len(clean), 2).numpy(),
        template=torch.zeros(len(clean), dtype=torch.long).numpy(),
    )


def farthest_apart(model: MaskedModel, clean: Tensor, corrupted: Tensor, lengths: Tensor) -> Tensor:
    """Two candidates per prompt between which clean and corrupted differ most, so that there is a gap."""
    at = (torch.arange(len(clean)), lengths - 1)
    said, said_corrupted = (model.run(prompts, answers=at, lengths=lengths) for prompts in (clean, corrupted))
    gap = said - said_corrupted
    return torch.stack([gap.argmax(1), gap.argmin(1)], 1)


def study_of(model: MaskedModel, examples: Examples) -> Study:
    """One that discovers and evaluates on the same prompts, under resample."""
    batches = batches_of(model, examples, PER_BATCH)
    template = torch.as_tensor(examples.template)
    evaluation = Asked(batches, template, torch.zeros_like(template, dtype=torch.bool))
    return Study.on(Data(model, LOGIT_DIFF, batches, evaluation, one_length=False))


def numbers() -> dict[str, Any]:
    """What MIB's evaluator gave, by ranking and by how it was read."""
    found: dict[str, Any] = json.loads(NUMBERS.read_text())
    return found
