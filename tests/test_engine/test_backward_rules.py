"""Backward rules: held to detached terms in a slow decoder, and to what they conserve."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import Tensor

from bench.engine.architecture import Architecture
from bench.engine.masked_model import MaskedModel
from decoders import FAMILIES, Case, case_of, mask_gradient
from methods.rules.gradient_rules import ATTN_LRP, GIM, RELP, GradientRules
from naive_rules import RuledDecoder
from tiny_models import close, less, loss

RULES = {
    "gim": GIM,
    "relp": RELP,
    "relp_frozen": replace(RELP, softmax="frozen"),
    "attn_lrp": ATTN_LRP,
    "gated": GradientRules(gated=0.3),
    "attended": GradientRules(attended=0.7),
    "temperature": GradientRules(softmax=3.0),
}


def by(rules: GradientRules, model: MaskedModel) -> MaskedModel:
    return MaskedModel(replace(model.architecture, rules=rules), model.weights)


@pytest.fixture(params=RULES)
def rules(request: pytest.FixtureRequest) -> GradientRules:
    return RULES[request.param]


@pytest.fixture(params=["gpt2", "llama_bias", "qwen3", "gemma2", "neox", "phi"])
def subject(request: pytest.FixtureRequest, exact: None) -> Case:
    """LayerNorms and RMSNorms, gates, QK norms, soft caps, norms of outputs, parallel blocks."""
    return case_of(request.param)


def slow(case: Case, rules: GradientRules, reference: Tensor | None) -> Tensor:
    decoder = RuledDecoder(case.hf, case.model.graph)
    with decoder.ruled(rules):
        return mask_gradient(decoder.masked, case.clean, case.ones(), reference)


def test_edge_gradients_are_the_slow_references(subject: Case, rules: GradientRules) -> None:
    """Tapped, in a masked run, and where that computes its blocks anew."""
    reference = subject.reference("resample")
    expected, model = slow(subject, rules, reference), by(rules, subject.model)
    close(model.edge_gradients(subject.clean, loss, less(reference)), expected)
    for kept in (2**31, 0):
        model.keep_bytes = kept
        close(mask_gradient(model.run, subject.clean, subject.ones(), reference), expected)


def test_no_rule_changes_a_forward(subject: Case, rules: GradientRules) -> None:
    model = by(rules, subject.model)
    close(model.run(subject.clean), subject.model.run(subject.clean))
    mask, reference = subject.mask(), subject.reference("resample")
    close(model.run(subject.clean, mask, reference), subject.run(mask, reference))


def test_each_rule_tells_on_what_it_is_for(exact: None) -> None:
    """On Gemma-2, which has everything that there is a rule for, every rule changes the edges' gradients."""
    case = case_of("gemma2")
    plain = case.model.edge_gradients(case.clean, loss, lambda z: z)
    for name in ("frozen_norms", "secant"):
        ruled = by(GradientRules(**{name: True}), case.model).edge_gradients(case.clean, loss, lambda z: z)
        assert (ruled - plain).norm() > 1e-3 * plain.norm(), name
    for each in (GradientRules(gated=0.5), GradientRules(attended=0.5), GradientRules(softmax=2.0)):
        ruled = by(each, case.model).edge_gradients(case.clean, loss, lambda z: z)
        assert (ruled - plain).norm() > 1e-3 * plain.norm(), each


@pytest.mark.parametrize("family", FAMILIES)
def test_no_rules_are_gradients(family: str, exact: None) -> None:
    """Rules that say nothing, on the path that asks them."""
    case = case_of(family)
    asked = GradientRules(softmax=1.0, attended=1 - 1e-15, gated=1 - 1e-15)
    expected = case.model.edge_gradients(case.clean, loss, lambda z: z)
    close(by(asked, case.model).edge_gradients(case.clean, loss, lambda z: z), expected)


# ---- conservation: relevance, an input times what comes back to it, is neither made nor lost


def without_biases(model: MaskedModel) -> MaskedModel:
    biases = (".b_in", ".b_out", ".b_O", ".b_QKV", ".b_U", ".b_gate", "norm.b")
    return MaskedModel(
        model.architecture, {n: w * 0 if n.endswith(biases) else w for n, w in model.weights.items()}
    )


def relevance(model: MaskedModel, case: Case) -> tuple[Tensor, Tensor]:
    """Of every edge, and the sum of the logits that it is about."""
    plain = less(None)  # z itself
    return model.edge_gradients(case.clean, summed, plain), summed(model.run(case.clean))


def summed(logits: Tensor) -> Tensor:
    return logits[:, -1, 3].sum()


@pytest.fixture(params=["gpt2", "llama", "qwen3", "gemma2", "neox"])
def unbiased(request: pytest.FixtureRequest, exact: None) -> Case:
    case = case_of(request.param)
    return replace(case, model=without_biases(case.model))


def test_relp_conserves_relevance(unbiased: Case) -> None:
    """Its pattern frozen: what the embedding sends is the logit, what a node's inputs have its output has."""
    model = by(RULES["relp_frozen"], unbiased.model)
    of_edges, logit = relevance(model, unbiased)
    graph = model.graph
    close(of_edges[-1].sum(), logit)
    close(of_edges[:, : graph.n_embed].sum(), logit)
    for owned in inputs_of_nodes(model.architecture, of_edges):
        close(*owned)
    gradient, _ = relevance(unbiased.model, unbiased)
    assert abs(float(gradient[:, : graph.n_embed].sum() - logit)) > 0.01 * abs(float(logit))


def test_attn_lrp_conserves_relevance(unbiased: Case) -> None:
    """Half of a head's relevance is its values'; queries and keys have as much of the rest as each other."""
    model = by(ATTN_LRP, unbiased.model)
    of_edges, logit = relevance(model, unbiased)
    close(of_edges[-1].sum(), logit)
    arch, graph = model.architecture, model.graph
    for layer in range(arch.n_layers):
        rows, heads = graph.attention_rows(layer), graph.head_columns(layer)
        q, k, v = of_edges[rows].sum(1).split([arch.n_heads, arch.n_kv_heads, arch.n_kv_heads])
        close(v.sum(), of_edges[:, heads].sum() / 2)
        close(q.sum(), k.sum())
        close(of_edges[rows.stop].sum(), of_edges[:, heads.stop].sum())


def inputs_of_nodes(arch: Architecture, of_edges: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Per layer: what its values read and what its heads wrote, what its MLP read and wrote."""
    graph, pairs = arch.graph(), []
    for layer in range(arch.n_layers):
        rows, heads = graph.attention_rows(layer), graph.head_columns(layer)
        values = of_edges[rows.start + arch.n_heads + arch.n_kv_heads : rows.stop]
        pairs.append((values.sum(), of_edges[:, heads].sum()))
        pairs.append((of_edges[rows.stop].sum(), of_edges[:, heads.stop].sum()))
    return pairs
