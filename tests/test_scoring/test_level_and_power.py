"""How often tests of a circuit reject a true one, and one that is not; `-s` prints the figures.

True circuits are those of compiled programs, under both ablations; idle edges are random ones that no true
circuit has, and necessary ones are in all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.engine.ablation import AblationName
from bench.engine.circuit import Circuit
from bench.models.tracr import load_program
from bench.names import get_program
from bench.scoring.evaluate import score
from bench.scoring.knockouts import FEWEST_EDGES, knock_out
from bench.scoring.statistics.circuit_tests import beside_random
from bench.scoring.tested import tests_of
from bench.study import Study
from bench.truth.verify import ABLATIONS, QUICK
from methods.random_edges import connected

pytestmark = pytest.mark.slow
CHANGES = (1, 2, 5)
"""Edges added or removed."""
SEEDS = 2
"""Of which."""
DRAWS = 20
PROMPTS = 64
ALONE = ("equivalence", "independence", "independence_empty", "minimality")
BESIDE = ("sufficiency", "necessity")


@dataclass(frozen=True)
class Outcome:
    """What the tests say of one circuit: p by name; NaN where a test is not to be had."""

    kind: str
    p: Mapping[str, float]


def changed(true: list[Tensor], exists: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A true circuit as it is, with idle edges, and less necessary ones."""
    own = true[0]
    yield "true", own
    idle = exists & ~torch.stack(true).any(0)
    needed = torch.stack(true).all(0)
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        for word, among in (("idle", idle), ("less", needed)):
            order = rng.permutation(among.nonzero().numpy())
            for n in CHANGES:
                if len(order) < n or (word == "less" and int(own.sum()) - n < 1):
                    continue
                kept = own.clone()
                kept[tuple(order[:n].T)] = word == "idle"
                yield f"{word} {n}", kept


def outcomes(program: str, ablation: AblationName) -> list[Outcome]:
    """What the tests say of each; of random circuits, drawn as those that others are read beside, as well."""
    study = Study(f"tracr:{program}", ablation=ablation, n_evaluation=PROMPTS)
    graph, measure = study.graph, study.data.measure
    true = list(load_program(get_program(program)).truth(ablation).circuits)
    if int(true[0].sum()) < FEWEST_EDGES:
        return []
    circuits = {
        f"{kind} {i}": Circuit(graph, kept) for i, (kind, kept) in enumerate(changed(true, graph.exists))
    }
    beside = {len(circuit): DRAWS for name, circuit in circuits.items() if not name.startswith("idle")}
    beside[int(true[0].sum())] = 2 * DRAWS
    for size, draws in beside.items():
        for seed in range(draws):
            kept = connected(graph, size, torch.Generator().manual_seed(seed)) > 0
            circuits[f"random {size} {seed}"] = Circuit(graph, kept)
    runs = circuits | {f"not {name}": circuit.complement() for name, circuit in circuits.items()}
    reference, batches = study.reference(ablation), study.data.evaluation.batches
    raw = study.outputs(runs, reference=reference)
    tested = {name: circuit for name, circuit in circuits.items() if name.startswith(("true", "idle"))}
    knocked = knock_out(study.model, batches, raw, tested, reference, measure)
    distances = {name: _distances(score(raw, name, f"not {name}", measure)) for name in circuits}
    found = []
    for name, circuit in circuits.items():
        kind, place = name.rsplit(" ", 1)
        p: dict[str, float] = {}
        if not kind.startswith("random"):
            said = tests_of(raw, name, f"not {name}", measure, knocked.get(name), len(circuit))
            p = {test: float(said.get(f"p_{test}", np.nan)) for test in ALONE}
        elif int(place) < DRAWS:
            continue
        if len(circuit) in beside:
            drawn = np.array([distances[f"random {len(circuit)} {i}"] for i in range(DRAWS)])
            p |= {test: beside_random(distances[name][i], drawn[:, i]).p for i, test in enumerate(BESIDE)}
        found.append(Outcome(kind.split()[0] if kind.startswith("random") else kind, p))
    return found


def _distances(scores: Mapping[str, float]) -> tuple[float, float]:
    away = scores["kl"] if "kl" in scores else scores["squared_error"]
    return away, abs(1 - scores["complement_loss"])


@cache
def rejected() -> Mapping[tuple[str, str], tuple[float, int]]:
    """The share with p below 5 %, and of how many, by test and by kind of circuit."""
    p = defaultdict(list)
    for program in QUICK:
        for ablation in ABLATIONS:
            for outcome in outcomes(program, ablation):
                for test, value in outcome.p.items():
                    p[test, outcome.kind].append(value)
    found = {}
    for key, values in sorted(p.items()):
        scored = np.array(values)[~np.isnan(values)]
        found[key] = (float((scored < 0.05).mean()) if len(scored) else np.nan, len(scored))
        print(f"{key[0]}, {key[1]}: {100 * found[key][0]:.0f} % of {len(scored)}, {len(values)} asked")
    return found


def test_print() -> None:
    rejected()
