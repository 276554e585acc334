"""Nothing mixes devices: all that a GPU would run is run on a device that only pretends to be one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from bench.conformance.prompts import batches_of, ragged_examples
from bench.discovery.checked import as_discovery
from bench.discovery.discover import cut, seed_generators
from bench.discovery.problem import BenchProblem
from bench.engine.ablation import ABLATIONS, AblationName, make_reference
from bench.engine.circuit import Circuit
from bench.engine.incremental import IncrementalRun
from bench.engine.masked_model import MaskedModel
from bench.names import as_method
from bench.scoring.evaluate import run_circuits
from bench.scoring.measures import MEASURES
from golden_cases import models
from methods.base import Discovery, Objective, find_methods
from methods.training.precision import widest
from pretend_device import DEVICE, pretended
from problems import BRIEF
from tiny_models import seeded

MODELS = ("gpt2", "llama", "neox", "gemma2", "compiled")
EXACT = ("acdc", "acdc_screened", "acdc_shuffled", "eap", "eap_ig", "random_edges")
"""Methods that find the same on either device, whose numbers come of one CPU's kernels."""


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> MaskedModel:
    """Every shape, in float32."""
    return models()[request.param].to(dtype=torch.float32)


@pytest.fixture
def device() -> Iterator[torch.device]:
    with pretended() as named:
        yield named


def task(
    model: MaskedModel, ablation: AblationName = "resample", measure: str = "logit_diff"
) -> BenchProblem:
    """Prompts of several lengths in two batches."""
    batches = batches_of(model, ragged_examples(6, model.architecture.d_vocab), 4)
    return BenchProblem(
        model, batches, MEASURES[measure], lambda each: make_reference(model, ablation, each, False),
        (0.1, 0.5), 0,
    )  # fmt: skip


def soft(model: MaskedModel) -> Tensor:
    return torch.rand(model.graph.exists.shape, generator=seeded("mask"))


def same(there: Tensor, here: Tensor) -> None:
    """Alike but for the order of sums: float32, beside the largest number."""
    assert there.device == DEVICE
    torch.testing.assert_close(there.cpu(), here, rtol=1e-4, atol=1e-6 * max(1.0, float(here.abs().max())))


def brought(found: Discovery) -> Discovery:
    """On the CPU, as `as_discovery` would bring it, were it a plain tensor."""
    names = ("scores", "unaided", "edges", "weights")
    here: Any = tree_map(
        lambda each: each.cpu() if isinstance(each, Tensor) else each,
        {name: getattr(found, name) for name in names},
    )
    return replace(found, **here)


def test_the_device_refuses_to_mix(device: torch.device) -> None:
    here = torch.arange(3.0)
    there = here.to(device)
    assert (there * 2 + torch.tensor(1.0)).tolist() == [1.0, 3.0, 5.0]
    assert there[torch.tensor([2])].cpu().tolist() == [2.0]
    assert there.sum().item() == 3.0
    mixtures: list[Callable[[], object]] = [
        lambda: there + here,
        lambda: here[there.long()],
        lambda: torch.stack([here, there]),
    ]
    for mixed in mixtures:
        with pytest.raises(RuntimeError, match="on meta and on cpu"):
            mixed()
    with pytest.raises(RuntimeError, match="another device"):
        torch.rand(3, device=device, generator=torch.Generator())
    with pytest.raises(TypeError, match="float64"):
        there.double()
    with pytest.raises(RuntimeError):
        there.numpy()
    assert widest(device) == torch.float32
    assert widest(torch.device("cpu")) == torch.float64


@pytest.mark.parametrize("keep_bytes", [2**31, 0], ids=["kept", "anew"])
def test_runs_and_gradients(model: MaskedModel, device: torch.device, keep_bytes: int) -> None:
    shapes = model.maskable
    found: list[list[Tensor]] = []
    for each in (model, model.to(device)):
        each.keep_bytes = keep_bytes
        p = task(each)
        (batch, _) = p.batches
        weights = {
            n: torch.rand(s, generator=seeded(n)).to(p.device).requires_grad_() for n, s in shapes.items()
        }
        edges = soft(each).to(p.device).requires_grad_()
        with torch.no_grad():
            found.append([p.run(batch, edges), p.run(batch, (edges > 0.7).float()), p.senders(batch)])
        for masks in ({}, weights):
            logits = p.run(batch, edges, masks)
            found[-1] += torch.autograd.grad(logits.logsumexp(-1).sum(), [edges, *masks.values()])
    assert len(found[0]) == 5 + len(shapes)
    for here, there in zip(*found, strict=True):
        same(there, here)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("objective", ["kl", "difference"])
def test_objectives(model: MaskedModel, device: torch.device, measure: str, objective: Objective) -> None:
    found: list[list[Tensor]] = []
    for each in (model, model.to(device)):
        p = task(each, "mean", measure)
        (batch, _) = p.batches
        kept = (soft(each) > 0.3) & each.graph.exists
        found.append([p.loss(objective, p.run(batch, soft(each).to(p.device)), batch)])
        found[-1].append(p.edge_gradients(batch, objective))
        found[-1].append(p.losses_without(objective, batch, kept, len(kept) - 1, [2, 1]))
    for here, there in zip(*found, strict=True):
        same(there, here)


def test_incremental_runs(model: MaskedModel, device: torch.device) -> None:
    found: list[list[Tensor]] = []
    for each in (model, model.to(device)):
        p = task(each)
        (batch, _) = p.batches
        kept = (soft(each) > 0.2) & each.graph.exists
        run = IncrementalRun(
            each, batch.clean, kept, p.reference(batch), (batch.examples, batch.positions), batch.lengths
        )
        found.append([])
        for row in (len(kept) - 1, len(kept) // 2, 1):
            columns = kept[row].nonzero()[:2, 0].tolist()
            found[-1].append(run.without(row, columns))
            kept[row, columns] = False
            assert run.shrink(kept)
        assert run.nbytes > 0
    for here, there in zip(*found, strict=True):
        same(there, here)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_evaluation(model: MaskedModel, device: torch.device, ablation: AblationName) -> None:
    raws = []
    for each in (model, model.to(device)):
        p = task(each)
        masks = {n: torch.rand(s, generator=seeded(n)) < 0.9 for n, s in each.matrices.items()}
        half = Circuit(each.graph, (soft(each) < 0.5) & each.graph.exists, masks)
        reference = make_reference(each, ablation, p.batches, False)
        raws.append(
            run_circuits(each, p.batches, torch.zeros(6, dtype=torch.long), {"half": half}, reference)
        )
    here, there = (raw.tensors() for raw in raws)
    assert here.keys() == there.keys()
    for name, tensor in here.items():
        torch.testing.assert_close(there[name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(find_methods()[0]))
def test_every_method(device: torch.device, name: str) -> None:
    found = []
    for place in ("cpu", device):
        p = task(models()["gpt2"].to(place, torch.float32))
        seed_generators(0)
        discovery = brought(as_method(BRIEF.get(name, name)).discover(p))
        found.append(as_discovery(discovery, p.model.graph, p.weights, p.sizes))
        assert set(cut(p.model.graph, found[-1], p.sizes)) == set(p.sizes)
    here, there = found
    assert here.edges.keys() == there.edges.keys()
    if name in EXACT:
        assert all(torch.equal(kept, there.edges[size]) for size, kept in here.edges.items())
        if here.scores is not None and there.scores is not None:
            torch.testing.assert_close(there.scores, here.scores, rtol=1e-4, atol=1e-6)
