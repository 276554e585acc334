"""One method on one compiled program: what it finds beside the true circuit, stored and read again."""

from __future__ import annotations

import hashlib
import json
import re
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.ablation import Ablation
from bench.circuit import Circuit
from bench.discover import Declined, discover
from bench.errors import DamagedFile
from bench.experiment import sources
from bench.files import load_header, load_tensors, save_tensors
from bench.masked_model import MaskedModel
from bench.metrics import circuit_recovery, ranking_recovery
from bench.models.tracr import ProgramModel
from bench.names import get_method, params_of, settings_of
from bench.problem import BenchProblem, make_reference
from bench.provenance import cpu_kernels, provenance
from bench.results import now
from tracr_ground_truth.truth import Truth

DISCOVERY_PAIRS = 256
"""Clean and corrupted inputs that a method is handed, at most."""
PAIRS_SEED = 1
"""Of the pairs drawn; the truth draws its own with another."""
FIRST_SEED = 1
"""Of a method's randomness, where it runs once; several runs have this and those after it."""
SHAKE = 1e-5
"""By which share weights are shaken, for a result that should not hang on rounding (some 1e-7)."""

ENGINE = ("ablation", "architecture", "blocks", "discover", "graph", "incremental", "masked_model",
          "masked_stream", "models/tracr", "plan", "problem", "streams")  # fmt: skip
"""Files of `bench` on which it depends what a method finds."""

SHAKEN = "shaken"
"""The folder of what was found on shaken weights."""

Row = dict[str, Any]


def recover(
    model: ProgramModel,
    truth: Truth,
    ablation: Ablation,
    spec: str,
    out: Path,
    seed: int = FIRST_SEED,
    shaken: bool = False,
) -> Row:
    """Runs a method on a program, or takes what it found before with the same code; scores and stores it.

    The method sees neither the truth nor its size: no sizes are asked for, so it gives its unaided circuit
    and its ranking. `seed` is the method's; `shaken` runs it on weights that are moved a little, by that
    seed, and stores what it finds apart.
    """
    method = get_method(spec)
    folder = out / "tracr" / SHAKEN if shaken else out / "tracr"
    kernels = cpu_kernels()
    words = (model.program.name, ablation, method.name, params_of(method), f"seed{seed}", kernels.lower())
    path = _path(folder, words)
    key = _key(model, ablation, spec, seed, kernels, shaken)
    stored = _stored(path, key)
    if stored is None:
        stored = _discover(_shaken(model, seed) if shaken else model, ablation, spec, seed)
    about, tensors = stored
    row = {
        "program": model.program.name,
        "ablation": ablation,
        "method": method.name,
        "params": params_of(method),
        "settings": settings_of(method),
        **about,
        "n_edges": model.masked.graph.n_edges,
        "n_true": int(truth.circuits[0].sum()),
        "redundant": truth.redundant,
        **_scores(model, truth, tensors),
        "graph": model.masked.graph.description,
        "data": model.compiled.data_hash,
        "seed": seed,
        "stochastic": method.stochastic,
        "kernels": kernels,
        "key": key,
        "created": now(),
        **provenance(),
    }
    truths = {f"truth.{i}": circuit for i, circuit in enumerate(truth.circuits)}
    save_tensors(path, {**tensors, **truths}, {"recovery": row})
    return row


def rows(out: Path, shaken: bool = False) -> list[Row]:
    """All that is stored in a results folder, in order of program, ablation and method.

    What was found on shaken weights is apart: it says on what a result hangs, not what it is.

    Raises:
        DamagedFile: one of the files cannot be read.
    """
    found = []
    folder = out / "tracr" / SHAKEN if shaken else out / "tracr"
    for path in sorted(folder.glob("[!.]*.safetensors")):
        row = load_header(path).get("recovery")
        if not isinstance(row, dict):
            raise DamagedFile(f"{path} is no recovery of this circuitmark: move it away")
        found.append(row)
    return found


def _shaken(model: ProgramModel, seed: int) -> ProgramModel:
    """The same program with every weight moved by about `SHAKE` of itself."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: weight * (1 + SHAKE * torch.randn(weight.shape, generator=generator))
        for name, weight in model.masked.weights.items()
    }
    return replace(model, masked=MaskedModel(model.masked.architecture, weights))


def _discover(
    model: ProgramModel, ablation: Ablation, spec: str, seed: int
) -> tuple[Row, dict[str, Tensor]]:
    method = get_method(spec)
    batches = model.batches(DISCOVERY_PAIRS, PAIRS_SEED)
    one_length = len(model.compiled.lengths.unique()) == 1
    reference = partial(make_reference, model.masked, ablation, one_length=one_length)
    problem = BenchProblem(model.masked, batches, "output_diff", reference, (), seed)
    about: Row = {"status": "ok", "status_reason": "", "objective": "", "seconds": None}
    try:
        found, about["seconds"] = discover(method, problem)
        circuits = {"scores": found.scores, "unaided": found.unaided}
        tensors = {name: tensor for name, tensor in circuits.items() if tensor is not None}
        about["objective"] = found.objective
    except Declined as error:
        return {**about, "status": "declined", "status_reason": str(error)}, {}
    except (Exception, SystemExit) as error:  # a method's own failure must not stop the others
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        failed = {"status": "failed", "status_reason": reason, "traceback": traceback.format_exc()}
        return {**about, **failed}, {}
    return about, tensors


def _scores(model: ProgramModel, truth: Truth, found: Mapping[str, Tensor]) -> Row:
    """Recovery of what was found; None where there is nothing to score."""
    graph = model.masked.graph
    names = ("unaided_exact", "tpr", "fpr", "f1", "auroc", "average_precision", "exact_at_true_size",
             "margin")  # fmt: skip
    scores: Row = dict.fromkeys((*names, "unaided_edges", "found_edges", "published_exact"))
    scores["true_edges"] = " ".join(Circuit(graph, truth.circuits[0]))
    if "unaided" in found:
        kept = found["unaided"]
        nearest = max(truth.circuits, key=lambda circuit: int((kept == circuit).sum()))
        scores["true_edges"] = " ".join(Circuit(graph, nearest))
        scores |= circuit_recovery(kept, truth.circuits, graph.exists)
        scores["unaided_exact"] = scores.pop("exact")
        scores["unaided_edges"] = int(kept.sum())
        scores["found_edges"] = " ".join(Circuit(graph, kept))
        lists = [Circuit.of(graph, edges) for edges in model.program.published.values()]
        if lists:
            scores["published_exact"] = Circuit(graph, kept) in lists
    if "scores" in found:
        scores |= ranking_recovery(found["scores"], truth.circuits, graph.exists)
    return {name: None if value != value else value for name, value in scores.items()}


def _key(
    model: ProgramModel, ablation: Ablation, spec: str, seed: int, kernels: str, shaken: bool
) -> str:
    """A hash of all that determines what the method finds."""
    method = get_method(spec)
    engine = b"".join((Path(__file__).parent / f"{name}.py").read_bytes() for name in ENGINE)
    data = model.compiled.data_hash
    parts = [hashlib.sha256(engine).hexdigest(), model.program.digest, data, ablation, DISCOVERY_PAIRS]
    parts += [PAIRS_SEED, seed, kernels, SHAKE if shaken else 0]
    parts += [method.name, settings_of(method), sources(type(method))]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _path(folder: Path, words: Iterable[str]) -> Path:
    stem = "-".join(re.sub(r"[^\w.]+", "_", word) for word in words if word)
    return folder / f"{stem}.safetensors"


def _stored(path: Path, key: str) -> tuple[Row, dict[str, Tensor]] | None:
    """What the method found before, when it is there and was found by the same code; failures are not."""
    if not path.exists():
        return None
    try:
        tensors, header = load_tensors(path)
    except DamagedFile:
        return None
    row = header.get("recovery", {})
    if row.get("key") != key or row.get("status") == "failed":
        return None
    about = {name: row[name] for name in ("status", "status_reason", "objective", "seconds")}
    return about, {name: tensors[name] for name in ("scores", "unaided") if name in tensors}
