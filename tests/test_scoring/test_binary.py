"""Yes and no: Wilson's interval and McNemar's test, by formulas and by counting."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.scoring.statistics.binary import mcnemar, wilson


@settings(deadline=None)  # scipy is imported within
@given(n=st.integers(1, 80), data=st.data())
def test_wilsons_formula(n: int, data: st.DataObject) -> None:
    yes, z = data.draw(st.integers(0, n)), 1.959963984540054
    middle = (yes + z**2 / 2) / (n + z**2)
    reach = z / (n + z**2) * math.sqrt(yes * (n - yes) / n + z**2 / 4)
    assert wilson(yes, n) == pytest.approx((middle - reach, middle + reach), abs=1e-9)


def test_all_of_some_are_not_all_there_are() -> None:
    assert wilson(57, 57) == pytest.approx((0.9369, 1), abs=1e-4)
    assert all(math.isnan(end) for end in wilson(0, 0))


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=9))
def test_mcnemar_counts_the_ways_in_which_coins_could_fall(cases: list[tuple[bool, bool]]) -> None:
    """Of the cases that one alone has right, as uneven a share as that seen, or a more uneven one."""
    a, b = (np.array([case[i] for case in cases], dtype=bool) for i in (0, 1))
    apart = [x for x, y in cases if x != y]
    uneven = abs(2 * sum(apart) - len(apart))
    coins = list(product((0, 1), repeat=len(apart)))
    as_uneven = sum(abs(2 * sum(fallen) - len(apart)) >= uneven for fallen in coins)
    assert mcnemar(a, b) == pytest.approx(as_uneven / len(coins))
    assert mcnemar(a, b) == mcnemar(b, a)
