"""The numbers that must not move without a bump of NUMERICS: what is computed, and the file they stand in."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.circuit import Circuit
from bench.discover import cut
from bench.evaluate import run_circuits, score
from bench.experiment import NUMERICS
from bench.models.bridge import masked_model
from bench.problem import make_batches, make_reference
from bridge_oracle import tiny_gpt2
from methods.eap_ig import EAPIG
from methods.random_edges import RandomEdges
from problems import problem, random_examples

FILE = Path(__file__).parent / "golden.json"
SIZES = (0.05, 0.2)


def compute() -> dict[str, object]:
    """Scores of circuits of a tiny random model under each ablation, in float64."""
    model = masked_model(tiny_gpt2())
    discovery, evaluation = (random_examples(n=12, vocab=50, seed=seed) for seed in (0, 1))
    batches = make_batches(model, evaluation)
    numbers: dict[str, object] = {"numerics": NUMERICS}
    for ablation in ("resample", "zero", "mean"):
        for method in (
            EAPIG(steps=3, objective="difference"),
            EAPIG(steps=2, selection="greedy", absolute=False, objective="difference"),
            RandomEdges(),
        ):
            p = problem(model, ablation, SIZES, examples=discovery)  # type: ignore[arg-type]
            circuits = cut(model.graph, method.discover(p), SIZES)
            runs: dict[str, Circuit] = {f"{size}": circuit for size, circuit in circuits.items()}
            runs |= {f"not {size}": circuit.complement() for size, circuit in circuits.items()}
            reference = make_reference(model, ablation, p.batches, one_length=True)  # type: ignore[arg-type]
            raw = run_circuits(model, batches, torch.as_tensor(evaluation.template), runs, reference)
            for size in circuits:
                numbers[f"{ablation} {method} {size}"] = score(raw, f"{size}", f"not {size}", "logit_diff")
    return numbers
