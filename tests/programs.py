"""Compiled programs for the tests: a few in CI, every one before a release."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from bench.truth.verify import QUICK


def sampled(names: Iterable[str]) -> list[Any]:
    """Names as parameters: those that a quick run takes as they are, others for `make test-every` alone.

    Args:
        names: of programs.
    """
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.every) for name in sorted(names)]
