"""How often tests of a circuit reject a true one, and one that is not; `-s` prints the figures.

True circuits are those of compiled programs, under both ablations; idle edges are random ones that no true
circuit has, and necessary ones are in all of them.
"""

from __future__ import annotations

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
from bench.scoring.knockouts import knock_out
from bench.scoring.statistics.circuit_tests import beside_random
from bench.scoring.tested import columns_of
from bench.study import Study
from bench.truth.verify import ABLATIONS, QUICK
from methods.random_edges import connected

pytestmark = pytest.mark.slow
PROGRAMS = QUICK[::2]
CHANGES = (1, 2, 5)
"""Edges added or removed."""
SEEDS = 2
"""By which they are drawn."""
DRAWS = 20
PROMPTS = 64
ALONE = ("equivalence", "independence", "minimality")
BESIDE = ("sufficiency", "necessity")


@dataclass(frozen=True)
class Outcome:
    """What the tests say of one circuit: p by name; NaN where a test is not to be had."""

    kind: str
    p: Mapping[str, float]
    unneeded: float = 0.0
    """Edges that the test of minimality rejects."""


def changed(true: list[Tensor], exists: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A true circuit as it is and all but it, with idle edges, and less necessary ones."""
    own = true[0]
    yield "true", own
    yield "all but", exists & ~own
    idle = exists & ~torch.stack(true).any(0)
    needed = torch.stack(true).all(0)
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        for word, among in (("idle", idle), ("less", needed)):
            order = rng.permutation(among.nonzero().numpy())
            for n in CHANGES:
                if n <= len(order) and (word == "idle" or n < int(own.sum())):
                    kept = own.clone()
                    kept[tuple(order[:n].T)] = word == "idle"
                    yield f"{word} {n}", kept


class Trial:
    """A program under an ablation: true and changed circuits, and random ones of their sizes."""

    def __init__(self, program: str, ablation: AblationName) -> None:
        study = Study(f"tracr:{program}", ablation=ablation, n_evaluation=PROMPTS)
        self.measure, graph = study.data.measure, study.graph
        true = list(load_program(get_program(program)).truth(ablation).circuits)
        kinds = enumerate(changed(true, graph.exists))
        self.circuits = {f"{kind} {i}": Circuit(graph, kept) for i, (kind, kept) in kinds}
        self.sizes = {len(c) for name, c in self.circuits.items() if name.startswith(("true", "less"))}
        self.true_size = int(true[0].sum())
        for size in self.sizes:
            for seed in range(2 * DRAWS if size == self.true_size else DRAWS):
                kept = connected(graph, size, torch.Generator().manual_seed(seed)) > 0
                self.circuits[f"random {size} {seed}"] = Circuit(graph, kept)
        runs = self.circuits | {
            f"not {name}": circuit.complement() for name, circuit in self.circuits.items()
        }
        reference = study.reference(ablation)
        self.raw = study.outputs(runs, reference=reference)
        asked = {name: c for name, c in self.circuits.items() if name.startswith(("true", "idle"))}
        self.knocked = knock_out(
            study.model, study.data.evaluation.batches, self.raw, asked, reference, self.measure
        )
        self.distances = {name: self._distances(name) for name in self.circuits}

    def outcomes(self) -> Iterator[Outcome]:
        """Of random circuits of the true size, those that no other is read beside."""
        for name, circuit in self.circuits.items():
            if name.startswith("random"):
                if int(name.rsplit(" ", 1)[1]) >= DRAWS:
                    yield Outcome("random", self.beside(name))
                continue
            knocked = self.knocked.get(name)
            said = columns_of(self.raw, name, f"not {name}", self.measure, knocked, len(circuit))
            p = {test: float(said.get(f"p_{test}", np.nan)) for test in ALONE}
            if len(circuit) in self.sizes:
                p |= self.beside(name)
            unneeded = 0.0 if knocked is None else float(said["unneeded_share"]) * len(circuit)
            yield Outcome(name.rsplit(" ", 1)[0], p, unneeded)

    def beside(self, name: str) -> dict[str, float]:
        size = len(self.circuits[name])
        drawn = np.array([self.distances[f"random {size} {i}"] for i in range(DRAWS)])
        own = self.distances[name]
        return {test: beside_random(own[i], drawn[:, i]).p for i, test in enumerate(BESIDE)}

    def _distances(self, name: str) -> tuple[float, float]:
        """Of the circuit to the model, and of its complement to the empty circuit."""
        scores = score(self.raw, name, f"not {name}", self.measure)
        away = scores["kl"] if "kl" in scores else scores["squared_error"]
        return away, abs(1 - scores["complement_loss"])


@cache
def outcomes() -> list[Outcome]:
    return [each for name in PROGRAMS for ablation in ABLATIONS for each in Trial(name, ablation).outcomes()]


def rejected(test: str, kind: str) -> float:
    """The share of circuits of a kind that have a p below 5 %."""
    p = np.array([each.p[test] for each in outcomes() if each.kind == kind and test in each.p])
    scored = p[~np.isnan(p)]
    share = float((scored < 0.05).mean())
    print(f"{test}, {kind}: p below 5 % in {100 * share:.0f} % of {len(scored)} circuits, {len(p)} asked")
    return share


@pytest.mark.parametrize("test", ["equivalence", "independence", "minimality"])
def test_true_circuits_are_seldom_rejected(test: str) -> None:
    assert rejected(test, "true") <= 0.1


@pytest.mark.parametrize("n", CHANGES)
def test_idle_edges_are_found(n: int) -> None:
    """And no other edge is."""
    assert rejected("minimality", f"idle {n}") > 0.9
    exact = np.mean([round(each.unneeded, 6) == n for each in outcomes() if each.kind == f"idle {n}"])
    print(f"minimality, idle {n}: just these are rejected in {100 * exact:.0f} % of circuits")
    assert exact > 0.85


@pytest.mark.parametrize("n", CHANGES)
def test_a_lack_of_necessary_edges_is_found(n: int) -> None:
    """By equivalence. Independence has nothing to find: with those edges the complement says nothing yet."""
    assert rejected("equivalence", f"less {n}") > 0.8
    assert rejected("independence", f"less {n}") < 0.4


def test_a_complement_that_says_all_is_found() -> None:
    """The circuit of all edges but the true ones: its complement is the true circuit."""
    assert rejected("independence", "all but") > 0.8
    assert rejected("equivalence", "all but") > 0.8


def test_random_circuits_are_no_better_than_random_ones() -> None:
    for test in BESIDE:
        assert rejected(test, "random") <= 0.05


def test_true_circuits_are_sufficient_and_others_less_often() -> None:
    shares = [rejected("sufficiency", kind) for kind in ("true", *(f"less {n}" for n in CHANGES))]
    assert shares[0] > 0.9
    assert max(shares[1:]) < 0.5


def test_partial_necessity_finds_little_in_programs() -> None:
    """As many random edges, removed, break a program as well: true circuits do not stand out."""
    assert rejected("necessity", "true") < 0.1
    for n in CHANGES:
        rejected("necessity", f"less {n}")
