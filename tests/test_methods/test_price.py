"""The price of an open gate: how it moves, when a size ends, and when it is given up."""

from __future__ import annotations

import pytest

from methods.training.price import GROWTH, PATIENCE, RETURN, Price


def test_a_price_moves_towards_the_size_and_slower_near_it() -> None:
    price = Price(1.0, [100], hold=10)
    for n_open, factor in ((1000, GROWTH), (100, 1.0), (10, 1 / GROWTH), (0, 1 / GROWTH)):
        before = price.now
        assert price.advance(n_open) is None
        assert price.now == pytest.approx(before * factor)
    before = price.now
    price.advance(102)
    assert before < price.now < before * GROWTH**0.3


def test_a_size_ends_after_its_hold_when_it_is_met() -> None:
    price = Price(1.0, [10, 100], hold=3)
    opened = [100, 100, 100, 11, 13, 13, 12, 11]
    assert [price.advance(n) for n in opened] == [None, None, 100, None, None, None, None, 10]
    few = Price(1.0, [10], hold=3)  # gates that nothing pulls do not come back
    assert [few.advance(5) for _ in range(RETURN * 3)] == [None] * (RETURN * 3 - 1) + [10]
    assert price.ended
    before = price.now
    assert price.advance(20) is None  # the last size stays wanted
    assert price.now == pytest.approx(before * GROWTH)


def test_a_size_waits_until_others_are_met() -> None:
    price = Price(1.0, [10], hold=2)
    assert [price.advance(10, ready=False) for _ in range(5)] == [None] * 5
    assert [price.advance(10) for _ in range(2)] == [None, 10]


def test_a_price_without_sizes_stays() -> None:
    price = Price(3.0, [], hold=1)
    assert price.ended
    assert price.advance(5) is None
    assert price.now == 3


def test_a_size_is_not_given_up_before_it_was_held() -> None:
    long = PATIENCE + 100
    price = Price(1.0, [100], hold=long)
    assert [price.advance(100) for _ in range(long)] == [None] * (long - 1) + [100]
    few = Price(1.0, [100], hold=long)
    assert [few.advance(80) for _ in range(RETURN * long)][-1] == 100


def test_a_size_never_met_is_an_error() -> None:
    price = Price(1.0, [1], hold=1)
    for _ in range(PATIENCE + RETURN):
        price.advance(3)
    with pytest.raises(ValueError, match=r"a size of 1 was not reached: 3 gates .* try a higher rate"):
        price.advance(3)
