"""Orders made of effects: a share by sign, signs that examples agree on; each held to its definition."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.engine.masked_model import MaskedModel
from methods.eap import EAP
from methods.eap_ig import EAPIG
from methods.exact import Exact
from methods.gim import GIM
from methods.selection.effects import PARTS, OfEffects
from methods.selection.order import sign_kept, with_positive
from problems import problem, random_examples


def best(values: Tensor, n: int, among: set[int]) -> set[int]:
    order = sorted(among, key=lambda place: (-float(values.flatten()[place]), place))
    return set(order[:n])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.77, 1.0])
def test_every_circuit_has_its_share_by_sign(share: float) -> None:
    """For every n: the best by sign, a share of n rounded up; of the others the best by absolute value."""
    signed = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)).double()
    signed[2, 1:4] = 0.3  # ties
    exists = torch.rand(5, 6, generator=torch.Generator().manual_seed(1)) < 0.7
    places = set(exists.flatten().nonzero()[:, 0].tolist())
    ranks = with_positive(signed.abs(), signed, exists, share)
    for n in range(1, len(places) + 1):
        wanted = best(signed, math.ceil(share * n - 1e-9), places)
        wanted |= best(signed.abs(), n - len(wanted), places - wanted)
        assert best(ranks, n, places) == wanted
    assert (ranks[~exists] <= ranks[exists].min()).all()


def test_the_share_of_kept_signs_is_the_bootstrap_s() -> None:
    """Of means of twenty parts, drawn again a few thousand times."""
    random = np.random.default_rng(0)
    parts = random.normal(0.3, 1.0, (PARTS, 12)) * random.uniform(0.1, 3, 12)
    drawn = parts[random.integers(PARTS, size=(5000, PARTS))].mean(1)
    expected = (np.sign(drawn) == np.sign(parts.mean(0))).mean(0)
    found = sign_kept(torch.from_numpy(parts.mean(0)), torch.from_numpy(parts.var(0) / PARTS))
    assert expected.min() < 0.8 < 0.95 < expected.max()
    np.testing.assert_allclose(found.numpy(), expected, atol=0.02)


@pytest.mark.parametrize("method", [EAP, EAPIG, GIM, partial(Exact, objective="difference")])
def test_edges_of_an_unsure_sign_come_last(tiny: MaskedModel, method: Callable[..., OfEffects]) -> None:
    """Held to effects of every part alone; the others keep their order, and so do they."""
    examples = random_examples(40, vocab=tiny.architecture.d_vocab)
    p, sure = problem(tiny, examples=examples), 0.9
    (batch,) = p.batches
    plain = method(absolute=False, selection="top").discover(p)
    assert plain.scores is not None
    parts = [batch.part(i, i + 2) for i in range(0, 40, 2)]
    means = torch.stack([part / 2 for part in method().effects(problem(tiny, examples=examples), parts)])
    mean, spread = means.double().mean(0), means.double().var(0, correction=0) / PARTS
    torch.testing.assert_close(plain.scores, mean, rtol=1e-4, atol=1e-7)
    exists = p.graph.exists
    unsure = exists & (sign_kept(mean, spread) < sure)
    found = method(stable=sure, selection="top").discover(problem(tiny, examples=examples))
    assert found.scores is not None
    assert found.unaided is not None
    assert 0 < int(unsure.sum()) < int(exists.sum())
    assert found.scores[unsure].max() < found.scores[exists & ~unsure].min()
    assert not (found.unaided & unsure).any()
    for some in (unsure, exists & ~unsure):
        assert (found.scores[some][mean.abs()[some].argsort()].diff() >= -1e-6).all()


def test_a_share_by_sign_is_a_ranking(tiny: MaskedModel) -> None:
    """All of it is the signed order, none of it the absolute one."""
    p = problem(tiny)
    absolute, signed = (EAP(absolute=a).discover(p).scores for a in (True, False))
    for share, order in ((1.0, signed), (1e-9, absolute)):
        found = EAP(positive=share).discover(p)
        assert found.scores is not None
        assert order is not None
        ranked = order[p.graph.exists][found.scores[p.graph.exists].argsort(descending=True)]
        assert (ranked.diff()[1:] <= 0).all()
        assert found.unaided is not None
        assert found.unaided.equal(EAP().discover(p).unaided)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positive": 1.5}, "positive must be from 0 to 1, not 1.5"),
        ({"threshold": -1.0}, "threshold must be from 0 to 1, not -1"),
        ({"threshold": math.nan}, "threshold must be from 0 to 1, not nan"),
        ({"stable": 0.9, "selection": "nodes"}, "stable filters edges, not nodes"),
        ({"stable": -0.1}, "stable must be from 0 to 1, not -0.1"),
        ({"positive": 0.5, "absolute": False}, "leave absolute=false out"),
    ],
)
def test_options_without_sense_are_refused(options: dict[str, float], message: str) -> None:
    for method in (EAP, EAPIG, GIM, Exact):
        with pytest.raises(ValueError, match=message):
            method(**options)  # type: ignore[arg-type]
