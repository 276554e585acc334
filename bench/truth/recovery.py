"""One method on one compiled program: what it finds, compared with the true circuit, stored and reused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.discovery.checkpoint import forget
from bench.discovery.data import program_data
from bench.engine.ablation import AblationName
from bench.engine.circuit import Circuit
from bench.engine.masked_model import MaskedModel
from bench.files import save_tensors
from bench.models.tracr import ProgramModel, load_program
from bench.names import MethodSpec, get_program
from bench.runs.children import Limits, reason_of
from bench.runs.discovering import Errand, Unfound, discover_apart, load_found
from bench.schema import null_for_nan
from bench.scoring.metrics import circuit_recovery, exact_cuts, ranking_recovery
from bench.store.failures import forget_traceback, keep_traceback
from bench.store.keys import code_of, engine, key_of, program_code
from bench.store.provenance import cpu_kernels, provenance
from bench.store.record import FORMAT
from bench.store.recoveries import SHAKEN, Row, recovery_path, stored_recovery
from bench.store.results import now
from bench.study import Study
from tracr_ground_truth.compile import TOLERANCE
from tracr_ground_truth.truth import Truth

DISCOVERY_PAIRS = 256
"""Most pairs of clean and corrupted inputs that a method is given."""
PAIRS_SEED = 1
"""Seed of these pairs; the truth draws its own with another seed."""
FIRST_SEED = 1
"""Seed of a method's first run; further runs have the seeds after it."""
SHAKE = 1e-5
"""Relative perturbation of weights, for results that should not depend on rounding (some 1e-7)."""


def recover(
    model: ProgramModel,
    truth: Truth,
    ablation: AblationName,
    method: MethodSpec,
    out: Path,
    *,
    spec: str = "",
    seed: int = FIRST_SEED,
    shaken: bool = False,
    limits: Limits | None = None,
    told: Callable[[str], None] = print,
) -> Row:
    """Runs a method on a program, or reuses what it found earlier with the same code; scores and stores it.

    The method runs in a separate process. It sees neither the truth nor its size: no sizes are requested,
    so it returns its unaided circuit and its ranking. If it fails or declines, the row says so.

    Args:
        model: the compiled program.
        truth: its true circuit under `ablation`.
        ablation: what removed edges carry.
        method: the method with its options.
        out: the results folder.
        spec: the program as `get_program` reads it; its name if left out.
        seed: the seed of the method, not of the pairs.
        shaken: runs it on weights perturbed by that seed, and stores what it finds separately.
        limits: the limits that the method must keep.
        told: is called with what a user should know.

    Returns:
        A row; recovery.csv has those of its values that fit into a cell; what is unscored is None.

    Raises:
        UnwritableFolder: no file can be written to `out`.
        Stopped: the user stopped the run.
    """
    kernels = cpu_kernels()
    words = (model.program.name, ablation, method.name, method.params, f"seed{seed}", kernels.lower())
    path = recovery_path(out, words, shaken)
    key = _key(model, ablation, method, seed, kernels, SHAKE if shaken else 0)
    stored = stored_recovery(path, key, model.masked.graph.shape)
    if stored is None:
        stem = f"{path.stem}-{SHAKEN}" if shaken else path.stem
        study = partial(program_study, spec or model.program.name, ablation, seed if shaken else None)
        found = out.absolute() / "unfinished" / f"{stem}.found.safetensors"
        errand = Errand(study=study, method=method.text, method_seed=seed, key=key, found=found)
        stored = _discover(errand, model, limits or Limits(), told, out, stem)
    about, tensors = stored
    row = {
        "program": model.program.name,
        "ablation": ablation,
        "method": method.name,
        "params": method.params,
        "settings": method.settings,
        **about,
        "n_edges": model.masked.graph.n_edges,
        "n_true": int(truth.circuits[0].sum()),
        "redundant": truth.redundant,
        "minimal_sets": len(truth.minimal[TOLERANCE]) if truth.minimal else None,
        "is_minimal": truth.is_minimal,
        **_scores(model, truth, tensors),
        "graph": model.masked.graph.description,
        "data": model.compiled.data_hash,
        "method_seed": seed,
        "stochastic": method.stochastic,
        "kernels": kernels,
        "engine": engine(),
        "key": key,
        "format": FORMAT,
        "created": now(),
        **provenance(),
    }
    truths = {f"truth.{i}": circuit for i, circuit in enumerate(truth.right)}
    save_tensors(path, {**tensors, **truths}, {"recovery": row})
    return row


def program_study(spec: str, ablation: AblationName, shaken: int | None, smaller: int) -> Study:
    """The study that a method runs on; its batches are already small.

    Args:
        spec: the program, as `get_program` reads it.
        ablation: what removed edges carry.
        shaken: the seed that perturbs the weights; None leaves them unchanged.
        smaller: as in `discovering.MakesStudy`; unused, since batches need not be smaller.
    """
    model = load_program(get_program(spec))
    if shaken is not None:
        model = _shaken(model, shaken)
    return Study.on(program_data(model, DISCOVERY_PAIRS, PAIRS_SEED), ablation)


def _shaken(model: ProgramModel, seed: int) -> ProgramModel:
    """The same program with every weight perturbed by about `SHAKE` of its size."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: weight * (1 + SHAKE * torch.randn(weight.shape, generator=generator))
        for name, weight in model.masked.weights.items()
    }
    return replace(model, masked=MaskedModel(model.masked.architecture, weights))


def _discover(
    errand: Errand,
    model: ProgramModel,
    limits: Limits,
    told: Callable[[str], None],
    out: Path,
    stem: str,
) -> tuple[Row, dict[str, Tensor]]:
    """The columns that describe a discovery, and its tensors."""
    about: Row = {"status": "ok", "status_reason": "", "objective": "", "seconds": None}
    unfound = discover_apart([errand], limits, told=told)
    forget_traceback(out, stem)
    try:
        if unfound is None:
            found, cost = load_found(errand, model.masked.graph, model.masked.maskable)
            circuits = {"scores": found.scores, "unaided": found.unaided}
            tensors = {name: tensor for name, tensor in circuits.items() if tensor is not None}
            return {**about, "objective": found.objective, "seconds": cost.seconds}, tensors
    except (TypeError, ValueError) as error:
        unfound = Unfound("failed", reason_of(error))
    finally:
        forget(errand.found)
    if unfound.traceback:
        keep_traceback(out, stem, unfound.traceback)
    return {**about, "status": unfound.status, "status_reason": unfound.reason}, {}


def _scores(model: ProgramModel, truth: Truth, found: Mapping[str, Tensor]) -> Row:
    """Recovery scores of what was found; None where there is nothing to score."""
    graph = model.masked.graph
    names = ("unaided_exact", "tpr", "fpr", "f1", "auroc", "average_precision", "exact_at_true_size",
             "margin", "cut_low", "cut_high", "top_score")  # fmt: skip
    scores: Row = dict.fromkeys((*names, "unaided_edges", "found_edges", "published_exact"))
    scores["true_edges"] = " ".join(Circuit(graph, truth.circuits[0]))
    if "unaided" in found:
        kept = found["unaided"]
        nearest = max(truth.right, key=lambda circuit: int((kept == circuit).sum()))
        scores["true_edges"] = " ".join(Circuit(graph, nearest))
        scores |= circuit_recovery(kept, truth.right, graph.exists)
        scores["unaided_exact"] = scores.pop("exact")
        scores["unaided_edges"] = int(kept.sum())
        scores["found_edges"] = " ".join(Circuit(graph, kept))
        lists = [Circuit.of(graph, edges) for edges in model.program.published.values()]
        if lists:
            scores["published_exact"] = Circuit(graph, kept) in lists
    if "scores" in found:
        scores |= ranking_recovery(found["scores"], truth.right, graph.exists)
        scores |= exact_cuts(found["scores"], truth.right, graph.exists)
    return null_for_nan(scores)


def _key(model: ProgramModel, ablation: AblationName, method: MethodSpec, *more: Any) -> str:
    """A hash of everything that determines what the method finds."""
    program = [program_code(model.program), model.compiled.data_hash]
    how = [method.name, method.settings, code_of(*method.files)]
    return key_of([engine(), program, ablation, PAIRS_SEED, DISCOVERY_PAIRS, how, *more])
