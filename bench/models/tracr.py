"""A Tracr program -> its compiled model, its data and its true circuit. Compiled models are cached on disk.

`tracr_ground_truth` knows programs, arrays and truth; `MaskedModel` runs models; this module connects them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bench.engine.ablation import ABLATIONS, AblationName
from bench.engine.architecture import Architecture
from bench.engine.masked_model import MaskedModel
from bench.errors import DamagedFile, ProgramFailed, UnwritableFolder
from bench.files import load_tensors, save_tensors
from bench.store.cache import cache_folder
from bench.store.keys import program_code
from methods.base import Batch
from tracr_ground_truth.compile import TOLERANCE, Compiled, compile_program
from tracr_ground_truth.data import MAX_PAIRS, pairs
from tracr_ground_truth.minimal import minimal_sets
from tracr_ground_truth.program import Program, ProgramError
from tracr_ground_truth.truth import STRICT, Bound, Run, Truth, largest_change, prove, structural

FORMAT = "circuitmark-tracr-1"
CHUNK = 256
"""Pairs in a batch."""
FEW, MORE = 4, 64
"""Cases that rule out most insufficient sets of edges, and up to how many rule out most of the rest."""
AT_ONCE = 256
"""Cases times masks that are run at once."""


@dataclass(frozen=True)
class ProgramModel:
    """A compiled program, ready to be masked."""

    program: Program
    compiled: Compiled
    masked: MaskedModel

    @property
    def one_length(self) -> bool:
        """Whether all inputs have the same length."""
        return len(self.compiled.lengths.unique()) == 1

    def batches(
        self, n: int, seed: int = 0, part: Literal["all", "discovery", "evaluation"] = "all"
    ) -> list[Batch]:
        """Pairs of a clean and a corrupted input of the same length.

        Answers are all positions except BOS and those where the program outputs None; each output column is a
        candidate, and the correct one is what the program outputs.

        Args:
            n: pairs, at most.
            seed: draws them if there are more.
            part: of which inputs: all, or one of two disjoint halves.

        Raises:
            ProgramError: no two inputs have the same length.
        """
        lengths = self.compiled.lengths
        shuffled = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(0))
        half = len(lengths) // 2
        inputs = {"all": torch.arange(len(lengths)), "discovery": shuffled[:half],
                  "evaluation": shuffled[half:]}[part]  # fmt: skip
        clean, corrupted = (inputs[torch.from_numpy(i)] for i in pairs(lengths[inputs].numpy(), n, seed))
        return self._batches(clean, corrupted)

    @torch.no_grad()
    def run(
        self, batches: Sequence[Batch], kept: Tensor, references: Sequence[Tensor | None]
    ) -> Float[Tensor, "answer output"]:
        """Outputs at every answer with some edges kept.

        Args:
            batches: inputs; the clean ones are run.
            kept: the edges kept, True or 1.
            references: what removed edges carry, per batch; None means zero.
        """
        mask = kept.to(self.masked.dtype)
        outputs = []
        for batch, reference in zip(batches, references, strict=True):
            at = (batch.examples, batch.positions)
            outputs.append(self.masked.run(batch.clean, mask, reference, None, at, batch.lengths))
        return torch.cat(outputs)

    def check(self) -> None:
        """Checks the compiled model against the program's outputs on the whole data set.

        Raises:
            ProgramFailed: they differ somewhere by more than the tolerance.
        """
        every = self._batch(torch.arange(len(self.compiled.inputs)), None)
        outputs = self.masked.run(
            every.clean, answers=(every.examples, every.positions), lengths=every.lengths
        )
        targets = self.compiled.targets[every.examples, every.positions]
        wrong = ((outputs - targets).abs() > self.compiled.tolerance).any(1)
        if wrong.any():
            i = int(every.examples[wrong][0])
            length = int(self.compiled.lengths[i])
            said = " ".join(str(self.compiled.tokens[t]) for t in self.compiled.inputs[i, 1:length])
            raise ProgramFailed(
                f"Tracr compiled '{self.program.name}' to a model that does not compute it, for example on "
                f"the input {said}: let every categorical rasp.Aggregate select at most one position; where "
                "it maps a share of tokens, Tracr distinguishes only 1, 1/2, 1/3 and so on"
            )

    def truth(self, ablation: AblationName) -> Truth:
        """The true circuit under an ablation: on all inputs or, under resample, on all pairs of them if these
        are few. If pairs are drawn, the proof uses other pairs than those that found the edges, and minimal
        sufficient sets suffice on both.
        """
        model, structural = self.masked, self.structural
        resample = ABLATIONS[ablation].from_corrupted
        drawn: list[tuple[Tensor, Tensor | None]] = [(torch.arange(len(self.compiled.inputs)), None)]
        if resample:
            sides = (pairs(self.compiled.lengths.numpy(), MAX_PAIRS, seed) for seed in (0, 1))
            drawn = [(torch.from_numpy(clean), torch.from_numpy(corrupted)) for clean, corrupted in sides]
        runs, bound = [self._on(*cases) for cases in drawn], self._bound(*drawn[0])
        fresh = runs[1] if resample else None
        truth = prove(runs[0], model.graph, structural, self.compiled.tolerance, fresh, bound)
        sources = torch.tensor([node.name == "tok" or not resample for node in model.graph.senders])
        tolerances = {share: share * self.compiled.gap for share in (TOLERANCE, STRICT)}
        found = minimal_sets(
            largest_change(runs, model.graph), bound, model.graph, structural, sources, [*tolerances.values()]
        )
        if found is None:
            return truth
        return replace(truth, minimal={share: found[most] for share, most in tolerances.items()})

    @cached_property
    def structural(self) -> Tensor:
        """Edges that can carry anything, read off the weights."""
        used = self.compiled.inputs[self._inside].unique().tolist()
        return structural(self.compiled.weights, self.masked.graph, used)

    @property
    def _inside(self) -> Tensor:
        return torch.arange(self.compiled.inputs.shape[1]) < self.compiled.lengths[:, None]

    def _on(self, clean: Int[Tensor, " n"], corrupted: Int[Tensor, " n"] | None) -> Run:
        """A run on some inputs, in which removed edges carry what a corrupted input gives, or zero."""
        batches = self._batches(clean, corrupted)
        references = [self._reference(batch, corrupted is not None) for batch in batches]
        return lambda kept: self.run(batches, kept, references)

    def _bound(self, clean: Int[Tensor, " n"], corrupted: Int[Tensor, " n"] | None) -> Bound:
        """The largest change of an output on a few of these inputs, or on more if that is tolerable."""
        says = (~self.compiled.targets[clean].isnan().any(-1)).any(1).nonzero()[:, 0]
        shuffled = says[torch.randperm(len(says), generator=torch.Generator().manual_seed(0))]
        stages = [
            self._changes(clean[some], None if corrupted is None else corrupted[some])
            for some in shuffled[:MORE].tensor_split([FEW])
            if len(some)
        ]

        def bound(masks: Bool[Tensor, "some receivers senders"]) -> Float[Tensor, " some"]:
            worst = torch.zeros(len(masks), dtype=self.masked.dtype)
            for changes in stages:
                left = (worst <= self.compiled.tolerance).nonzero()[:, 0]
                if len(left):
                    worst[left] = torch.maximum(worst[left], changes(masks[left]))
            return worst

        return bound

    def _changes(self, clean: Int[Tensor, " n"], corrupted: Int[Tensor, " n"] | None) -> Bound:
        """The largest change of an output on some inputs, for several masks at once."""
        batch = self._batch(clean, corrupted)
        reference = self._reference(batch, corrupted is not None)
        at = (batch.examples, batch.positions)
        full = self.masked.run(batch.clean, answers=at, lengths=batch.lengths)

        def changes(masks: Bool[Tensor, "some receivers senders"]) -> Float[Tensor, " some"]:
            said = (
                self.masked.run_each(batch.clean, some, reference, at, batch.lengths)
                for some in masks.split(max(1, AT_ONCE // len(batch)))
            )
            return torch.cat([(outputs - full).abs().amax((1, 2)) for outputs in said])

        return changes

    def _reference(self, batch: Batch, resample: bool) -> Float[Tensor, "senders batch pos d"] | None:
        return self.masked.senders(batch.corrupted, batch.lengths) if resample else None

    def _batches(self, clean: Int[Tensor, " n"], corrupted: Int[Tensor, " n"] | None) -> list[Batch]:
        return [
            self._batch(clean[i : i + CHUNK], None if corrupted is None else corrupted[i : i + CHUNK])
            for i in range(0, len(clean), CHUNK)
        ]

    def _batch(self, clean: Int[Tensor, " n"], corrupted: Int[Tensor, " n"] | None) -> Batch:
        compiled, lengths = self.compiled, self.compiled.lengths[clean]
        answers = ~compiled.targets[clean].isnan().any(-1)  # neither BOS nor padding nor None
        examples, positions = answers.nonzero(as_tuple=True)
        targets = compiled.targets[clean][examples, positions]
        outputs = targets.shape[1]
        inputs = compiled.inputs[clean]
        return Batch(
            clean=inputs,
            corrupted=inputs if corrupted is None else compiled.inputs[corrupted],
            lengths=lengths,
            examples=examples,
            positions=positions,
            candidates=torch.arange(outputs).expand(len(targets), outputs),
            correct=targets == 1 if compiled.categorical else ~targets.isnan(),
        )


def load_program(program: Program, dtype: str = "float32") -> ProgramModel:
    """A program's model: from the cache on disk if it was compiled before, otherwise compiled and cached.

    Raises:
        ProgramFailed: it cannot be compiled, or the compiled model does not compute it.
    """
    try:
        path = cache_folder() / "tracr" / f"{program.name}-{program_code(program)}.safetensors"
        compiled = _cached(path)
        if compiled is None:
            compiled = compile_program(program)
            _keep(path, compiled)
        masked = _masked(program, compiled).to(dtype=getattr(torch, dtype))
        model = ProgramModel(program, compiled, masked)
        model.check()
        model.batches(1)  # refuses a data set without pairs
    except ProgramError as error:
        reason = str(error)
        named = program.name in reason
        raise ProgramFailed(reason if named else f"the program '{program.name}': {reason}") from error
    return model


def _masked(program: Program, compiled: Compiled) -> MaskedModel:
    about: dict[str, Any] = {**compiled.shape, "n_kv_heads": compiled.shape["n_heads"]}
    about["d_mlp"] = compiled.weights["m0.b_in"].numel()
    formulas: dict[str, Any] = {"activation": "relu", "norm": "none", "causal": program.causal}
    return MaskedModel(Architecture(**about, **formulas, split_embed=True), compiled.weights)


def _cached(path: Path) -> Compiled | None:
    if not os.path.exists(path):  # unlike path.exists, False in a forbidden folder
        return None
    try:
        tensors, header = load_tensors(path)
        if header["format"] != FORMAT:
            return None
        parts: dict[str, Any] = {**header["about"], "tokens": tuple(header["about"]["tokens"])}
        parts |= {name: tensors.pop(f"data.{name}") for name in ("inputs", "lengths", "targets")}
        return Compiled(weights=tensors, **parts)
    except (DamagedFile, KeyError, TypeError):
        return None  # then it is compiled again


def _keep(path: Path, compiled: Compiled) -> None:
    data = {f"data.{name}": getattr(compiled, name) for name in ("inputs", "lengths", "targets")}
    about = {name: getattr(compiled, name) for name in ("shape", "tokens", "categorical")}
    with suppress(UnwritableFolder):  # then it is compiled again next time
        save_tensors(path, {**compiled.weights, **data}, {"format": FORMAT, "about": about})
