"""The n best of a ranking, held to the first n of a stable sort."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.thresholds.best import n_best

SCORES = st.lists(st.sampled_from([-math.inf, -2.0, -1.0, 0.0, 1.0, 2.0, math.inf]), min_size=12, max_size=12)


@given(SCORES, st.integers(0, 14))
def test_it_is_what_a_stable_sort_begins_with(values: list[float], n: int) -> None:
    """Of those that tie the first ones; what stands at -inf is not there to be taken."""
    ranked = sorted((i for i in range(12) if values[i] > -math.inf), key=lambda i: -values[i])
    expected = [i in ranked[:n] for i in range(12)]
    assert n_best(torch.tensor(values), n).tolist() == expected
    assert n_best(torch.tensor(values, dtype=torch.float64).view(3, 4), n).flatten().tolist() == expected
