"""Long tables made up for the tests of reports, and what their columns mean."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from bench.scoring.catalogue import METRICS as ALL
from reports.parts.metric import read_metrics

METRICS = [
    {"name": "recovered", "label": "Recovered", "unit": "share", "better": "higher"},
    {"name": "kl", "label": "KL", "description": "KL(full ‖ circuit)", "unit": "nats", "better": "lower"},
    {"name": "exact_match", "label": "exact match", "better": "higher"},
    {"name": "faithfulness", "label": "faithfulness", "better": "nearer 1"},
    {"name": "complement_loss", "label": "complement_loss", "better": "nearer 1"},
    {"name": "seconds", "label": "time", "unit": "s", "better": "lower"},
]


EVIL = "<script>alert(1)</script>|$x$"


EMPTY = 6.0
"""kl of the empty circuit."""


# kl by task and method at sizes 1 % and 10 %, before the seeds' ± 0.1
KL = {
    "ioi": {"good": (1.0, 0.5), "middling": (2.0, 0.5), "random_edges": (4.0, 3.0)},
    "gt": {"good": (3.0, 0.2), "middling": (1.0, 0.4), "random_edges": (4.0, math.nan)},
}


def leaderboard(ablation: str = "resample") -> pd.DataFrame:
    """Two tasks, three methods, two sizes, two seeds, full and empty, a failed and a declined job."""
    rows = []
    for task, methods in KL.items():
        base = {"model": "tiny/lm", "task": task, "ablation": ablation, "graph": "edges", "status": "ok"}
        rows.append(
            {**base, "method": "full", "data_seed": 0, "size_requested": 1.0, "edges_kept": 400, "kl": 0.0,
             "recovered": 1.0}
        )  # fmt: skip
        rows.append(
            {**base, "method": "empty", "data_seed": 0, "size_requested": 0.0, "edges_kept": 0, "kl": EMPTY,
             "recovered": 0.0}
        )  # fmt: skip
        for method, values in methods.items():
            for seed, shift in enumerate((-0.1, 0.1)):
                for size, kl in zip((0.01, 0.1), values, strict=True):
                    record = {"method": method, "data_seed": seed, "size_requested": size, "seconds": 2.5}
                    score = {
                        "kl": kl + shift,
                        "kl_low": kl - 0.2,
                        "kl_high": kl + 0.2,
                        "recovered": 1 - (kl + shift) / EMPTY,
                        "recovered_low": 1 - (kl + 0.2) / EMPTY,
                        "recovered_high": 1 - (kl - 0.2) / EMPTY,
                        "exact_match": 1 / (1 + kl),
                    }
                    kept = {
                        "edges_kept": int(400 * size),
                        "edge_sparsity": 1 - size,
                        "faithfulness": 1 - kl / EMPTY,
                    }
                    rows.append({**base, **record, **score, **kept, "complement_loss": 0.9})
    trouble = {"model": "tiny/lm", "task": "gt", "ablation": ablation, "data_seed": 0, "params": EVIL}
    rows.append({**trouble, "method": "bad", "status": "failed", "status_reason": f"boom {EVIL}"})
    rows.append({**trouble, "method": "shy", "status": "declined", "status_reason": "no gradient"})
    return pd.DataFrame(rows)


def one_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Its first seed."""
    return table[table["data_seed"] == 0].reset_index(drop=True)


def older(table: pd.DataFrame) -> pd.DataFrame:
    """As a version had it that knew no `recovered`."""
    return table[[name for name in table.columns if not name.startswith("recovered")]]


def section(text: str, heading: str) -> str:
    """The part of a Markdown page under one heading."""
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


METRIC = read_metrics(
    [{"name": m.name, "label": m.label, "description": m.description, "better": m.better} for m in ALL]
)


def rows(method: str, task: str = "ioi", **columns: Any) -> list[dict[str, object]]:
    """A row per size; `columns` may hold a list, a value per seed."""
    seeds = max((len(value) for value in columns.values() if isinstance(value, list)), default=1)
    return [
        {
            "model": "m", "graph": "g", "ablation": "resample", "task": task, "method": method,
            "status": "ok",
            "params": "", "measure": "logit_diff", "kl_candidates": 0.1, "kl": 0.1, "seconds": 1.0,
            "effective_edges": 9, "edges_kept": 9, "n_edges": 1000, "unaided_edges": 9,
            "seed_overlap": 0.5, "n_discovery": 200,
            "data_seed": seed, "size_requested": size,
            **{name: value[seed] if isinstance(value, list) else value for name, value in columns.items()},
        }
        for size in (0.02, 0.05)
        for seed in range(seeds)
    ]  # fmt: skip


def circuits(kls: dict[int, float], measure: str = "logit_diff", **more: Any) -> pd.DataFrame:
    """A circuit per size, in effective edges."""
    return pd.DataFrame(
        [
            {
                "size_requested": n / 1000,
                "n_edges": 1000,
                "effective_edges": n,
                "kl": kl,
                "kl_candidates": kl / 10,
                "measure": measure,
                **more,
            }
            for n, kl in kls.items()
        ]
    )


def fine_sizes(eap_needs: int) -> pd.DataFrame:
    place = {"model": "m", "graph": "g", "ablation": "resample", "task": "ioi", "status": "ok", "params": ""}
    needs = {"edge_pruning": 40, "eap": eap_needs, "random_edges": 10, "full": 10}
    return pd.concat(
        circuits({n: 0.1 * need / n for n in range(5, 300)}, **place, method=method, data_seed=seed)
        for method, need in needs.items()
        for seed in (0, 1)
    )
