"""Writes what `mib_oracle.py` reads: a tiny random model, and the numbers of MIB's own evaluator on it.

    PYTHONPATH=.:tests:MIB-circuit-track:EAP-IG/src python tests/make_mib_oracle.py FORK/evaluation.py COMMITS

In an environment with TransformerLens 2, whose HookedTransformer they use, beside what this project needs.
MIB-circuit-track and EAP-IG are checkouts of hannamw's repositories: EAP-IG of a commit since July 2025, for
before its pruning stopped a round early and counted dead edges, which changed no other number. FORK is the
evaluator of aryamanarora's fork of the first, which adds acc-AUC. COMMITS says in words which versions all
three are. In the numbers `area_under` is CPR and `area_from_1` is CMD.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.conformance.prompts import ragged_examples
from bench.engine.architecture import Architecture
from bench.engine.masked_model import MaskedModel
from mib_oracle import NUMBERS, PER_BATCH, PROBLEM, asked, farthest_apart, stored, study_of
from tasks.base import Examples
from tiny_models import random_model

SHAPE = Architecture(
    n_layers=6, n_heads=4, n_kv_heads=4, d_model=16, d_head=4, n_ctx=8, d_vocab=30,
    activation="gelu_new", d_mlp=20,
)  # fmt: skip
"""1,108 edges, so that even 0.1 % of them is one."""
READINGS = {
    f"{sign} {selection}": {"absolute": sign == "absolute", "apply_greedy": selection == "greedy"}
    for sign in ("absolute", "signed")
    for selection in ("top", "greedy")
}


def make_problem() -> None:
    """Random weights and prompts; of rankings, EAP's own and a random one."""
    model = random_model(SHAPE)
    weights = {name: weight.float() for name, weight in model.weights.items()}
    model = MaskedModel(SHAPE, {name: weight.double() for name, weight in weights.items()})
    drawn = ragged_examples(24, SHAPE.d_vocab)
    prompts = {name: torch.as_tensor(getattr(drawn, name)) for name in ("clean", "corrupted", "lengths")}
    prompts["candidates"] = farthest_apart(model, **prompts)
    eap = study_of(model, asked(**prompts)).discover("eap", (0.1,)).discovery.signed
    assert eap is not None
    drawn_scores = torch.randn(eap.shape, generator=torch.Generator().manual_seed(0))
    rankings = {"eap": eap.float(), "random": drawn_scores}
    tensors = {f"weight: {n}": w for n, w in weights.items()} | {
        f"prompt: {n}": p for n, p in prompts.items()
    }
    tensors |= {f"ranking: {n}": torch.where(model.graph.exists, r, 0) for n, r in rankings.items()}
    shape = {"architecture": json.dumps(asdict(SHAPE))}
    save_file({name: t.contiguous() for name, t in tensors.items()}, PROBLEM, shape)


def hooked(model: MaskedModel) -> Any:
    """The same model as MIB has it, with TransformerLens's usual processing of weights."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    shape, w = model.architecture, model.weights
    h, kv = shape.n_heads, shape.n_kv_heads
    shared = {} if kv == h else {"n_key_value_heads": kv, "ungroup_grouped_query_attention": True}
    config = HookedTransformerConfig(
        n_layers=shape.n_layers, n_heads=h, d_model=shape.d_model, d_head=shape.d_head, d_mlp=shape.d_mlp,
        n_ctx=shape.n_ctx, d_vocab=shape.d_vocab, act_fn=shape.activation, eps=shape.eps,
        normalization_type="LN", use_split_qkv_input=True, use_attn_result=True, use_hook_mlp_in=True,
        dtype=torch.float64, device="cpu", **shared,
    )  # fmt: skip
    state = {"embed.W_E": w["embed.W_E"], "pos_embed.W_pos": w["embed.W_pos"]}
    state |= {f"unembed.{name}": w[f"logits.{name}"] for name in ("W_U", "b_U")}
    norms = {"ln_final": "logits"}
    for i in range(shape.n_layers):
        block = f"blocks.{i}"
        for kind in "Wb":
            ports, mark = w[f"a{i}.{kind}_QKV"].split([h, kv, kv]), "" if kv == h else "_"
            names = (f"{kind}_Q", f"{mark}{kind}_K", f"{mark}{kind}_V")
            state |= {f"{block}.attn.{name}": port for name, port in zip(names, ports, strict=True)}
            state |= {f"{block}.attn.{kind}_O": w[f"a{i}.{kind}_O"]}
            state |= {f"{block}.mlp.{kind}_{end}": w[f"m{i}.{kind}_{end}"] for end in ("in", "out")}
        norms |= {f"{block}.ln1": f"a{i}", f"{block}.ln2": f"m{i}"}
    state |= {f"{theirs}.{p}": w[f"{ours}.norm.{p}"] for theirs, ours in norms.items() for p in "wb"}
    theirs = HookedTransformer(config)
    theirs.load_and_process_state_dict(state)
    return theirs.eval()


def tokenized(model: Any, prompts: Sequence[Sequence[int]], *_: object) -> tuple[Tensor, Tensor, Tensor, int]:
    """Token ids in place of texts, padded on the right, for a model without a tokenizer."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    longest = int(lengths.max())
    tokens = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts])
    return tokens, (torch.arange(longest) < lengths[:, None]).long(), lengths, longest


def batched(examples: Examples) -> list[tuple[list[list[int]], list[list[int]], list[list[int]]]]:
    """Clean, corrupted, and the right and the wrong token of each."""

    def prompts(tokens: Any) -> list[list[int]]:
        return [row[:n].tolist() for row, n in zip(tokens, examples.lengths, strict=True)]

    clean, corrupted, labels = (
        prompts(examples.clean), prompts(examples.corrupted), examples.candidates.tolist()
    )  # fmt: skip
    cuts = [slice(start, start + PER_BATCH) for start in range(0, len(examples), PER_BATCH)]
    return [(clean[cut], corrupted[cut], labels[cut]) for cut in cuts]


def matrix(graph: Any, theirs: Any, scores: Tensor) -> Tensor:
    """Our scores, each under the name that their graph has for the edge; all of its edges, and no other."""
    named = {}
    for row, column in graph.exists.nonzero().tolist():
        sender, receiver = graph.edge_name(row, column).split("->")
        head, _, port = receiver.rpartition(".")
        end = f"{head}<{port}>" if port in ("q", "k", "v") else receiver
        named[f"{'input' if sender == 'embed' else sender}->{end}"] = scores[row, column]
    assert named.keys() == theirs.edges.keys()
    placed = torch.zeros_like(theirs.scores)
    for name, score in named.items():
        placed[theirs.edges[name].matrix_index] = score
    return placed


def evaluator_of(module: Any) -> Callable[..., Any]:
    """MIB's evaluator, which hands on an option that EAP-IG has dropped since."""
    evaluate_graph = module.evaluate_graph

    def evaluate(*given: Any, optimal_ablation_path: None, **options: Any) -> Any:
        return evaluate_graph(*given, **options)

    module.evaluate_graph = evaluate
    evaluator: Callable[..., Any] = module.evaluate_area_under_curve
    return evaluator


def main(fork: str, commits: str) -> None:
    """Both files."""
    make_problem()
    model, examples, rankings = stored()
    imported: Callable[[str], Any] = importlib.import_module
    imported("eap.evaluate").tokenize_plus = tokenized
    measure = imported("MIB_circuit_track.metrics").logit_diff
    evaluator = evaluator_of(imported("MIB_circuit_track.evaluation"))
    spec = importlib.util.spec_from_file_location("fork", fork)
    assert spec is not None
    assert spec.loader is not None
    forked = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(forked)
    forked_evaluator = evaluator_of(forked)
    lens, batches = hooked(model), batched(examples)

    def metric(*run: Any) -> Tensor:
        found: Tensor = measure(*run, mean=False, loss=False)
        return found

    curves: dict[str, dict[str, Any]] = {}
    for ranking, scores in rankings.items():
        curves[ranking] = {}
        for reading in READINGS:
            graph = imported("eap.graph").Graph.from_model(lens)
            graph.scores[:] = matrix(model.graph, graph, scores)
            given = (lens, graph, batches, metric)
            options: dict[str, Any] = {**READINGS[reading], "quiet": True, "intervention": "patching"}
            edges, under, from_1, _, shares = evaluator(*given, **options)
            _, under_log, from_1_log, *_ = evaluator(*given, **options, log_scale=True)
            means = evaluator(*given, **options, no_normalize=True)[4]
            *_, right, acc_auc = forked_evaluator(*given, **options)
            curves[ranking][reading] = {
                "edges": edges, "metric": means, "faithfulness": shares, "area_under": under,
                "area_from_1": from_1, "area_under_log": under_log, "area_from_1_log": from_1_log,
                "accuracy": right, "acc_auc": acc_auc,
            }  # fmt: skip
    told = {"made_with": commits, "precision": "float64; scores are float32", "curves": curves}
    NUMBERS.write_text(json.dumps(told, indent=1) + "\n")
    print(f"{PROBLEM.stat().st_size:,} and {NUMBERS.stat().st_size:,} bytes")


if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()):  # the evaluator tells every size
        main(*sys.argv[1:])
