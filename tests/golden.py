"""The engine's numbers, which make every stored result stale when they move: how they are computed.

Random models in float64, several batches, prompts of several lengths (`golden_cases.py`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from operator import attrgetter
from typing import Any

import torch

from bench.conformance.prompts import batches_of, ragged_examples
from bench.discovery.data import program_data
from bench.discovery.discover import cut
from bench.discovery.problem import BenchProblem
from bench.engine.ablation import ABLATIONS, make_reference
from bench.engine.circuit import Circuit
from bench.models.load import load_model
from bench.models.tracr import load_program
from bench.names import get_program, get_task
from bench.scoring.evaluate import curves, run_circuits, score
from bench.scoring.measures import LOGIT_DIFF, MEASURES
from bench.scoring.metrics import CURVE_SHARES, circuit_recovery, ranking_recovery
from bench.study import Study
from golden_cases import EVEN, SIZES, Numbers, models, some_mask, task, told
from methods.acdc import ACDC
from methods.acdc_screened import ACDCScreened
from methods.base import Discovery, Method
from methods.discogp import DiscoGP
from methods.eap import EAP
from methods.eap_ig import EAPIG
from methods.edge_pruning import EdgePruning
from methods.random_edges import RandomEdges
from methods.rules.gradient_rules import ATTN_LRP, GIM, RELP
from problems import random_examples
from tiny_models import seeded

Part = dict[str, Numbers]


def objectives() -> Part:
    """Losses of a soft mask, losses without a few edges, and gradients half way to the reference."""
    numbers: Part = {}
    pairs: Any = [("logit_diff", "difference"), ("prob_diff", "difference"), ("output_diff", "difference"),
                  ("logit_diff", "kl")]  # fmt: skip
    for ablation in (*ABLATIONS, EVEN):
        for measure, objective in pairs:
            p, values = task("gpt2", ablation, measure), defaultdict(list)
            for batch in p.batches:
                values["losses"].append(p.loss(objective, p.run(batch, some_mask(p)), batch)[None])
                for row, columns in ((len(p.graph.receivers) - 1, [7, 2, 4]), (5, [0]), (14, [3, 1])):
                    losses = p.losses_without(objective, batch, some_mask(p, binary=True), row, columns)
                    values["without"].append(losses)
                half = (p.senders(batch) + p.reference(batch))[: p.graph.n_embed] / 2
                values["gradients"].append(p.edge_gradients(batch, objective, inputs=half))
            numbers[f"{ablation} {'kl' if objective == 'kl' else measure}"] = told(**values)
    return numbers


def architectures() -> Part:
    """The full run, every sender, a soft mask and its gradient, on every shape; weight masks on top."""
    numbers: Part = {}
    for kind, model in models().items():
        p, values = task(kind, "resample"), defaultdict(list)
        mask = some_mask(p).requires_grad_()
        weights = {n: torch.rand(s, generator=seeded(n), dtype=torch.float64).requires_grad_()
                   for n, s in model.maskable.items()}  # fmt: skip
        for batch in p.batches:
            inside = torch.arange(batch.clean.shape[1]) < batch.lengths[:, None]
            values["clean"].append(p.clean(batch))
            values["senders"].append(p.senders(batch)[:, inside])
            values["masked"].append(masked := p.run(batch, mask))
            values["pruned"].append(pruned := p.run(batch, mask, weights))
            values["gradients"].extend(torch.autograd.grad(masked.logsumexp(-1).sum(), mask))
            slopes = torch.autograd.grad(pruned.logsumexp(-1).sum(), [mask, *weights.values()])
            values["weight gradients"].extend(slopes)
        numbers[kind] = told(**values)
    return numbers


def backward() -> Part:
    """Gradients by other rules and with a group's outputs replaced, and losses without each edge of a row."""
    numbers: Part = {}
    for kind in models():
        p, values = task(kind, "resample"), defaultdict(list)
        groups, row = p.graph.groups[1:], len(p.graph.receivers) - 1
        for batch in p.batches:
            for name, rules in {"gim": GIM, "relp": RELP, "attn_lrp": ATTN_LRP}.items():
                values[name].append(p.edge_gradients(batch, "difference", rules=rules))
            frozen = replace(RELP, softmax="frozen")
            values["frozen"].append(p.edge_gradients(batch, "difference", rules=frozen))
            half = (p.senders(batch) + p.reference(batch)) / 2
            away = p.reference(batch) - p.senders(batch)
            values["replaced"] += [p.edge_gradients(batch, "kl", away, replaced=(g, half[g])) for g in groups]
            each = p.losses_without_each("kl", batch, p.graph.exists, row, [7, 2, 4])
            values["without each"].append(each)
        numbers[kind] = told(**values)
    return numbers


def found(p: BenchProblem, method: Method) -> Numbers:
    """What a method returns: scores, circuits of every size, the unaided one, and its trace.

    Circuits are not filled up: among edges without any effect, rounding decides which come first.
    """
    discovery: Discovery = method.discover(p)
    tensors: dict[str, Any] = {}
    named = replace(discovery, scores=None) if discovery.edges else discovery
    for size, circuit in cut(p.graph, named, SIZES).items():
        tensors[f"kept {size}"] = [circuit.kept, *circuit.weights.values()]
    for name in ("scores", "unaided"):
        if getattr(discovery, name) is not None:
            tensors[name] = getattr(discovery, name)[p.graph.exists]
    tensors |= {f"trace {name}": torch.tensor(series) for name, series in discovery.trace.items()}
    return told(**tensors)


def attribution() -> Part:
    """EAP and EAP-IG, signed and absolute, by either objective, at either choice of points."""
    methods: dict[str, Method] = {"random": RandomEdges(), "uniform": RandomEdges(kind="uniform")}
    for absolute, sign in ((True, "absolute"), (False, "signed")):
        methods[f"eap {sign}"] = EAP(absolute=absolute, selection="top" if absolute else "greedy")
        for objective in ("difference", "kl"):
            for points in ("inputs", "clean_corrupted"):
                options: Any = {"objective": objective, "points": points, "absolute": absolute}
                methods[f"eap_ig {points} {objective} {sign}"] = EAPIG(steps=3, selection="top", **options)
    cases = {("gpt2", "resample"): "", ("gpt2", "mean"): "signed", ("llama", "zero"): "signed",
             ("neox", "resample"): "signed", ("compiled", "resample"): "signed"}  # fmt: skip
    return {
        f"{kind} {ablation} {name}": found(task(kind, ablation, "prob_diff"), method)
        for (kind, ablation), which in cases.items()
        for name, method in methods.items()
        if name.endswith(which)
    }


def acdc() -> Part:
    """Circuits, effects and thresholds under every choice; more examples than one batch holds, not all."""
    quick: Any = {"threshold": 0.05, "attempts": 2, "examples": 6, "tolerance": 0.1}
    cases: dict[tuple[str, str], ACDC] = {
        ("gpt2", "resample"): ACDC(**quick),
        ("gpt2", "mean"): ACDC(**quick, objective="difference", absolute=True, order="earliest"),
        ("llama", "zero"): ACDC(**quick, chain=3),
        ("neox", "zero_with_bias"): ACDCScreened(**quick, share=0.4),
        ("compiled", "resample"): ACDC(**quick, objective="difference"),
    }
    return {f"{kind} {ablation}": found(task(kind, ablation), m) for (kind, ablation), m in cases.items()}


@contextmanager
def double() -> Iterator[None]:
    """Gates are drawn and trained in float64: in float32 a few dozen steps amplify what kernels round."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def trainings() -> Part:
    """Edge Pruning and DiscoGP, far too short to find anything."""
    pruning: Any = {"halving": 4, "hold": 3, "settling": 10, "examples": 3, "rate": 0.3}
    pruning |= {"multiplier_rate": 0.3}
    # always priced: otherwise gates follow the rounding of gradients that are 0, on each kernel elsewhere
    disco: Any = {"start_price": 30.0, "tolerance": 100.0}
    disco |= {"hold": 2, "settling": 10, "examples": 3, "rate": 0.5}
    disco |= {"settling_rate": 0.5}
    both: Any = {**disco, "density": 0.3}
    cases: dict[str, tuple[str, Method]] = {
        "edge_pruning": ("resample", EdgePruning(**pruning)),
        "edge_pruning nodes": ("zero", EdgePruning(**pruning, node_gates=True, objective="difference")),
        "discogp": ("resample", DiscoGP(**both, settling_samples="hard")),
        "discogp soft": ("resample", DiscoGP(**disco, parts="edges")),
        "discogp joint": (
            "mean", DiscoGP(**both, joint=True, labels="model", biases=True, settling_samples="hard"),
        ),
    }  # fmt: skip
    with double():
        return {name: found(task("gpt2", ablation), m) for name, (ablation, m) in cases.items()}


def evaluation() -> Part:
    """Scores of circuits and complements, with pruned weights too, their intervals, and areas of a curve."""
    model, numbers = models()["gpt2"], {}
    examples = ragged_examples(12, 50, 4, seed=1)
    shares = {share: f"curve {share}" for share in CURVE_SHARES}
    for ablation in (*ABLATIONS, EVEN):
        p = task("gpt2", ablation, "prob_diff")
        if ablation == EVEN:
            examples = random_examples(12, seed=1)
        circuits = cut(model.graph, EAPIG(steps=2, selection="top").discover(p), CURVE_SHARES)
        runs = {name: circuits[share] for share, name in shares.items()}
        masks = {n: torch.rand(s, generator=seeded(n)) < 0.9 for n, s in model.matrices.items()}
        runs["pruned"] = Circuit(model.graph, circuits[0.5].kept, masks)
        runs |= {f"not {name}": runs[name].complement() for name in ("curve 0.2", "pruned")}
        name: Any = ablation.partition(" ")[0]
        reference = make_reference(model, name, p.batches, ablation == EVEN)
        template = torch.as_tensor(examples.template)
        raw = run_circuits(model, batches_of(model, examples, 5), template, runs, reference)
        for run in ("curve 0.2", "pruned"):
            for measure in ("logit_diff", "prob_diff"):
                numbers[f"{ablation} {run} {measure}"] = score(raw, run, f"not {run}", MEASURES[measure])
            density = runs[run].effective_weight_density(name, model.matrices)
            numbers[f"{ablation} {run}"] = {"effective": len(runs[run].effective(name)), "density": density}
        numbers[f"{ablation} areas"] = curves(raw, shares, {}, LOGIT_DIFF)
    return numbers


def tasks() -> Part:
    """Prompts and answers of every task for the embedded model's tokenizer."""
    tokenizer = load_model("embedded", "float32", "cpu").tokenizer
    numbers: Part = {}
    for name in ("ioi", "ioi_t1", "gt", "gp"):
        parts = vars(get_task(name).examples(tokenizer, "discovery", 40, 0))
        numbers[name] = told(**{part: torch.as_tensor(array) for part, array in parts.items()})
    return numbers


def recovery() -> Part:
    """Truths of compiled programs and what EAP-IG recovers of them, in float32 as `recover` has it."""
    numbers: Part = {}
    for program in ("x_proportion", "reverse"):
        model = load_program(get_program(program))
        data = program_data(model, 300, 1)
        for ablation in ("zero", "resample"):
            truth, graph = model.truth(ablation), model.masked.graph
            p = Study.on(data, ablation).problem(SIZES, method_seed=1)
            scores, unaided = attrgetter("scores", "unaided")(EAPIG().discover(p))
            numbers[f"{program} {ablation}"] = {
                **told(structural=truth.structural, true=truth.circuits[0], unaided=unaided, scores=scores),
                **circuit_recovery(unaided, truth.circuits, graph.exists),
                **ranking_recovery(scores, truth.circuits, graph.exists),
            }
    return numbers


PARTS: Mapping[str, Callable[[], Part]] = {
    part.__name__: part
    for part in (
        architectures,
        backward,
        tasks,
        evaluation,
        attribution,
        objectives,
        recovery,
        acdc,
        trainings,
    )
}


def compute(part: str) -> Part:
    """A part's numbers under their names; what is unscored is left out."""
    return {
        f"{part}: {name}": {k: float(f"{v:.10g}") for k, v in numbers.items() if not math.isnan(v)}
        for name, numbers in PARTS[part]().items()
    }
