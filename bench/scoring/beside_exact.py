"""How well a method's ranking of edges agrees with their individual effects, if `exact` ran on the same
data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from bench.files import load_tensors
from bench.scoring.overlap import stored_circuit
from bench.store.record import Dimensions, names_of
from bench.store.results import Store

if TYPE_CHECKING:
    import pandas as pd

EXACT = "exact"
PLACE = [n for n in names_of(Dimensions) if n not in ("method", "params", "method_seed", "ablation")]
"""What two runs on the same problem have in common, whatever their circuits are scored under."""


def with_exact(table: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Adds to every row of a run the rank correlation of its scores with those of `exact`.

    Unscored if `exact` did not run on the same data, or if either has no scores. Of several runs of `exact`,
    the one whose options sort first counts: the default ones, if it ran with them.

    Args:
        table: the leaderboard, with the stem of each row's run.
        store: that it was made from.

    Raises:
        DamagedFile: a run or a circuit cannot be read.
    """
    found = table["edges_kept"] * math.nan
    ran = table[table["stem"].notna()] if "stem" in table else table.iloc[:0]
    for _, group in ran.groupby(PLACE):
        own = group[group["method"] == EXACT].sort_values(["params", "ablation"])
        if own.empty:
            continue
        for source, of_source in group.groupby("source"):
            # its own folder's if that ran there
            first = own.loc[(own["source"] != source).sort_values(kind="stable").index[0]]
            truth = _scores(store, first["stem"])
            file = store.circuit(first["stem"], first["size_requested"])
            if truth is None or not file.exists():
                continue
            exists = stored_circuit(file, first["hash"]).graph.exists
            for stem, rows in of_source.groupby("stem"):
                scores = _scores(store, str(stem))
                if scores is not None and scores.shape == exists.shape:
                    found[rows.index] = rank_correlation(scores, truth, exists)
    return table.assign(exact_correlation=found)


def rank_correlation(a: Tensor, b: Tensor, exists: Bool[Tensor, "receivers senders"]) -> float:
    """Spearman's, of the scores of edges as they rank them; NaN if either scores all edges alike.

    Args:
        a: scores, of the shape of `exists`.
        b: likewise.
        exists: where edges are.
    """
    from scipy.stats import rankdata

    ranks = torch.stack([torch.from_numpy(rankdata(each[exists].numpy())) for each in (a, b)])
    if (ranks.std(1) == 0).any():
        return math.nan
    return float(ranks.corrcoef()[0, 1])


def _scores(store: Store, stem: str) -> Tensor | None:
    return load_tensors(store.path(stem))[0].get("discovery.scores")
