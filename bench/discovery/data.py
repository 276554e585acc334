"""The data of a study: a model, its two sets of prompt pairs, and what is measured on them.

The prompts come from a task, or from a compiled program, which brings its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from bench.discovery.batches import make_batches
from bench.discovery.start import BEGINS, begins_with_bos, started
from bench.engine.device import check_device
from bench.engine.graph import KV
from bench.engine.masked_model import MaskedModel
from bench.engine.memory import refuse_copies
from bench.errors import ProgramFailed, UsageError
from bench.models.load import load_model, program_of
from bench.names import get_program, get_task
from bench.scoring.measures import DIVERGENCE, MEASURES, NUMBER_DIFF, OUTPUT_DIFF, Measure
from bench.store.record import Bos, EvaluatedSplit, Wordings, check_choices
from methods.base import Batch
from tasks.base import Examples, ExamplesError, Split, Task, TaskError, Tokenizer
from tracr_ground_truth.program import ProgramError

if TYPE_CHECKING:
    from bench.models.tracr import ProgramModel

PROGRAM_TASK = "tracr"
"""The task that a compiled program brings along: to output at every position what the program outputs."""


@dataclass(frozen=True)
class Asked:
    """Prompt pairs on which circuits are scored."""

    batches: Sequence[Batch]
    template: Int[Tensor, " answer"]
    """Each answer's wording; for a compiled program, its input."""
    held_out: Bool[Tensor, " answer"]
    """For each answer, whether methods saw no prompt of its wording."""
    positions: str = "last token of the prompt"
    """Where answers are, in words."""
    start: str = BEGINS[False]
    """What prompts begin with, in words."""

    @property
    def repeated_prompts(self) -> int:
        """How many prompts repeat an earlier one in their clean and corrupted tokens and all answers."""
        prompts = [prompt for batch in self.batches for prompt in _prompts(batch)]
        return len(prompts) - len(set(prompts))


NOTHING = Asked((), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.bool))
"""No evaluation prompts."""


@dataclass(frozen=True)
class Data:
    """A model, the pairs that methods see, and those on which circuits are scored."""

    model: MaskedModel
    measure: Measure
    discovery: Sequence[Batch]
    evaluation: Asked
    one_length: bool
    """Whether all prompts of both sets have the same length."""
    seconds: float | None = None
    """Time to draw and batch the discovery prompts; None if it was not measured."""

    def blind(self) -> Data:
        """The same without evaluation prompts: what a method's process holds."""
        return replace(self, evaluation=NOTHING)


def check_for_program(
    model: str,
    *,
    split: EvaluatedSplit = "evaluation",
    wordings: Wordings = "all",
    bos: Bos = "auto",
    device: str = "cpu",
) -> None:
    """Refuses options that a compiled program does not have: it brings its own inputs and runs on the CPU.

    Args:
        model: as typed; a program.
        split: to evaluate on.
        wordings: of the discovery set.
        bos: how prompts begin.
        device: where it would run.

    Raises:
        UsageError: one of these is not its default.
    """
    if split != "evaluation":
        raise UsageError(f"the model '{model}' has no {split} split: leave 'split' out")
    if wordings != "all":
        raise UsageError(f"the model '{model}' has no wordings: leave 'wordings' out")
    if bos != "auto":
        raise UsageError(f"the model '{model}' brings its own prompts: leave --bos out")
    if device != "cpu":
        raise UsageError(f"the model '{model}' runs only on the CPU: leave --device out")


def load_data(
    model: str,
    task: str,
    *,
    n_discovery: int,
    n_evaluation: int,
    evaluation_seed: int = 0,
    split: EvaluatedSplit,
    data_seed: int,
    wordings: Wordings = "all",
    dtype: str,
    split_embed: bool,
    kv: KV = "per_group",
    device: str,
    smaller: int = 1,
    revision: str = "",
    bos: Bos = "auto",
) -> Data:
    """Loads a model and the prompts of a task for it.

    Args:
        model: as typed, see `models.load.find_model`.
        task: as typed, see `names.get_task`; `PROGRAM_TASK` where the model is a program.
        n_discovery: prompt pairs that methods see.
        n_evaluation: prompt pairs on which circuits are scored, the same for every `data_seed`.
        evaluation_seed: draws the evaluation prompts.
        split: from which they are drawn.
        data_seed: draws the discovery set.
        wordings: of the discovery set.
        dtype: of the model's weights and activations.
        split_embed: whether token and position embedding are two senders; of programs they always are.
        kv: whether keys and values are counted per group of heads or per query head.
        device: where the model runs.
        smaller: batches hold this many times fewer prompts than memory should allow.
        revision: of a hub's model.
        bos: how prompts begin.

    Raises:
        UsageError: a revision of a model that is not from the hub; a dtype, kv, split, wordings, bos or
            device that does not exist, or not for a program; a BOS for a tokenizer that has none.
        TaskError: the model's tokenizer does not support the task, or the task has one wording.
        ModelError, ProgramFailed: the model is not available.
    """
    check_choices(dtype=dtype, kv=kv, split=split, wordings=wordings, bos=bos)
    program = program_of(model, revision)
    if program is not None:
        check_for_program(model, split=split, wordings=wordings, bos=bos, device=device)
        return _of_program(program, n_discovery, n_evaluation, data_seed, evaluation_seed, dtype)
    check_device(device)
    kind, loaded = get_task(task), load_model(model, dtype, device, revision)
    masked = loaded.masked.with_split_embed() if split_embed else loaded.masked
    if kv == "per_head" and masked.graph != masked.graph.per_head:
        refuse_copies(model, masked.architecture, masked.dtype, masked.device)
        masked = masked.with_kv_per_head()
    began = perf_counter()
    discovery = drawn(kind, loaded.tokenizer, n_discovery, data_seed, wordings, bos)
    batches = make_batches(masked, discovery, smaller)
    seconds = perf_counter() - began
    evaluation = examples_of(kind, loaded.tokenizer, split, n_evaluation, evaluation_seed, bos)
    template = torch.tensor(evaluation.template)
    held_out = torch.isin(template, torch.tensor(sorted(kind.held_out), dtype=template.dtype))
    begins = BEGINS[begins_with_bos(evaluation, loaded.tokenizer)]
    return Data(
        masked,
        MEASURES[kind.measure] if evaluation.chooses else DIVERGENCE,
        batches,
        Asked(make_batches(masked, evaluation, smaller), template, held_out, start=begins),
        len({*discovery.lengths.tolist(), *evaluation.lengths.tolist()}) == 1,
        seconds,
    )


def examples_of(
    kind: Task, tokenizer: Tokenizer, split: Split, n: int, seed: int, bos: Bos = "auto"
) -> Examples:
    """A task's examples, with or without BOS as requested.

    Args:
        kind: the task.
        tokenizer: the model's.
        split: from which they are drawn.
        n: how many.
        seed: draws them.
        bos: how they begin.

    Raises:
        TaskError: the tokenizer does not support the task.
        UsageError: the tokenizer has no BOS.
    """
    try:
        return started(kind.examples(tokenizer, split, n, seed), tokenizer, bos)
    except ExamplesError as error:
        raise TaskError(f"task {kind.name}: {error}") from error


def drawn(
    kind: Task, tokenizer: Tokenizer, n: int, seed: int, wordings: Wordings, bos: Bos = "auto"
) -> Examples:
    """A discovery set. For half of the wordings three times as many prompts are drawn, since the smaller half
    of three wordings is one.

    Args:
        kind: the task.
        tokenizer: the model's.
        n: how many prompts.
        seed: draws them.
        wordings: all of the task's, or one half of them.
        bos: how prompts begin.

    Raises:
        TaskError: the tokenizer does not support the task, or the task has one wording.
        UsageError: the tokenizer has no BOS.
    """
    if wordings == "all":
        return examples_of(kind, tokenizer, "discovery", n, seed, bos)
    more = examples_of(kind, tokenizer, "discovery", 3 * n, seed, bos)
    numbers = np.unique(more.template)
    if len(numbers) < 2:
        raise TaskError(f"task {kind.name} has only one wording, so no halves of them: leave 'wordings' out")
    middle = len(numbers) // 2
    half = numbers[:middle] if wordings == "first half" else numbers[middle:]
    return more.take(np.flatnonzero(np.isin(more.template, half))[:n])


def shared_prompts(
    model: str,
    task: str,
    n_discovery: int,
    data_seed: int,
    wordings: Wordings = "all",
    dtype: str = "float32",
    device: str = "cpu",
    revision: str = "",
) -> int:
    """How many prompts of a discovery set also occur in the sets of earlier data seeds.

    A task gives every seed different prompts while it has enough of them; a program has few inputs, so its
    pairs are compared.

    Args:
        model: as typed.
        task: as for `load_data`.
        n_discovery: prompt pairs of each set.
        data_seed: of the set; lower seeds are the earlier ones.
        wordings: of all sets.
        dtype: of the model, which is already loaded.
        device: where it is.
        revision: of a hub's model.

    Raises:
        TaskError, ModelError, ProgramFailed: as `load_data`.
    """
    program = program_of(model, revision)
    if program is None:
        kind, tokenizer = get_task(task), load_model(model, dtype, device, revision).tokenizer
        earlier_sets = (drawn(kind, tokenizer, n_discovery, seed, wordings) for seed in range(data_seed))
        return drawn(kind, tokenizer, n_discovery, data_seed, wordings).shared(*earlier_sets)
    from bench.models.tracr import load_program

    loaded = load_program(get_program(program), dtype)
    own, *others = (
        [pair for batch in _discovered(loaded, n_discovery, seed) for pair in _prompts(batch)]
        for seed in (data_seed, *range(data_seed))
    )
    earlier = set(chain.from_iterable(others))
    return sum(pair in earlier for pair in own)


def measure_of(model: ProgramModel) -> Measure:
    """The difference metric of a program's outputs."""
    return OUTPUT_DIFF if model.compiled.categorical else NUMBER_DIFF


def program_data(model: ProgramModel, n: int, data_seed: int) -> Data:
    """A program's data for methods only: pairs of all its inputs, and no evaluation prompts.

    Args:
        model: the compiled program.
        n: pairs, at most.
        data_seed: draws them if there are more.

    Raises:
        ProgramError: no two inputs have the same length.
    """
    return Data(model.masked, measure_of(model), model.batches(n, data_seed), NOTHING, model.one_length)


def _of_program(
    program: str, n_discovery: int, n_evaluation: int, data_seed: int, evaluation_seed: int, dtype: str
) -> Data:
    """Half of a program's inputs are for discovery, the others for evaluation."""
    from bench.models.tracr import load_program

    loaded = load_program(get_program(program), dtype)
    try:
        discovery = _discovered(loaded, n_discovery, data_seed)
        evaluation = loaded.batches(n_evaluation, evaluation_seed, "evaluation")
    except ProgramError as error:
        raise ProgramFailed(
            f"the program '{loaded.program.name}' has too few inputs ({len(loaded.compiled.inputs)}) to "
            "discover on one half and evaluate on the other: give it more tokens or lengths, or check "
            f"methods on it with circuitmark verify-tracr -p {program}"
        ) from error
    starts = torch.tensor([0, *(len(batch) for batch in evaluation)]).cumsum(0)
    template = torch.cat([start + b.examples for start, b in zip(starts, evaluation, strict=False)])
    return Data(
        loaded.masked,
        measure_of(loaded),
        discovery,
        Asked(
            evaluation,
            template,
            torch.ones_like(template, dtype=torch.bool),
            "every token but BOS of which the program says something",
            BEGINS[True],
        ),
        loaded.one_length,
    )


def _discovered(program: ProgramModel, n: int, data_seed: int) -> list[Batch]:
    return program.batches(n, 1 + data_seed, "discovery")


def _prompts(batch: Batch) -> Iterator[tuple[object, ...]]:
    """Each prompt's tokens and answers, without padding."""
    asked = (batch.positions, batch.candidates, batch.correct)
    for example, length in enumerate(batch.lengths.tolist()):
        tokens = (str(side[example, :length].tolist()) for side in (batch.clean, batch.corrupted))
        yield *tokens, *(str(each[batch.examples == example].tolist()) for each in asked)
