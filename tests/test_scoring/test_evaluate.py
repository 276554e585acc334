"""Circuits are evaluated example by example: neither batches nor padding show."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from bench.conformance.prompts import batches_of, ragged_examples
from bench.engine.ablation import ABLATIONS, AblationName, make_reference
from bench.engine.circuit import Circuit
from bench.engine.masked_model import MaskedModel
from bench.scoring.evaluate import RawOutputs, run_circuits, score
from bench.scoring.measures import MEASURES
from bench.scoring.metrics import Outputs, kl_candidates
from tiny_models import TRACR, close, random_model, seeded


@pytest.mark.parametrize("kind", ["causal", "both ways"])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_outputs_hang_neither_on_batches_nor_on_padding(
    tiny: MaskedModel, kind: str, ablation: AblationName
) -> None:
    """Three examples at a time, padded to the longest, and one by one, without padding."""
    model = tiny if kind == "causal" else random_model(TRACR)
    examples = ragged_examples(7, model.architecture.d_vocab, candidates=3)
    uniform = torch.rand(model.graph.exists.shape, generator=seeded("circuit"))
    masks = {n: torch.rand(s, generator=seeded(n)) < 0.8 for n, s in model.matrices.items()}
    circuits = {"edges": Circuit(model.graph, model.graph.exists & (uniform < 0.6))}
    circuits["weights"] = Circuit(model.graph, circuits["edges"].kept, masks)
    circuits["rest"] = circuits["weights"].complement()

    def outputs(per_batch: int) -> RawOutputs:
        batches = batches_of(model, examples, per_batch)
        reference = make_reference(model, ablation, batches, one_length=False)
        return run_circuits(model, batches, torch.as_tensor(examples.template), circuits, reference)

    together, alone = outputs(3), outputs(1)
    assert together.answers.candidates.equal(torch.as_tensor(examples.candidates))
    assert together.answers.correct.equal(torch.as_tensor(examples.correct))
    assert together.runs.keys() == {"full", "empty", "ones", *circuits}
    for name, run in together.runs.items():
        for field in fields(Outputs):
            close(getattr(run, field.name), getattr(alone.runs[name], field.name))


@pytest.mark.parametrize(
    ("dtype", "least", "most"), [(torch.bfloat16, 1e-7, 1e-2), (torch.float64, 0, 1e-12)]
)
def test_the_mask_of_ones_shows_the_noise_floor(
    tiny: MaskedModel, dtype: torch.dtype, least: float, most: float
) -> None:
    """It is run as a mask, where a circuit of all edges is taken for the full model."""
    model = tiny.to(dtype=dtype)
    batches = batches_of(model, ragged_examples(12, model.architecture.d_vocab), 4)
    whole = {"whole": Circuit.full(model.graph)}
    reference = make_reference(model, "resample", batches, one_length=False)
    runs = run_circuits(model, batches, torch.zeros(12, dtype=torch.long), whole, reference).runs
    assert runs["full"].kl.abs().max() == runs["whole"].kl.abs().max() == 0
    noise = runs["ones"].kl
    assert least <= noise.mean() < most
    assert noise.min() >= 0, "of rounding as well"
    assert kl_candidates(runs["full"], runs["ones"]).min() >= 0


def test_what_is_the_model_but_for_rounding_recovers_all(tiny: MaskedModel) -> None:
    """Its KL was -1e-17, whose logarithm is none; raw outputs of then are read as 0."""
    model = tiny.to(dtype=torch.float64)
    batches = batches_of(model, ragged_examples(12, model.architecture.d_vocab), 4)
    reference = make_reference(model, "resample", batches, one_length=False)
    raw = run_circuits(model, batches, torch.zeros(12, dtype=torch.long), {}, reference)
    for below in (0.0, -1e-17):
        tensors = raw.tensors()
        tensors["outputs.ones.kl"] = torch.full_like(tensors["outputs.ones.kl"], below)
        scores = score(RawOutputs.from_tensors(tensors), "ones", None, MEASURES["logit_diff"])
        assert (scores["kl"], scores["recovered"]) == (0, 1)
        assert (scores["recovered_low"], scores["recovered_high"]) == (1, 1)
