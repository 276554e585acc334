"""Whatever a method returns: refused in one line, or fit for circuits, scores, tables and pages."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.conformance.problems import PROBLEMS, SIZES
from bench.discovery.checked import notes_of
from bench.discovery.data import Asked
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.scoring.catalogue import METRICS
from bench.scoring.leaderboard import leaderboard, write_tables
from bench.store.record import Record
from bench.store.results import Run, Store
from bench.study import Study
from methods.base import Discovery, Method, Problem
from reports.parts.content import Training
from reports.parts.methods import Methods
from reports.render import markdown_page
from reports.report import build

pytestmark = pytest.mark.skipif("CIRCUITMARK_SHAPES" in os.environ, reason="types are checked before")
"""By our own check: under CIRCUITMARK_SHAPES the type checks would speak first."""


@cache
def study() -> Study:
    """With evaluation prompts: those of discovery."""
    made = PROBLEMS["gpt2"].study("cpu")
    template = torch.arange(sum(map(len, made.data.discovery))) % 2
    asked = Asked(made.data.discovery, template, template.bool())
    return Study.on(replace(made.data, evaluation=asked), made.ablation)


def tensors(graph: EdgeGraph) -> dict[str, Any]:
    """Sound ones and others, each for scores, edges and masks alike."""
    shape = tuple(graph.exists.shape)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    some = graph.exists & (noise > 0)
    return {
        "scores": noise,
        "zeros": torch.zeros(shape),
        "integers": (9 * noise).long(),
        "half": noise.half(),
        "huge": 1e38 * noise.double().exp(),
        "nan outside": noise.masked_fill(~graph.exists, torch.nan),
        "expanded": noise[:1].expand(shape),
        "transposed": noise.T.contiguous().T,
        "parameter": torch.nn.Parameter(noise),
        "nan": noise / 0 * 0,
        "infinite": noise.masked_fill(some, torch.inf),
        "complex": noise + 0j,
        "flat": noise.flatten(),
        "number": torch.tensor(0.5),
        "nothing": torch.zeros(0),
        "sparse": noise.to_sparse(),
        "meta": noise.to("meta"),
        "all": graph.exists.clone(),
        "some": some,
        "none": some & False,
        "beyond": ~some,
        "list": noise.tolist(),
        "None": None,
        "text": "scores",
    }


NAMES = st.deferred(lambda: st.sampled_from(sorted(tensors(study().graph))))
SOUND = st.sampled_from(["scores", "zeros", "integers", "half", "nan outside", "None", "huge"])
MASKS = st.sampled_from(["all", "some", "none"])
KEYS = st.one_of(st.sampled_from([*SIZES, 1, 0.25, None, True, "0.1"]), st.floats())
TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(["kl", "a\nb", "\ud800", "x" * 300, "=1+1", "<b>|$"]))
NUMBERS = st.one_of(st.floats(), st.integers(), st.booleans(), st.sampled_from(["1", None, 1j, 10**400]))
SERIES = st.one_of(
    st.lists(st.floats(), max_size=4), st.lists(NUMBERS, max_size=4), st.sampled_from([3, "123", None])
)
TRACES = st.one_of(
    st.lists(st.lists(st.floats(), min_size=2, max_size=2), max_size=3).map(
        lambda rows: dict(zip(("step", "loss", "gap"), map(list, zip(*rows, strict=True)), strict=False))
    ),
    st.dictionaries(st.one_of(st.just("step"), TEXTS), SERIES, max_size=3),
)


@st.composite
def discoveries(draw: Callable[[Any], Any]) -> dict[str, Any]:
    """Fields by name, the tensors among them by theirs; one in two of the fields is sound."""
    careless = draw(
        st.sets(st.sampled_from(["scores", "edges", "weights", "unaided", "objective", "trace"]), max_size=2)
    )

    def either(field: str, wild: Any, sound: Any) -> Any:
        return draw(wild if field in careless else sound)

    by_size = st.dictionaries(KEYS, NAMES, max_size=2)
    curve = {"step": [0, 1], "loss": [1.0, 0.5]}
    texts = st.one_of(TEXTS, st.none(), st.integers())
    return {
        "scores": either("scores", NAMES, SOUND),
        "selection": draw(st.sampled_from(["top", "greedy"])),
        "edges": either("edges", by_size, st.dictionaries(st.sampled_from(SIZES), MASKS)),
        "weights": either("weights", by_size, st.sampled_from([{}, {0.1: "masks"}])),
        "unaided": either("unaided", NAMES, st.one_of(st.just("None"), MASKS)),
        "objective": either("objective", texts, st.sampled_from(["", "kl"])),
        "trace": either("trace", TRACES, st.sampled_from([{}, curve])),
    }


class Told(Method):
    """Returns what it was told."""

    name, description, citation = "told", "a test", "@misc{x}"

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    def discover(self, problem: Problem) -> Discovery:
        held = tensors(problem.graph)  # type: ignore[arg-type]
        held["masks"] = {
            name: torch.ones(*s).bool().triu() for name, s in problem.weights.items() if ".W_" in name
        }
        made: dict[str, Any] = dict(self.fields)
        for name in ("scores", "unaided"):
            made[name] = held[made[name]]
        for name in ("edges", "weights"):
            made[name] = {size: held[each] for size, each in made[name].items()}
        return Discovery(**made)


def record(found: Discovery, circuits: dict[float, Circuit]) -> Record:
    """What a job would note."""
    matrices = study().model.matrices
    counts = {
        f"size {size:g}": {
            "size_requested": size,
            "complement": f"complement {size:g}",
            "edges_kept": len(circuit),
            "effective_edges": len(circuit.effective("resample")),
            "edge_sparsity": circuit.sparsity,
            "nodes_kept": circuit.nodes_kept,
            "weight_density": circuit.weight_density(matrices),
            "effective_weight_density": 1.0,
        }
        for size, circuit in circuits.items()
    }
    return Record(
        model="m", task="t", ablation="resample", discovery_ablation="resample", split_embed=False,
        method="told", params="", settings={}, n_discovery=7, data_seed=0, method_seed=0, n_evaluation=7,
        split="evaluation", dtype="float32", model_hash="", lineage="", task_version=1, sizes=SIZES,
        device="cpu", threads=1, engine="", created="", provenance={}, status="ok", status_reason="",
        measure="logit_diff", graph="g", n_edges=study().graph.n_edges, objective=found.objective,
        trace=found.trace, circuits=counts, notes=notes_of(found, study().graph),
    )  # fmt: skip


@given(discoveries())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_it_is_refused_or_everything_works(fields: dict[str, Any]) -> None:
    on, refused, found = study(), "", None
    try:
        found = on.discover(Told(fields), SIZES)
    except (TypeError, ValueError) as error:
        refused = str(error)
    if found is None:
        assert refused.isprintable()
        assert 0 < len(refused) < 300
        return
    circuits = dict(found)
    runs = {f"size {size:g}": circuit for size, circuit in circuits.items()}
    runs |= {f"complement {size:g}": circuit.complement() for size, circuit in circuits.items()}
    made = record(found.discovery, circuits)
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        scores: dict[str, Tensor] = {} if found.scores is None else {"discovery.scores": found.scores}
        store.save("told", Run(made, {**on.outputs(runs).tensors(), **scores}))
        table = leaderboard(store)
        write_tables(Path(folder), table)
        again = pd.read_csv(Path(folder) / "leaderboard.csv")
    mine = table[table["method"] == "told"]
    assert len(mine) == len(SIZES) == (again["method"] == "told").sum()
    assert mine["kl"].notna().all()
    for row in mine.to_dict("records"):
        wanted = int(row["size_requested"] * on.graph.n_edges)
        pruned = row["edges_kept"] == on.graph.n_edges and row["weight_density"] < 1
        assert row["oversize"] == (row["edges_kept"] > wanted and not pruned)
    course = [Training("told", "", "t", made.trace)] if len(made.trace) > 1 and "step" in made.trace else []
    described = [asdict(metric) for metric in METRICS]
    report = build(table, described, Methods(("told",)), "any", course)
    assert "| told |" in markdown_page(report)
    for drawing in (each for section in report.further for each in section.figures):
        assert drawing.figure().axes
