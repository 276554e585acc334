"""`make bench`: what our operations cost in plain Hugging Face forwards of the same batch.

One process, one thread, random weights, after a warm-up. Every round times a plain forward and the
operation one after the other, so that a machine that slows down slows both; the ratio is the median
over rounds. Logits at all positions on both sides, a dense mask strictly between 0 and 1, runs for
references counted in `eap` and `evaluate_10_sizes`. Nothing here is asserted: figures are for reading.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import acdc
import discogp
import edge_pruning
import exact
import learned_ranking
import pytest
from setting import ROUNDS, SHAPES, Setting

from bench.engine.circuit import Circuit


@pytest.fixture(scope="module", params=SHAPES)
def setting(request: pytest.FixtureRequest) -> Setting:
    return Setting(request.param)


OPERATIONS = (
    "masked_forward",
    "masked_forward_backward",
    "eap",
    "gim",
    "relp",
    "attn_lrp",
    "eap_ig_5",
    "evaluate_10_sizes",
)


@pytest.mark.parametrize("name", OPERATIONS)
def test_speed(name: str, setting: Setting, benchmark: Any) -> None:
    operation: Callable[[], object] = getattr(setting, name)
    heavy = name in ("eap_ig_5", "evaluate_10_sizes")
    measure(benchmark, name, setting, operation, max(3, ROUNDS[setting.shape] // (3 if heavy else 1)))


def test_edge_pruning(setting: Setting, benchmark: Any) -> None:
    measure(benchmark, "edge_pruning_step", setting, edge_pruning.step(setting), ROUNDS[setting.shape])


def test_learned_ranking(setting: Setting, benchmark: Any) -> None:
    measure(benchmark, "learned_ranking_step", setting, learned_ranking.step(setting), ROUNDS[setting.shape])


@pytest.mark.parametrize("group", ["weights", "edges"])
def test_discogp(group: str, setting: Setting, benchmark: Any) -> None:
    name = f"discogp_{group.removesuffix('s')}_step"
    measure(benchmark, name, setting, discogp.step(setting, group), ROUNDS[setting.shape])


def test_acdc(setting: Setting, benchmark: Any) -> None:
    """Per edge of the graph: of a whole pass on S, of twelve receivers on M."""
    if setting.shape not in acdc.TAUS:
        pytest.skip("not measured on this shape")
    plain: list[float] = []
    if setting.shape == "S":
        edges = setting.graph.n_edges
        kept = acdc.whole(setting)
        benchmark.pedantic(lambda: acdc.whole(setting), setup=lambda: time_plain(setting, plain), rounds=5)
        seconds = statistics.median(benchmark.stats.stats.data)
    else:
        kept = Circuit.load(acdc.FULL.with_suffix(".safetensors")).kept
        measured = benchmark.pedantic(
            lambda: acdc.some_rows(setting, kept, 12, lambda: time_plain(setting, plain)), rounds=1
        )
        seconds, edges = measured
    ratio = seconds / statistics.median(plain) / edges
    tell(benchmark, "acdc_per_edge", setting, ratio, plain, edges=edges, edges_kept=int(kept.sum()))


def test_exact(setting: Setting, benchmark: Any) -> None:
    """Per edge, of twelve receivers."""
    plain: list[float] = []
    time_plain(setting, [])
    seconds, edges = benchmark.pedantic(
        lambda: exact.some_rows(setting, 12, lambda: time_plain(setting, plain)), rounds=1
    )
    tell(benchmark, "exact_per_edge", setting, seconds / statistics.median(plain) / edges, plain, edges=edges)


def measure(
    benchmark: Any, name: str, setting: Setting, operation: Callable[[], object], rounds: int
) -> None:
    """Times an operation and a plain forward in turns."""
    for _ in range(2):
        setting.plain()
        operation()
    plain: list[float] = []
    benchmark.pedantic(operation, setup=lambda: time_plain(setting, plain), rounds=rounds)
    ratios = [ours / theirs for ours, theirs in zip(benchmark.stats.stats.data, plain, strict=True)]
    tell(benchmark, name, setting, statistics.median(ratios), plain)


def time_plain(setting: Setting, plain: list[float]) -> None:
    """A plain forward, to divide by."""
    started = time.perf_counter()
    setting.plain()
    plain.append(time.perf_counter() - started)


def tell(benchmark: Any, name: str, setting: Setting, ratio: float, plain: list[float], **more: int) -> None:
    """What `collect.py` takes."""
    benchmark.extra_info.update(
        name=name,
        shape=setting.shape,
        ratio=round(ratio, 3),
        seconds=statistics.median(benchmark.stats.stats.data),
        plain_seconds=statistics.median(plain),
        hf_attention=setting.hf.config._attn_implementation,
        peak_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        **more,
    )
