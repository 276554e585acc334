"""Writes files as MIB's, AutoCircuit's and ACDC's own code writes them, and what MIB says of its own.

    PYTHONPATH=.:tests:MIB-circuit-track:EAP-IG/src:auto-circuit:ACDC python tests/make_mib_files.py COMMITS

In the environment of `make_mib_oracle.py`, with checkouts of hannamw's two repositories, of
UFO-101/auto-circuit and of ArthurConmy/Automatic-Circuit-Discovery. COMMITS says in words which versions they
are. The model is that of `make_mib_oracle.py` with heads that share keys and values, counted per query head.
Of ACDC's and AutoCircuit's code nothing is run but what lists the edges of circuits; what else it imports
need not be installed. EAP-IG's commit is one since July 2025, as in `make_mib_oracle.py`.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import torch

from make_mib_oracle import batched, evaluator_of, hooked, matrix, tokenized
from mib_oracle import FILES, GROUPED_NUMBERS, grouped, stored

GRID = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Shares of the nine circuits of a submission."""
STAMP = (2026, 1, 1, 0, 0, 0)
"""Of files in the archive, so that it is the same when it is made again."""


UNUSED = ("acdc.docstring", "acdc.induction", "acdc.logic_gates", "acdc.tracr_task",
          "subnetwork_probing.transformer_lens", "wandb")  # fmt: skip
"""What ACDC's files import beside what lists edges."""


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Puts something in the place of modules."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def find_spec(self, name: str, *_: object) -> Any:
        if self.names and not name.startswith(self.names):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> Any:
        return MagicMock(__path__=[], __spec__=spec)

    def exec_module(self, module: Any) -> None:
        """It is what it is."""


def mib_files() -> tuple[dict[str, bytes], dict[str, Any]]:
    """A submission of nine circuits, scores of edges and nodes in both formats, circuits as tensors; MIB's
    numbers."""
    model, examples, rankings = stored()
    model = grouped(model)
    imported: Callable[[str], Any] = importlib.import_module
    imported("eap.evaluate").tokenize_plus = tokenized
    measure, kind = imported("MIB_circuit_track.metrics").logit_diff, imported("eap.graph").Graph
    evaluator = evaluator_of(imported("MIB_circuit_track.evaluation"))
    lens, batches = hooked(model), batched(examples)

    def metric(*run: Any) -> Any:
        return measure(*run, mean=False, loss=False)

    def mean(graph: Any) -> float:
        return float(imported("eap.evaluate").evaluate_graph(lens, graph, batches, metric, quiet=True).mean())

    graph = kind.from_model(lens)
    scores = matrix(model.graph.per_head, graph, rankings["eap"])
    numbers = {}
    for reading, absolute in (("absolute", True), ("signed", False)):
        graph.scores[:] = scores
        edges, under, from_1, _, shares = evaluator(
            lens, graph, batches, metric, quiet=True, absolute=absolute, intervention="patching"
        )
        numbers[reading] = {
            "edges": edges,
            "faithfulness": shares,
            "area_under": under,
            "area_from_1": from_1,
        }
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        graph.reset()
        graph.to_json(place / "scores.json")
        graph.to_pt(place / "scores.pt")
        for share in GRID:
            graph.scores[:] = scores
            graph.apply_topn(int(share * len(graph.edges)), absolute=True, prune=True)
            graph.scores[:] = 0
            graph.to_json(place / f"{share:g}.json")
            if share == 0.05:
                graph.to_pt(place / "circuit.pt")
        graph.reset()
        nothing, whole = (
            mean(graph),
            float(imported("eap.evaluate").evaluate_baseline(lens, batches, metric, quiet=True).mean()),
        )
        again = [kind.from_json(place / f"{share:g}.json") for share in GRID]
        numbers["submission"] = {
            "edges": [float(each.count_included_edges()) for each in again],
            "faithfulness": [(mean(each) - nothing) / (whole - nothing) for each in again],
        }
        numbers |= node_files(place, lens, (batches, metric), evaluator, scores.sum(1))
        return {file.name: file.read_bytes() for file in sorted(place.iterdir())}, numbers


def node_files(
    place: Path, lens: Any, asked: tuple[Any, Any], evaluator: Callable[..., Any], scores: torch.Tensor
) -> dict[str, Any]:
    """Scores of nodes in both formats, and with the circuit of five nodes; MIB's numbers.

    Edges are counted here: its own count has receivers that come before the sender as well.

    Args:
        place: where to write.
        lens: the model.
        asked: prompts, and what is measured on them.
        evaluator: MIB's.
        scores: of the nodes.
    """
    kind = importlib.import_module("eap.graph").Graph
    graph, numbers = kind.from_model(lens, node_scores=True), {}
    graph.nodes_scores[:] = scores
    graph.to_pt(place / "nodes.pt")
    for reading, absolute in (("nodes absolute", True), ("nodes signed", False)):
        _, under, from_1, _, shares = evaluator(
            lens, graph, *asked, quiet=True, absolute=absolute, intervention="patching", level="node"
        )
        edges = []
        for share in GRID:
            graph.apply_topn(int(share * len(scores)), absolute, level="node", prune=True)
            edges.append(int((graph.in_graph & graph.real_edge_mask).sum()))
        numbers[reading] = {
            "edges": edges,
            "faithfulness": shares,
            "area_under": under,
            "area_from_1": from_1,
        }
    graph.apply_topn(5, absolute=True, level="node", prune=True)
    graph.to_pt(place / "nodes_and_circuit.pt")
    graph.reset()
    graph.nodes_scores = None  # to_json asks for one of the logits, which have none
    graph.to_json(place / "nodes.json")
    told = json.loads((place / "nodes.json").read_text())
    for name, value in zip(told["nodes"], scores.tolist(), strict=False):
        told["nodes"][name]["score"] = value
    (place / "nodes.json").write_text(json.dumps(told))
    assert kind.from_json(place / "nodes.json").nodes_scores.equal(scores)
    return numbers


def autocircuit_files() -> dict[str, bytes]:
    """The greater-than circuit as AutoCircuit names its edges, on random weights of GPT-2 small's shape."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    imported: Callable[[str], Any] = importlib.import_module
    config = HookedTransformerConfig(
        n_layers=12, n_heads=12, d_model=12, d_head=1, d_mlp=12, n_ctx=8, d_vocab=10, act_fn="gelu_new",
        model_name="gpt2", use_attn_result=True, use_split_qkv_input=True, use_hook_mlp_in=True, device="cpu",
    )  # fmt: skip
    make = imported("auto_circuit.utils.graph_utils").patchable_model
    model = make(HookedTransformer(config), factorized=True, separate_qkv=True, device=torch.device("cpu"))
    official = imported("auto_circuit.metrics.official_circuits.circuits.greaterthan_official")
    names = sorted(edge.name for edge in official.greaterthan_true_edges(model))
    return {"greater_than.autocircuit.txt": "\n".join(names).encode() + b"\n"}


def acdc_files() -> dict[str, bytes]:
    """Both canonical graphs as ACDC names its nodes, edges inside of heads and MLPs among them."""
    imported: Callable[[str], Any] = importlib.import_module
    index = imported("acdc.TLACDCEdge").TorchIndex
    gpt2 = SimpleNamespace(cfg=SimpleNamespace(n_layers=12, n_heads=12, attn_only=False))
    makers = {
        "ioi": imported("acdc.ioi.utils").get_ioi_true_edges,
        "greater_than": imported("acdc.greaterthan.utils").get_greaterthan_true_edges,
    }
    found = {}
    for name, edges_of in makers.items():
        edges: Mapping[Any, bool] = edges_of(gpt2)
        lines = [
            f"{parent}{index(list(at))} -> {child}{index(list(to))}"
            for (child, to, parent, at), present in edges.items()
            if present
        ]
        found[f"{name}.acdc.txt"] = "\n".join(sorted(lines)).encode() + b"\n"
    return found


def main(commits: str) -> None:
    """Both files."""
    files, numbers = mib_files()
    sys.meta_path.insert(0, Absent(*UNUSED))
    sys.meta_path.append(Absent())  # whatever is not installed
    files |= autocircuit_files() | acdc_files()
    with zipfile.ZipFile(FILES, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, STAMP), content, zipfile.ZIP_DEFLATED)
    GROUPED_NUMBERS.write_text(json.dumps({"made_with": commits, **numbers}, indent=1) + "\n")
    print(f"{FILES.stat().st_size:,} and {GROUPED_NUMBERS.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()):  # the evaluator tells every size
        main(*sys.argv[1:])
