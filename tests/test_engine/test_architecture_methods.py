"""Methods on graphs with grouped heads, parallel blocks, QK norm and coupled heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.discovery.discover import cut, discover
from bench.engine.graph import edges_of_share
from bench.names import get_method
from decoders import Case, case_of
from methods.base import find_methods
from methods.eap import EAP
from methods.eap_ig import EAPIG
from problems import BRIEF, problem
from tiny_models import close


@pytest.fixture(params=["llama", "neox", "qwen3", "gemma2"])
def subject(request: pytest.FixtureRequest, exact: None) -> Case:
    """One of each kind: grouped, parallel, with QK norm, with coupled heads."""
    return case_of(request.param)


@pytest.mark.parametrize("ablation", ["resample", "zero"])
def test_eap_is_minus_the_slow_mask_gradient(subject: Case, ablation: Any) -> None:
    """(reference - clean) . gradient, contracted by a loop that knows nothing of taps."""
    p = problem(subject.model, ablation)
    (batch,) = p.batches
    reference = subject.naive.senders(batch.corrupted).detach() if ablation == "resample" else None
    mask = subject.ones().requires_grad_()
    logits = subject.naive.masked(batch.clean, mask, reference)[batch.examples, batch.positions]
    right, wrong = logits.gather(1, batch.candidates).T
    (gradient,) = torch.autograd.grad((wrong - right).sum() / p.n_examples, mask)
    found = EAP(absolute=False).discover(p).scores
    assert found is not None
    close(found, -gradient)
    one_step = EAPIG(steps=1, absolute=False, objective="difference").discover(p).scores
    assert one_step is not None
    close(one_step, found)


@pytest.mark.parametrize("method", find_methods()[0])
def test_methods_run_and_their_circuits_have_the_sizes_wanted(subject: Case, method: str) -> None:
    """On each kind of graph; every edge of a random circuit lies on a path from input to logits."""
    graph = subject.model.graph
    sizes = (0.1, 0.3, 0.7)
    p = problem(subject.model, sizes=sizes)
    found, _ = discover(get_method(BRIEF.get(method, method)), p)
    if found.scores is not None:
        assert found.scores[graph.exists].isfinite().all()
    circuits = cut(graph, found, sizes)
    (batch,) = p.batches
    for size, circuit in circuits.items():
        wanted = edges_of_share(graph.n_edges, size)
        if "threshold" in found.trace:  # counts jump from threshold to threshold
            assert len(circuit) <= wanted
            assert len(circuit) or size < max(sizes)
        elif found.scores is not None or method == "random_edges":
            assert len(circuit) == wanted
        if method == "random_edges":
            assert circuit.effective("resample") == circuit
        edges = circuit.kept.double()
        expected = subject.naive.masked(batch.clean, edges, subject.naive.senders(batch.corrupted))
        close(p.run(batch, edges), expected[batch.examples, batch.positions])
