"""Computes and proves true circuits in a separate process, so that several programs use several cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.engine.ablation import AblationName
from bench.engine.circuit import Circuit
from bench.errors import ProgramFailed
from bench.models.tracr import ProgramModel, load_program
from bench.names import get_program
from bench.runs.children import Child, Limits, Line
from tracr_ground_truth.truth import Truth


def prove_apart(
    model: ProgramModel, spec: str, ablations: Sequence[AblationName], limits: Limits
) -> Mapping[AblationName, Truth]:
    """The true circuits of a program, by ablation.

    Args:
        model: the compiled program.
        spec: the program as `get_program` reads it.
        ablations: what removed edges carry.
        limits: tell when to stop.

    Raises:
        ProgramFailed: they cannot be computed.
        Stopped: the user stopped the run.
    """
    with Child(_prove, spec, tuple(ablations), limits=limits) as child:
        for message in child.messages():
            match message["said"]:
                case "proved":
                    return {name: _truth(model, told) for name, told in message["truths"].items()}
                case "failed":
                    raise ProgramFailed(
                        f"the circuit of the program '{spec}' cannot be proved: {message['reason']}"
                    )
        raise ProgramFailed(f"the circuit of the program '{spec}' cannot be proved: {child.last_words()}")


def _prove(line: Line, spec: str, ablations: Sequence[AblationName]) -> None:
    torch.set_num_threads(1)
    model = load_program(get_program(spec))
    line.spent("compiling")
    truths = {name: _told(model, model.truth(name)) for name in ablations}
    line.spent("proofs")
    line.say("proved", truths=truths)


def _told(model: ProgramModel, truth: Truth) -> dict[str, Any]:
    def edges(circuits: Sequence[Tensor]) -> list[list[str]]:
        return [list(Circuit(model.masked.graph, kept)) for kept in circuits]

    minimal = [[share, edges(circuits)] for share, circuits in truth.minimal.items()]
    return {"circuits": edges(truth.circuits), "error": truth.error, "minimal": minimal}


def _truth(model: ProgramModel, told: Mapping[str, Any]) -> Truth:
    def masks(circuits: Sequence[Sequence[str]]) -> tuple[Tensor, ...]:
        return tuple(Circuit.of(model.masked.graph, edges).kept for edges in circuits)

    minimal = {share: masks(circuits) for share, circuits in told["minimal"]}
    tolerance = model.compiled.tolerance
    return Truth(model.structural, masks(told["circuits"]), told["error"], tolerance, minimal)
