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
SEEDS = 3
"""Of which."""
DRAWS = 20
NEAREST = ("sufficiency", "necessity")


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
    study = Study(f"tracr:{program}", ablation=ablation)
    graph, measure = study.graph, study.data.measure
    true = list(load_program(get_program(program)).truth(ablation).circuits)
    if int(true[0].sum()) < FEWEST_EDGES:
        return []
    circuits = {
        f"{kind} {i}": Circuit(graph, kept) for i, (kind, kept) in enumerate(changed(true, graph.exists))
    }
    sizes = sorted({len(circuit) for circuit in circuits.values()})
    for size in sizes:
        for seed in range(2 * DRAWS):
            generator = torch.Generator().manual_seed(seed)
            circuits[f"random {size} {seed}"] = Circuit(graph, connected(graph, size, generator) > 0)
    runs = circuits | {f"not {name}": circuit.complement() for name, circuit in circuits.items()}
    reference = study.reference(ablation)
    raw = study.outputs(runs, reference=reference)
    tested = {name: circuit for name, circuit in circuits.items() if name.startswith(("true", "idle"))}
    batches = study.data.evaluation.batches
    knocked = knock_out(study.model, batches, raw, tested, reference, measure)
    distances = {name: _distances(score(raw, name, f"not {name}", measure)) for name in circuits}
    found = []
    for name, circuit in circuits.items():
        kind, n = name.rsplit(" ", 1)
        others = range(DRAWS)
        if kind.startswith("random"):
            if int(n) < DRAWS:
                continue
            kind, p = "random", {}
        else:
            said = tests_of(raw, name, f"not {name}", measure, knocked.get(name), len(circuit))
            p = {
                key.removeprefix("p_"): float(said.get(key, np.nan))
                for key in ("p_equivalence", "p_independence", "p_independence_empty", "p_minimality")
            }
        drawn = np.array([distances[f"random {len(circuit)} {i}"] for i in others])
        p |= {test: beside_random(distances[name][i], drawn[:, i]).p for i, test in enumerate(NEAREST)}
        found.append(Outcome(kind, p))
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
