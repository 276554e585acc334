"""Stored results stay comparable: a number that moves without a bump of NUMERICS fails here."""

from __future__ import annotations

import json
import math

import golden


def test_numbers_stand_still() -> None:
    stored, now = json.loads(golden.FILE.read_text()), golden.compute()
    assert stored.keys() == now.keys()
    assert stored["numerics"] == now["numerics"], "NUMERICS was bumped: run python tests/make_golden.py"
    for name in stored.keys() - {"numerics"}:
        scores = now[name]
        assert isinstance(scores, dict)
        assert scores.keys() == stored[name].keys()
        for metric, value in stored[name].items():
            same = math.isclose(value, scores[metric], rel_tol=1e-7, abs_tol=1e-9)
            both_nan = math.isnan(value) and math.isnan(scores[metric])
            assert same or both_nan, (
                f"{name}: {metric} was {value}, is {scores[metric]}. If that is meant, bump NUMERICS in "
                "bench/experiment.py and run python tests/make_golden.py"
            )
