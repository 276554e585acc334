"""Every carried architecture, tiny and random, held to Hugging Face and to two slow references.

`naive_decoder.py` masks all of them, `bridge_oracle.py` those whose edges bridge has hooks for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Conv1D,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

import bench.models
from bench import blocks
from bench.circuit import Circuit
from bench.discover import cut, discover
from bench.errors import ModelError
from bench.masked_model import MaskedModel
from bench.models.bridge import masked_model
from bench.models.load import load_model
from bench.names import get_method
from bench.select import edges_of_share
from bridge_oracle import BridgeOracle
from decoders import FAMILIES, GROUPED, decoder
from methods.base import find_methods
from methods.eap import EAP
from methods.eap_ig import EAPIG
from naive_decoder import NaiveDecoder, in_float64
from problems import problem
from tiny_models import close, loss

HOOKED = [name for name in FAMILIES if not name.startswith(("gemma2", "phi"))]
"""The families of which bridge can replace every receiver's input."""
REFERENCES = ["resample", "zero", "mean"]


@dataclass
class Case:
    """One decoder as Hugging Face, as MaskedModel and as slow reference, with two sets of prompts."""

    hf: PreTrainedModel
    model: MaskedModel
    naive: NaiveDecoder
    clean: Tensor
    corrupted: Tensor

    def reference(self, kind: str) -> Tensor | None:
        """What a removed edge carries; from the slow reference."""
        if kind == "zero":
            return None
        with torch.no_grad():
            senders = self.naive.senders(self.corrupted)
        return senders.mean((1, 2), keepdim=True) if kind == "mean" else senders

    def mask(self, density: float | None = None, seed: int = 0) -> Tensor:
        """Uniform in [0, 1]; with a density, ones and zeros, and half of the senders without a reader."""
        generator = torch.Generator().manual_seed(seed)
        soft = torch.rand(self.model.graph.exists.shape, generator=generator, dtype=torch.float64)
        if density is None:
            return soft
        heard = torch.rand(soft.shape[1], generator=generator) < 0.5
        return ((soft < density) & heard).double()

    def ones(self) -> Tensor:
        return torch.ones(self.model.graph.exists.shape, dtype=torch.float64)

    def run(self, mask: Tensor, reference: Tensor | None, differentiable: bool = False) -> Tensor:
        with torch.set_grad_enabled(differentiable):
            leaf = mask.clone().requires_grad_(differentiable)
            return self.model.run(self.clean, leaf, reference).detach()


@cache
def case_of(family: str) -> Case:
    hf = FAMILIES[family]()
    model = masked_model(hf)
    clean, corrupted = torch.randint(0, 50, (2, 3, 7), generator=torch.Generator().manual_seed(2))
    return Case(hf, model, NaiveDecoder(hf, model.graph), clean, corrupted)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """References compute in float64 throughout."""
    in_float64(monkeypatch)


@pytest.fixture(params=FAMILIES)
def case(request: pytest.FixtureRequest, exact: None) -> Case:
    """Each family in turn."""
    return case_of(request.param)


def mask_gradient(run: Callable[[Tensor, Tensor, Tensor | None], Tensor], tokens: Tensor, mask: Tensor,
                  reference: Tensor | None) -> Tensor:  # fmt: skip
    leaf = mask.clone().requires_grad_()
    return torch.autograd.grad(loss(run(tokens, leaf, reference)), leaf)[0]


# ---- the full model


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_hugging_faces(family: str) -> None:
    """As it comes; what differs is its float32 in RMSNorms, in eager softmaxes and nowhere else."""
    case = case_of(family)
    close(case.model.run(case.clean), case.hf(case.clean).logits, 1e-5)


def test_logits_are_hugging_faces_in_float64(case: Case) -> None:
    """All through, and at the longest prompt too."""
    for tokens in (case.clean, torch.arange(case.model.architecture.n_ctx)[None]):
        close(case.model.run(tokens), case.hf(tokens).logits)


def test_padding_on_the_right_is_never_read(case: Case) -> None:
    """Hugging Face, told of the padding, says the same of what comes before."""
    lengths = torch.tensor([7, 4, 6])
    inside = torch.arange(7) < lengths[:, None]
    padded = torch.where(inside, case.clean, 0)
    expected = case.hf(padded, attention_mask=inside.long()).logits[inside]
    for tokens in (padded, case.clean):
        close(case.model.run(tokens, lengths=lengths)[inside], expected)
    soft, reference = case.mask(), case.reference("resample")
    close(case.model.run(padded, soft, reference)[inside], case.run(soft, reference)[inside])


def test_every_matrix_is_counted(case: Case) -> None:
    """`matrices` has as many entries as the layers' linear maps."""
    linear = (nn.Linear, Conv1D)
    unembed = case.hf.get_output_embeddings()
    maps = [m for m in case.hf.modules() if isinstance(m, linear) and m is not unembed]
    assert sum(shape.numel() for shape in case.model.matrices.values()) == sum(m.weight.numel() for m in maps)


def test_senders_are_the_slow_references(case: Case) -> None:
    """Node by node; together with the biases of attention they are what the final norm reads."""
    senders = case.model.senders(case.clean)
    close(senders, case.naive.senders(case.clean))
    biases = sum(case.model.weights[f"a{i}.b_O"] for i in range(case.model.architecture.n_layers))
    states = case.hf(case.clean, output_hidden_states=True).hidden_states
    close(senders[0], states[0])
    first = senders[: 1 + case.model.graph.n_heads + 1].sum(0) + case.model.weights["a0.b_O"]
    close(first, states[1])
    close(blocks.logits(case.model.architecture, case.model.weights, senders.sum(0) + biases),
          case.hf(case.clean).logits)  # fmt: skip


# ---- masks


def test_all_ones_equals_the_full_model(case: Case) -> None:
    for kind in REFERENCES:
        for differentiable in (False, True):
            logits = case.run(case.ones(), case.reference(kind), differentiable)
            close(logits, case.hf(case.clean).logits)


def test_all_zeros_equals_the_corrupted_run_under_resample(case: Case) -> None:
    for differentiable in (False, True):
        logits = case.run(case.ones() * 0, case.reference("resample"), differentiable)
        close(logits, case.hf(case.corrupted).logits)


@pytest.mark.parametrize("kind", REFERENCES)
def test_soft_masks_and_their_gradients(case: Case, kind: str) -> None:
    """Values and gradients are the slow loop's."""
    mask, reference = case.mask(), case.reference(kind)
    expected = case.naive.masked(case.clean, mask, reference)
    close(case.run(mask, reference), expected)
    close(case.run(mask, reference, differentiable=True), expected)
    close(mask_gradient(case.model.run, case.clean, mask, reference),
          mask_gradient(case.naive.masked, case.clean, mask, reference))  # fmt: skip


def test_blocks_computed_anew_give_the_same(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what the receivers read is not kept for the backward pass."""
    mask, reference = case.mask(), case.reference("resample")
    kept = case.run(mask, reference), mask_gradient(case.model.run, case.clean, mask, reference)
    monkeypatch.setattr(case.model, "keep_bytes", 0)
    close(case.run(mask, reference, differentiable=True), kept[0])
    close(mask_gradient(case.model.run, case.clean, mask, reference), kept[1])


@pytest.mark.parametrize("family", HOOKED)
def test_soft_masks_and_their_gradients_by_bridge(family: str, exact: None) -> None:
    """The same from TransformerBridge hooks, none of them silent."""
    case = case_of(family)
    oracle = BridgeOracle(case.hf, case.model.graph)
    close(case.model.senders(case.clean), oracle.senders(case.clean))
    for kind in ("resample", "zero"):
        mask, reference = case.mask(seed=1), case.reference(kind)
        close(case.run(mask, reference), oracle.masked(case.clean, mask, reference))
        close(mask_gradient(case.model.run, case.clean, mask, reference),
              mask_gradient(oracle.masked, case.clean, mask, reference))  # fmt: skip


@pytest.mark.parametrize("family", ["phi", "phi_grouped"])
def test_bridge_has_no_hook_for_phis_mlp(family: str) -> None:
    """So these are held to the slow loop alone: bridge hooks the norm before an MLP, and here is none."""
    case = case_of(family)
    with pytest.raises(AssertionError, match=r"silent hooks: \['blocks\.0\.hook_mlp_in'"):
        BridgeOracle(case.hf, case.model.graph).senders(case.clean)


@pytest.mark.parametrize("kind", ["resample", "zero"])
def test_sparse_masks(case: Case, kind: str) -> None:
    """A sender whose column is empty is skipped without a gradient; logits stay the slow loop's."""
    reference = case.reference(kind)
    for seed, density in enumerate((0.05, 0.15, 0.3, 0.6, 1.0)):
        mask = case.mask(density, seed)
        expected = case.naive.masked(case.clean, mask, reference)
        close(case.run(mask, reference), expected)
        close(case.run(mask, reference, differentiable=True), expected)


def test_every_single_edge(case: Case) -> None:
    """Each mask of one edge, and of all but one sender's: skipping changes nothing."""
    reference = case.reference("resample")
    for row, column in case.model.graph.exists.nonzero()[::5].tolist():
        mask = case.ones() * 0
        mask[row, column] = 1.0
        close(case.run(mask, reference), case.run(mask, reference, differentiable=True))
    for column in range(len(case.model.graph.senders)):
        mask = case.ones()
        mask[:, column] = 0.0
        close(case.run(mask, reference), case.run(mask, reference, differentiable=True))


def test_edge_gradients_are_those_of_the_mask_at_all_ones(case: Case) -> None:
    """Towards z - ref, for each ablation."""
    for kind in REFERENCES:
        reference = case.reference(kind)
        towards = 0.0 if reference is None else reference
        gradients = case.model.edge_gradients(case.clean, loss, lambda z, ref=towards: z - ref)
        close(gradients, mask_gradient(case.naive.masked, case.clean, case.ones(), reference))


def test_edge_gradients_elsewhere(case: Case) -> None:
    """At other embeddings than the prompt's, the full gradient is a run's from there."""
    model = case.model
    inputs = 0.3 * model.embed(case.clean) + 0.7 * model.embed(case.corrupted)
    at_prompt = model.edge_gradients(case.clean, loss, lambda z: z, model.embed(case.clean))
    close(at_prompt, model.edge_gradients(case.clean, loss, lambda z: z))
    seen: list[Tensor] = []

    def towards(senders: Tensor) -> Tensor:
        seen.append(senders.clone())
        return senders

    assert not torch.allclose(model.edge_gradients(case.clean, loss, towards, inputs), at_prompt)
    close(seen[0][:1], inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(case.naive, "_embed", lambda tokens: inputs[0])
        close(seen[0], case.naive.senders(case.clean))


@pytest.mark.parametrize("family", ["gemma2", "llama_bias", "qwen3", "neox", "phi"])
def test_weight_masks(family: str, exact: None) -> None:
    """Masking a weight is running the model whose weight was multiplied, and gives it a gradient."""
    case = case_of(family)
    edges, reference = case.mask(), case.reference("resample")
    for weight in [n for n in case.model.weights if n.startswith(("a1.", "m1.", "logits."))]:
        value = case.model.weights[weight]
        mask = torch.rand(value.shape, dtype=value.dtype, generator=torch.Generator().manual_seed(3))
        leaf = mask.clone().requires_grad_()
        logits = case.model.run(case.clean, edges, reference, {weight: leaf})
        multiplied = MaskedModel(case.model.architecture, case.model.weights | {weight: value * mask})
        close(logits, multiplied.run(case.clean, edges, reference))
        (gradient,) = torch.autograd.grad(loss(logits), leaf)
        assert bool(gradient.any()) == bool(value.any()), weight


# ---- circuits


@pytest.mark.parametrize("family", ["gemma2", "llama", "neox", "phi_grouped"])
def test_the_effective_circuit_computes_the_same(family: str, exact: None) -> None:
    """Where heads share a post-norm, or KV heads, or read what the MLP reads; and it is smaller."""
    case = case_of(family)
    graph = case.model.graph
    removed = 0
    for seed in range(12):
        density = (0.05, 0.15, 0.3, 0.6)[seed % 4]
        circuit = Circuit(graph, (case.mask(density, seed) > 0) & graph.exists)
        for kind in ("resample", "zero", "mean"):
            effective = circuit.effective(kind)
            assert not (effective.kept & ~circuit.kept).any()
            assert effective.effective(kind) == effective
            removed += len(circuit) - len(effective)
            reference = case.reference(kind)
            close(case.run(effective.kept.double(), reference), case.run(circuit.kept.double(), reference))
    assert removed > 50


def test_what_an_edge_is_fed_by_and_leads_to(case: Case) -> None:
    """`owners` says which receivers a sender's output depends on: no fewer, no more."""
    graph, corrupted = case.model.graph, case.reference("resample")
    heads = graph.head_columns(0)
    rows = graph.attention_rows(0)
    for column in range(heads.start, heads.stop):
        base = case.ones() * 0
        base[-1, column] = 1.0  # this head alone is heard, by the logits
        silent = case.run(base, corrupted)
        for row in range(rows.start, rows.stop):
            fed = base.clone()
            fed[row, 0] = 1.0
            matters = not torch.allclose(case.run(fed, corrupted), silent, rtol=0, atol=1e-12)
            assert matters == bool(graph.owners[row, column]), graph.edge_name(row, 0)


def test_gemmas_heads_are_coupled_and_no_others() -> None:
    assert [name for name in FAMILIES if case_of(name).model.graph.coupled_heads] == ["gemma2"]
    assert case_of("gemma2").model.graph.description.endswith("heads=coupled")


# ---- contexts, precisions, senders


WINDOWED = {
    "mistral": partial(decoder, "Mistral", **GROUPED, sliding_window=8),
    "gemma2": partial(decoder, "Gemma2", **GROUPED, head_dim=8, sliding_window=8),
    "qwen2": partial(
        decoder, "Qwen2", **GROUPED, use_sliding_window=True, sliding_window=8, max_window_layers=1
    ),
}


@pytest.mark.parametrize("family", WINDOWED)
def test_a_sliding_window_bounds_the_prompt(family: str, exact: None) -> None:
    """Within it attention is whole and equals Hugging Face's; a longer prompt is refused."""
    hf = WINDOWED[family]()
    model = masked_model(hf)
    assert model.architecture.n_ctx == 8
    tokens = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(4))
    close(model.run(tokens[:, :8]), hf(tokens[:, :8]).logits)
    with pytest.raises(ValueError, match="a prompt of 9 tokens is longer than this model's context of 8"):
        model.run(tokens)


def test_a_window_that_is_off_bounds_nothing() -> None:
    """Qwen's configs name a window and say that it is not used."""
    assert masked_model(decoder("Qwen2", use_sliding_window=False, sliding_window=8)).architecture.n_ctx == 16


@pytest.mark.parametrize("family", FAMILIES)
def test_other_precisions(family: str) -> None:
    """float32 is close to Hugging Face's float32, bfloat16 roughly so; masked runs and gradients too."""
    case = case_of(family)
    single = case.model.to(dtype=torch.float32)
    close(single.run(case.clean), FAMILIES[family]().float()(case.clean).logits, 1e-4)
    half = case.model.to(dtype=torch.bfloat16)
    logits = half.run(case.clean)
    assert logits.dtype == torch.bfloat16
    scale = case.model.run(case.clean).abs().mean()
    assert (logits.float() - single.run(case.clean)).abs().mean() < 0.05 * scale
    mask, reference = case.mask().float(), half.senders(case.corrupted)
    expected = single.run(case.clean, mask, reference.float())
    assert (half.run(case.clean, mask, reference).float() - expected).abs().mean() < 0.05 * scale
    leaf = mask.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(half.run(case.clean, leaf, reference).float()), leaf)
    exact = mask_gradient(single.run, case.clean, mask, reference.float())
    assert (gradient - exact).norm() < 0.2 * exact.norm()


def test_frequencies_keep_their_precision() -> None:
    """Hugging Face rotates in float32 whatever the model's dtype; else far positions turn wrongly."""
    model = masked_model(decoder("Llama", head_dim=64, max_position_embeddings=2048))
    half = model.to(dtype=torch.bfloat16)
    for part, whole in zip(
        blocks.rotation(half.architecture, half.weights, 2048),
        blocks.rotation(model.architecture, model.weights, 2048),
        strict=True,
    ):
        close(part.double(), whole, 0.01)


def test_only_position_embeddings_can_be_split_off(case: Case) -> None:
    """Rotary models have none, and say so; GPT-2 has."""
    if not case.model.architecture.rotary:
        close(case.model.with_split_embed().senders(case.clean)[:2].sum(0), case.naive.senders(case.clean)[0])
        return
    with pytest.raises(ValueError, match="no position embedding to split off"):
        case.model.with_split_embed()


# ---- options: carried as Hugging Face has them, or refused


LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
OPTIONS = [
    ("GPT2", {"activation_function": "relu", "layer_norm_epsilon": 0.1, "n_inner": 20, "n_head": 2}),
    ("Llama", {"hidden_act": "relu", "rms_norm_eps": 0.1}),
    ("Llama", {"rope_parameters": LINEAR, "num_key_value_heads": 1}),
    ("Llama", {"mlp_bias": True}),
    ("Llama", {"is_causal": False}),
    ("Mistral", {"head_dim": 12, "hidden_act": "gelu"}),
    ("Qwen2", {"tie_word_embeddings": True, "rms_norm_eps": 0.1}),
    ("Qwen3", {"attention_bias": True, "rms_norm_eps": 0.1, "head_dim": 8}),
    ("Gemma2", {"hidden_activation": "gelu", "tie_word_embeddings": False, "rms_norm_eps": 0.1}),
    ("Gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    ("Gemma2", {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    ("Gemma2", {"attention_bias": True}),
    ("GPTNeoX", {"rotary_pct": 1.0, "tie_word_embeddings": True, "hidden_act": "gelu_new"}),
    ("GPTNeoX", {"layer_norm_eps": 0.1, "hidden_act": "relu"}),
    ("GPTNeoX", {"attention_bias": False}),
    ("Phi", {"layer_norm_eps": 0.1, "hidden_act": "gelu", "tie_word_embeddings": False}),
    ("Phi", {"qk_layernorm": True}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=str)
def test_options_are_carried_or_refused(kind: str, options: dict[str, Any], exact: None) -> None:
    """Either logits are Hugging Face's, or a ValueError says what is missing."""
    hf = decoder(kind, **({"head_dim": 8} if kind == "Gemma2" else {}), **options)
    tokens = torch.randint(0, 50, (2, 7), generator=torch.Generator().manual_seed(5))
    refusal = ""
    try:
        logits = masked_model(hf).run(tokens)
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert type(hf).__name__ in refusal
        assert "not carried" in refusal
    else:
        close(logits, hf(tokens).logits)


DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}


@pytest.mark.parametrize(
    ("kind", "options", "missing"),
    [
        ("Llama", {"rope_parameters": DYNAMIC}, "rotary embeddings of the kind 'dynamic'"),
        ("Llama", {"hidden_act": "gelu_fast"}, "the activation 'gelu_fast'"),
        ("GPT2", {"activation_function": "quick_gelu"}, "the activation 'quick_gelu'"),
        ("GPT2", {"scale_attn_weights": False}, "does not scale attention"),
    ],
    ids=str,
)
def test_what_is_missing_is_named(kind: str, options: dict[str, Any], missing: str) -> None:
    """The architecture and what of it is not carried, in one line."""
    hf = decoder(kind, **options)
    with pytest.raises(ValueError, match=rf"^this {type(hf).__name__} [^\n]*{missing}[^\n]* not carried$"):
        masked_model(hf)


def opt() -> PreTrainedModel:
    return OPTForCausalLM(OPTConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, ffn_dim=16,
                                    num_attention_heads=2, max_position_embeddings=16,
                                    word_embed_proj_dim=16))  # fmt: skip


def bloom() -> PreTrainedModel:
    return BloomForCausalLM(BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2))


@pytest.mark.parametrize("make", [opt, bloom])
def test_other_architectures_are_named(make: Callable[[], PreTrainedModel]) -> None:
    """With those that are carried."""
    hf = make()
    name = type(hf).__name__
    with pytest.raises(ValueError, match=f"^the architecture {name} is not carried yet; carried: GPT2LM"):
        masked_model(hf)


# ---- from a folder


def saved(model: PreTrainedModel, folder: Path) -> str:
    """An ordinary model directory, with the tokenizer of the shipped model."""
    model.save_pretrained(folder)
    for file in (Path(bench.models.__file__).parent / "embedded").glob("tokenizer*"):
        shutil.copy(file, folder)
    return str(folder)


@pytest.mark.parametrize("family", ["llama_tied", "gemma2", "phi"])
def test_a_folder_is_loaded(family: str, tmp_path: Path) -> None:
    """Saved and loaded, in float32, logits are as before."""
    case = case_of(family)
    loaded = load_model(saved(case.hf, tmp_path))
    assert loaded.masked.dtype == torch.float32
    close(loaded.masked.run(case.clean).double(), case.model.run(case.clean), 1e-4)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (opt, "the architecture OPTForCausalLM is not carried yet; carried: GPT2LMHeadModel, "),
        (partial(decoder, "Llama", rope_parameters=DYNAMIC), "rotary embeddings of the kind 'dynamic'"),
        (partial(decoder, "Llama", hidden_act="gelu_fast"), "the activation 'gelu_fast', which is not"),
    ],
    ids=["architecture", "rope", "activation"],
)
def test_a_folder_that_cannot_be_carried(
    make: Callable[[], PreTrainedModel], named: str, tmp_path: Path
) -> None:
    """One line for the user, which names what is missing."""
    with pytest.raises(ModelError) as refusal:
        load_model(saved(make(), tmp_path))
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)


# ---- methods


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


BRIEF = {
    "edge_pruning": "edge_pruning:halving=10,hold=10,settling=10",
    "discogp": "discogp:hold=2,settling=10,rate=0.5",
}
"""Long trainings, cut short: what they find is no matter here."""


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
        wanted = edges_of_share(graph, size)
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
