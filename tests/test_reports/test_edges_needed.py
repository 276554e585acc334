"""Edges needed for a KL, by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from report_tables import circuits, fine_sizes
from reports.claims.edges_needed import edges_needed, edges_needed_section
from reports.parts.methods import Methods
from reports.parts.numbers import DASH

METHODS = Methods(("eap", "edge_pruning", "random_edges"), "random_edges")


def test_the_smallest_circuit_that_meets_the_level() -> None:
    fine = {n: 10 / n for n in range(80, 121)}
    assert edges_needed(circuits(fine), 0.1) == 100
    assert edges_needed(circuits(dict(reversed(fine.items()))), 0.1) == 100
    assert edges_needed(circuits({**fine, 99: 0.05}), 0.1) == 99  # it need not be monotone
    assert edges_needed(circuits(fine, measure="prob_diff"), 0.0101) == 100  # among the candidates


@pytest.mark.parametrize(
    ("kls", "why"),
    [
        ({50: 0.2, 100: 0.09}, "far apart"),
        ({100: 0.09, 101: 0.08}, "nothing smaller was tried"),
    ],
)
def test_what_the_sizes_cannot_tell_is_unscored(kls: dict[int, float], why: str) -> None:
    assert math.isnan(edges_needed(circuits(kls), 0.1)), why


def test_what_a_method_made_of_a_size_is_its_own_affair() -> None:
    """Asked for 19 and 20 edges it kept 12 both times; for 18, which did not do, 5."""
    kept = pd.DataFrame(
        {"size_requested": [0.018, 0.019, 0.02], "effective_edges": [5, 12, 12], "kl": [1, 0.1, 0.1]}
    )
    assert edges_needed(kept.assign(n_edges=1000, measure="logit_diff"), 0.1) == 12
    assert math.isnan(edges_needed(kept[1:].assign(n_edges=1000, measure="logit_diff"), 0.1))


def test_a_level_that_no_circuit_meets_is_infinitely_far() -> None:
    assert edges_needed(circuits({100: 0.2, 101: 0.11}), 0.1) == math.inf


def test_small_circuits_may_differ_by_an_edge() -> None:
    assert edges_needed(circuits({4: 0.2, 5: 0.1}), 0.1) == 5
    assert math.isnan(edges_needed(circuits({3: 0.2, 5: 0.1}), 0.1))


def test_the_table_tells_the_ratio_by_method() -> None:
    section = edges_needed_section(fine_sizes(eap_needs=100), METHODS)
    assert section is not None
    assert section.grid is not None
    texts = [[cell.text for cell in row.cells] for row in section.grid.rows]
    assert texts == [
        ["ioi", "edge_pruning", "0.100", "40.0", "", "2"],
        ["ioi", "eap", "0.100", "100", "0.400", "2"],
        ["ioi", "edge_pruning", "0.0200", "200", "", "2"],
        ["ioi", "eap", "0.0200", "∞", DASH, "2"],
    ]


def test_a_table_of_few_sizes_has_none() -> None:
    few = fine_sizes(100).query("effective_edges in (50, 100, 200)")
    assert edges_needed_section(few, METHODS) is None
    assert edges_needed_section(few.drop(columns="measure"), METHODS) is None
    assert edges_needed_section(few.assign(status="failed"), METHODS) is None


def test_more_method_seeds_are_no_more_chances() -> None:
    """Of each data seed it is what the method needs on average, not what its luckiest seed needs."""
    lucky = fine_sizes(100)
    lucky = lucky[lucky["method"] == "edge_pruning"].assign(kl=lambda rows: rows["kl"] / 2)
    both = pd.concat([fine_sizes(100).assign(method_seed=0), lucky.assign(method_seed=1)])
    section = edges_needed_section(both, METHODS)
    assert section is not None
    assert section.grid is not None
    texts = {(row.cells[1].text, row.cells[2].text): row.cells[3].text for row in section.grid.rows}
    assert texts["edge_pruning", "0.100"] == "30.0"
