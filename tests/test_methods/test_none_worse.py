"""Circuits of which none does worse than a smaller one: what gives way, and to what."""

from __future__ import annotations

import torch

from bench.engine.masked_model import MaskedModel
from methods.thresholds.best import n_best
from methods.thresholds.cheapest_cut import mean_loss
from methods.thresholds.none_worse import grown, none_worse
from problems import problem


def test_a_circuit_grows_along_its_steepest_edges(tiny: MaskedModel) -> None:
    """By finite differences of the loss in the mask, edge by edge; of candidates alone."""
    p = problem(tiny, per_batch=5)
    random = torch.Generator().manual_seed(0)
    kept = n_best(torch.rand(p.graph.exists.shape, generator=random).masked_fill(~p.graph.exists, -1), 20)
    candidates = p.graph.exists.clone()
    candidates[3] = False
    falls = torch.full(kept.shape, -torch.inf, dtype=torch.float64)

    def loss(mask: torch.Tensor) -> float:
        return sum(p.loss("kl", p.run(part, mask), part).item() for part in p.batches)

    for edge in (candidates & ~kept).nonzero().tolist():
        more, less = kept.double(), kept.double()
        more[*edge], less[*edge] = 1e-4, -1e-4
        falls[*edge] = loss(less) - loss(more)
    for n in (20, 21, 27):
        found = grown(p, "kl", kept, n, candidates, p.batches)
        assert found.equal(kept | n_best(falls, n - 20))


def test_what_does_worse_gives_way_and_nothing_else(tiny: MaskedModel) -> None:
    p = problem(tiny, "zero")
    exists = p.graph.exists
    good = n_best(torch.rand(exists.shape, generator=torch.Generator().manual_seed(1)) * exists, 40) & exists
    drawn = [
        n_best(torch.rand(exists.shape, generator=torch.Generator().manual_seed(seed)) * exists, 44) & exists
        for seed in range(2, 30)
    ]
    at = mean_loss(p, "kl", good, p.batches)
    losses = [mean_loss(p, "kl", each, p.batches) for each in drawn]
    worse, better = drawn[losses.index(max(losses))], drawn[losses.index(min(losses))]
    assert min(losses) < at < max(losses)
    n, m = int(good.sum()), int(worse.sum())
    assert n < m
    found = none_worse(p, "kl", {n: good, m: worse}, exists, p.batches)
    assert found[n].equal(good)
    assert found[m].equal(grown(p, "kl", good, m, exists, p.batches))
    kept = none_worse(p, "kl", {m: better, n: good}, exists, p.batches)
    assert kept[n].equal(good)
    assert kept[m].equal(better)
