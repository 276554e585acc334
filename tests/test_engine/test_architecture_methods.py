"""Methods on graphs with grouped heads, parallel blocks, QK norm and coupled heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.discovery.discover import cut, discover
from bench.engine.graph import edges_of_share
from bench.names import get_method
from decoders import Case, case_of
from methods.attn_lrp import AttnLRP
from methods.base import find_methods
from methods.eap import EAP
from methods.eap_ig import EAPIG
from methods.gim import GIM
from methods.relp import RelP
from naive_rules import RuledDecoder
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


@pytest.mark.parametrize(
    "method",
    [
        GIM(absolute=False),
        RelP(absolute=False),
        RelP(absolute=False, softmax="frozen"),
        AttnLRP(absolute=False),
    ],
)
def test_methods_of_rules_are_minus_the_slow_mask_gradient(subject: Case, method: EAP) -> None:
    """(reference - clean) . what detached terms leave of the gradient."""
    p = problem(subject.model)
    (batch,) = p.batches
    rules = method.rules()
    assert rules is not None
    reference = subject.naive.senders(batch.corrupted).detach()
    mask, decoder = subject.ones().requires_grad_(), RuledDecoder(subject.hf, subject.model.graph)
    with decoder.ruled(rules):
        logits = decoder.masked(batch.clean, mask, reference)[batch.examples, batch.positions]
        right, wrong = logits.gather(1, batch.candidates).T
        (gradient,) = torch.autograd.grad((wrong - right).sum() / p.n_examples, mask)
    found = method.discover(p).scores
    assert found is not None
    close(found, -gradient)
    plain = EAP(absolute=False).discover(problem(subject.model)).scores
    assert plain is not None
    assert (found - plain).norm() > 0.01 * plain.norm()


def test_a_gate_that_is_not_there_is_said(subject: Case) -> None:
    """A rule is declined where the model has no such part; where it has, and by default, it is not."""
    said = GIM(gated=0.4).skip(problem(subject.model))
    gated = subject.model.architecture.gated
    assert said == (None if gated else "the MLPs of this model have no gate: leave gated out")
    assert GIM().skip(problem(subject.model)) is None


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
