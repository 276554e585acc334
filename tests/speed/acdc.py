"""What ACDC costs per edge of the graph: whole runs, and rows of a run in the state that they would meet.

    python tests/speed/acdc.py        # the whole run on GPT-2 small's shape: half an hour; writes `FULL`

A whole run on that shape is too long for `make bench`, which prunes some receivers instead, spread evenly
over the edges in their order, each with all that comes after it as the whole run left it.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))  # when it is run as a program

from setting import Operations, Setting

from bench.discovery.problem import BenchProblem
from bench.engine.ablation import ABLATIONS, AblationName, Reference
from bench.engine.circuit import Circuit
from bench.scoring.measures import LOGIT_DIFF
from methods.base import Batch
from methods.thresholds.pruning import Pruning

TAUS = {"S": 2e-4, "M": 2.6e-5}
"""They keep about 3 % of the edges of these random models."""
FULL = Path(__file__).parent / "acdc_M"
"""The whole run: what it cost (.json), and what it kept (.safetensors)."""


def problem(setting: Operations, ablation: AblationName = "resample") -> BenchProblem:
    """Something to say at the last position of every prompt."""
    n, pos = setting.clean.shape
    asked = (
        torch.full((n,), pos), torch.arange(n), torch.full((n,), pos - 1),
        torch.zeros(n, 2, dtype=torch.long), torch.tensor([[True, False]]).expand(n, 2),
    )  # fmt: skip
    batch = Batch(setting.clean, setting.corrupted, *(part.to(setting.clean.device) for part in asked))
    reference = Reference(ABLATIONS[ablation])
    return BenchProblem(setting.model, [batch], LOGIT_DIFF, lambda _: reference, (0.03,), 0)


def whole(setting: Setting) -> Tensor:
    """A pass over all edges; returns what it keeps."""
    pruning = Pruning(problem(setting), setting.graph.exists.clone(), "kl")
    pruning.run(TAUS[setting.shape])
    return pruning.kept(TAUS[setting.shape])


class _Done(Exception):
    """The receiver has been pruned."""


def some_rows(
    setting: Setting, kept: Tensor, n_rows: int, before_each: Callable[[], None]
) -> tuple[float, int]:
    """Seconds and edges of some receivers of a pass that keeps `kept`; `before_each` is not counted."""
    graph, tau = setting.graph, TAUS[setting.shape]
    order = torch.arange(len(graph.receivers)).flip(0).repeat_interleave(graph.widths.flip(0))
    picked = order[(torch.arange(n_rows) + 0.5).mul(len(order) / n_rows).long()].tolist()
    seconds, edges = 0.0, 0
    for row in picked:
        before_each()
        task = problem(setting)
        pruning = Pruning(task, graph.exists.clone(), "kl")
        effects = torch.where(graph.exists, torch.nan, -torch.inf).double()
        effects[row + 1 :] = torch.where(kept[row + 1 :], torch.inf, -torch.inf).double()
        pruning.passes[tau] = effects
        state = pruning.kept(tau)
        (batch,) = task.batches
        task.clean(batch)
        task.losses_without("kl", batch, state, len(graph.receivers) - 1, state[-1].nonzero()[0].tolist())
        until = int(graph.widths[row:].sum())

        def told(done: int, total: int, note: str, until: int = until) -> None:
            if done >= until:
                raise _Done

        task._progress = told
        started = time.perf_counter()
        try:
            pruning.run(tau)
        except _Done:
            seconds += time.perf_counter() - started
        edges += int(graph.widths[row])
    return seconds, edges


def main() -> None:
    """The whole run on M, plain forwards timed all along."""
    setting = Setting("M")
    plain: list[float] = []
    task = problem(setting)
    away, last = 0.0, time.perf_counter()

    def told(done: int, total: int, note: str) -> None:
        nonlocal away, last
        if time.perf_counter() - last < 10:
            return
        started = time.perf_counter()
        setting.plain()
        plain.append(time.perf_counter() - started)
        last = time.perf_counter()
        away += last - started
        print(f"{done}/{total} {note}, {last - begun:.0f} s", flush=True)

    for _ in range(3):
        setting.plain()
    task._progress = told
    pruning = Pruning(task, setting.graph.exists.clone(), "kl")
    begun = time.perf_counter()
    n = pruning.run(TAUS["M"])
    seconds = time.perf_counter() - begun - away
    forward = statistics.median(plain)
    Circuit(setting.graph, pruning.kept(TAUS["M"])).save(FULL.with_suffix(".safetensors"))
    effects = pruning.passes[TAUS["M"]]
    figures = {
        "shape": "M",
        "threshold": TAUS["M"],
        "edges": setting.graph.n_edges,
        "edges_kept": n,
        "edges_tested": int((effects.isfinite() & setting.graph.exists).sum()),
        "removals_evaluated": task.counter.forwards,
        "seconds": round(seconds, 1),
        "plain_forward_seconds": round(forward, 4),
        "plain_forwards_per_edge": round(seconds / forward / setting.graph.n_edges, 4),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    FULL.with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
