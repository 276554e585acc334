"""The size of least cost, among all sizes where these are few, and of equal ones the smallest."""

from __future__ import annotations

import pytest

from methods.thresholds.cheapest_cut import cheapest_cut


@pytest.mark.parametrize("best", [0, 1, 7, 19, 60, 143, 199, 200])
def test_a_valley_is_found(best: int) -> None:
    assert cheapest_cut(lambda n: abs(n - best), 200) == best


def test_of_equal_sizes_the_first_that_was_tried_is_taken() -> None:
    """No edge where all cost the same; on a floor, a size of the coarse grid."""
    assert cheapest_cut(lambda n: 1.0, 200) == 0
    assert cheapest_cut(lambda n: float(n < 7), 200) == 7
    assert cheapest_cut(lambda n: float(n > 7), 200) == 0


def test_no_size_is_tried_twice() -> None:
    tried: list[int] = []
    cheapest_cut(lambda n: tried.append(n) or float(n), 500)  # type: ignore[func-returns-value]
    assert len(tried) == len(set(tried))
