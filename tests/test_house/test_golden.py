"""Stored results stay comparable: a number of the engine that has moved fails here."""

from __future__ import annotations

import json

import pytest

import golden
from bench.store.keys import golden_file

SINGLE = 1e-4
"""In float32 kernels differ in the last of seven digits, and a margin is the difference of two scores."""


@pytest.mark.parametrize("part", golden.PARTS)
def test_numbers_stand_still(part: str) -> None:
    if part == "recovery":
        pytest.importorskip("tracr")
    wanted = {k: v for k, v in json.loads(golden_file().read_text()).items() if k.startswith(f"{part}: ")}
    now = golden.compute(part)
    assert now.keys() == wanted.keys()
    for name, numbers in now.items():
        near = pytest.approx(wanted[name], rel=SINGLE if part == "recovery" else 1e-6, abs=1e-9)
        assert numbers == near, (
            f"{name} has moved. If that is meant: python tests/make_golden.py; stored results are stale then"
        )
