"""Columns of the tests of a circuit, from outputs made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.scoring.evaluate import RawOutputs
from bench.scoring.knockouts import KnockOuts
from bench.scoring.measures import LOGIT_DIFF, NUMBER_DIFF
from bench.scoring.metrics import Answers, Outputs
from bench.scoring.tested import by_template, columns_of

TEMPLATES, EACH = 24, 4
ANSWERS = TEMPLATES * EACH
TEMPLATE = torch.arange(ANSWERS) // EACH
SEEN = 12
CHOSEN = torch.arange(SEEN * EACH, ANSWERS, EACH)
"""An answer of each template that no method saw."""


def outputs(m: Tensor, kl: float) -> Outputs:
    """Whose m is given, and whose KL is the same everywhere."""
    logits = torch.stack([m, torch.zeros(ANSWERS)], 1).double()
    nothing = torch.zeros(ANSWERS)
    return Outputs(logits, nothing.double(), nothing.long(), torch.full((ANSWERS,), kl).double())


def raw(circuit: Tensor, complement: Tensor, empty_kl: float = 2.0) -> RawOutputs:
    """A model whose m is 4 or so, an empty circuit whose m is 0."""
    runs = {
        "full": outputs(FULL, 0.0),
        "empty": outputs(torch.zeros(ANSWERS), empty_kl),
        "it": outputs(circuit, 0.1),
        "rest": outputs(complement, 1.9),
    }
    answers = Answers(
        torch.arange(2).expand(ANSWERS, 2), torch.tensor([[True, False]]).expand(ANSWERS, 2), TEMPLATE,
        TEMPLATE >= SEEN,
    )  # fmt: skip
    return RawOutputs(runs, answers)


FULL = 4 + torch.randn(ANSWERS, generator=torch.Generator().manual_seed(0))


def knocked(
    costs: list[float], added: list[float], circuit_m: list[float], model_m: list[float]
) -> KnockOuts:
    def rows(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)[:, None].expand(-1, len(CHOSEN))

    base = [0.5] * len(added)
    over = [b + a for b, a in zip(base, added, strict=True)]
    return KnockOuts(CHOSEN, rows([0.1 + c for c in costs]), rows(base), rows(over), rows(circuit_m),
                     rows(model_m))  # fmt: skip


def test_idle_and_unneeded_edges_by_hand() -> None:
    """Costs are shares of the empty circuit's KL, 2: one edge costs 1, one 0.005, one nothing."""
    told = columns_of(raw(FULL, 0 * FULL), "it", "rest", LOGIT_DIFF,
                    knocked([2.0, 0.01, 0.0], [0.0] * 40, [1.0], [1.0]), 3)  # fmt: skip
    assert told["idle_share"] == pytest.approx(2 / 3)
    assert told["unneeded_share"] == pytest.approx(1 / 3), (
        "a cost of half a per cent is above that of idle edges"
    )
    assert float(told["p_minimality"]) < 1e-6
    assert told["untested"] == ""


def test_incompleteness_by_hand() -> None:
    told = columns_of(raw(FULL, 0 * FULL), "it", "rest", LOGIT_DIFF,
                    knocked([2.0], [0.0] * 40, [1.0, 2.0, 3.0], [1.0, 3.0, 1.0]), 1)  # fmt: skip
    gap = float(FULL[CHOSEN].mean())
    assert told["incompleteness_mean"] == pytest.approx(1 / gap)
    assert told["incompleteness_max"] == pytest.approx(2 / gap)


def test_equivalence_and_independence_look_at_unseen_templates() -> None:
    """What the circuit does on templates that methods saw is no matter."""
    behind = torch.where(TEMPLATE < SEEN, FULL, FULL - 1)
    copy = torch.where(TEMPLATE < SEEN, 0 * FULL, FULL)
    told = columns_of(raw(behind, copy), "it", "rest", LOGIT_DIFF, None, 300)
    assert told["ahead_share"] == 0.0
    assert told["p_equivalence"] == pytest.approx(0.6**12 + 0.4**12)
    assert float(told["p_independence"]) < 0.01
    assert told["p_independence_empty"] == pytest.approx(0.5, abs=0.01)
    assert told["untested"] == "knock-outs: a circuit of more than 100 edges"
    other = columns_of(raw(FULL + (behind - FULL) * -1, 0 * FULL), "it", "rest", LOGIT_DIFF, None, 1)
    assert other["ahead_share"] == 1.0
    assert other["untested"] == "knock-outs: a circuit of fewer than 2 edges"
    seen = torch.where(TEMPLATE < SEEN, FULL - 1, FULL)
    again = columns_of(raw(seen, 0 * FULL), "it", "rest", LOGIT_DIFF, None, 9)
    assert (again["ahead_share"], again["untested"]) == (0.5, "knock-outs: not made in this run")


def test_differences_below_a_hundredth_of_the_way_are_ties() -> None:
    told = columns_of(raw(FULL - 0.01, 0 * FULL), "it", "rest", LOGIT_DIFF, None, 9)
    assert told["ahead_share"] == 0.5


def test_where_the_empty_circuit_is_the_model_nothing_is_said() -> None:
    same = raw(FULL, 0 * FULL, empty_kl=0.0)
    same = RawOutputs({**same.runs, "empty": same.runs["full"]}, same.answers)
    told = columns_of(same, "it", "rest", LOGIT_DIFF, knocked([0.0], [0.0] * 40, [1.0], [1.0]), 2)
    assert "idle_share" not in told
    assert all(math.isnan(float(told[name])) for name in ("p_minimality", "incompleteness_mean"))
    assert told["untested"] == "minimality: unscored; incompleteness: full and empty hardly differ"


def test_numbers_are_read_by_all_outputs_of_an_input() -> None:
    """Four answers an input; inputs are the units, so that there are too few of 24 for independence."""
    told = columns_of(raw(FULL, 0 * FULL), "it", "rest", NUMBER_DIFF, None, 9)
    assert str(told["untested"]).startswith(
        "independence: at least 40 prompts that share a template are needed, not 12"
    )


def test_means_of_templates() -> None:
    values, template = torch.tensor([1.0, 2.0, 6.0, 5.0]), torch.tensor([7, 3, 7, 3])
    assert np.array_equal(by_template(values, template), [3.5, 3.5])
