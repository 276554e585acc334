"""What reports say of the papers' claims, of spread over seeds and of more data: by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from report_tables import METRIC, rows
from reports.claims.data_sizes import data_section, growth, over_data
from reports.claims.ratio import overall
from reports.claims.section import claims_section
from reports.claims.seeds import SEEDS, seeds_section, variation
from reports.leaderboard.entries import tidy
from reports.parts.methods import Methods
from reports.parts.style import lines

METHODS = Methods(("acdc", "discogp", "eap", "edge_pruning", "random_edges"), "random_edges")
LOOKS = lines(METHODS, [("eap", ""), ("edge_pruning", "")])


def table(*groups: list[dict[str, object]]) -> pd.DataFrame:
    return tidy(pd.DataFrame([row for group in groups for row in group]), METRIC)


def claims(*groups: list[dict[str, object]], recovery: pd.DataFrame | None = None) -> dict[str, list[str]]:
    section = claims_section(table(*groups), METHODS, recovery)
    if section is None or section.grid is None:
        return {}
    return {row.cells[0].text: [cell.text for cell in row.cells[3:]] for row in section.grid.rows}


def test_a_claim_of_several_comparisons() -> None:
    assert overall(["holds", "holds"]) == "holds"
    assert overall(["fails", "fails"]) == "fails"
    assert overall(["holds", "fails"]) == "in part"
    assert overall(["fails", "open"]) == "fails"
    assert overall(["holds", "open"]) == "open"
    assert overall([]) == "open"


def test_ahead_at_high_sparsity() -> None:
    ours = rows("edge_pruning", kl=[0.1, 0.11, 0.09])
    worse, better = [0.2, 0.22, 0.18], [0.05, 0.055, 0.045]

    def found(acdc: list[float], eap: list[float], **columns: Any) -> list[str]:
        return claims(ours, rows("acdc", kl=acdc, **columns), rows("eap", kl=eap))["C2"]

    assert found(worse, worse)[0] == "holds"
    assert found(better, better)[0] == "fails"
    assert found([0.1, 0.09, 0.12], worse)[0] == "open"
    verdict, figures = found(worse, better)
    assert verdict == "in part"
    assert "ioi, KL over that of acdc at 2 sizes from 2.00% to 5.00%: 0.500 [" in figures
    assert claims(ours, rows("acdc", kl=worse))["C2"][0] == "open"  # EAP has not run
    assert found(worse, [0.2, math.nan, 0.2])[0] == "open"  # a seed is unscored
    assert found([0.0, 0.0, 0.0], worse)[0] == "in part"  # a perfect rival counts
    elsewhere = rows("acdc", kl=better, discovery_ablation="zero")
    assert claims(ours, rows("acdc", kl=worse), rows("eap", kl=worse), elsewhere)["C2"][0] == "holds"
    assert "C2" not in claims(ours)


def test_published_circuits_decide_on_c3() -> None:
    shared = {"method": "edge_pruning", "ablation": "zero", "published_exact": False, "unaided_exact": True}
    recovery = pd.DataFrame([{**shared, "program": program} for program in ("x_proportion", "reverse")])
    ours = rows("edge_pruning")

    def told(published: Sequence[Any], runs: pd.DataFrame) -> list[str]:
        return claims(ours, recovery=runs.assign(published_exact=pd.Series(published).to_numpy()))["C3"]

    def judged(published: Sequence[bool | None], runs: pd.DataFrame = recovery) -> str:
        return told(published, runs)[0]

    verdict, figures = claims(ours, recovery=recovery)["C3"]
    assert verdict == judged([True, False]) == "fails"
    assert figures == (
        "unaided, zero ablation: the published lists in 0 of 1 run on x_proportion, 0 of 1 on reverse; the "
        "edges proved necessary in 1 of 1 run on x_proportion, 1 of 1 on reverse (1 seed)"
    )
    assert judged([True, True]) == "holds"
    assert "C3" not in claims(ours, recovery=recovery[:1])
    runs = pd.concat(recovery.assign(method_seed=s, kernels=k) for s in (1, 2) for k in ("DEFAULT", "AVX512"))
    variant = recovery.assign(params="target=0.5", published_exact=True)
    once_not = runs.assign(unaided_exact=[True] * 7 + [False])
    figures = claims(ours, recovery=pd.concat([once_not, variant]))["C3"][1]
    assert "the published lists in 0 of 4 runs on x_proportion, 0 of 4 on reverse" in figures
    assert figures.endswith(
        "necessary in 4 of 4 runs on x_proportion, 3 of 4 on reverse (2 seeds, kernels AVX512 and DEFAULT)"
    )
    assert judged([True] * 8, runs) == "holds"
    assert judged([True] * 7 + [False], runs) == "in part"
    assert judged([True, False] * 3 + [False, False], runs) == "fails"  # never on reverse
    unscored = [*[True] * 7, None]  # a run failed
    assert judged(unscored, runs) == "open"
    assert claims(ours, recovery=runs.assign(published_exact=pd.Series(unscored).to_numpy()))["C3"][
        1
    ].endswith("; 1 run unscored")


def over_examples(method: str, seconds: dict[int, float]) -> list[dict[str, object]]:
    return [row for n, s in seconds.items() for row in rows(method, n_discovery=n, seconds=s)]


def test_growth_with_data() -> None:
    flat = over_examples("edge_pruning", {200: 10.0, 20_000: 11.0})
    steep = over_examples("eap", {200: 1.0, 20_000: 90.0})
    grown = over_data(table(flat, steep, rows("acdc")), METHODS)
    assert set(grown["label"]) == {"edge_pruning", "eap"}
    assert growth(grown[grown["label"] == "eap"]) == pytest.approx(math.log(90) / math.log(100))
    acdc = over_examples("acdc", {200: 1.0, 2_000: 9.0})
    assert claims(flat, steep, acdc)["C4"][0] == "holds"
    assert claims(flat, steep)["C4"][0] == "open"  # ACDC has not run
    assert (
        claims(over_examples("edge_pruning", {200: 10.0, 20_000: 900.0}), steep, acdc)["C4"][0] == "in part"
    )
    assert "C4" not in claims(flat)


def test_runs_on_other_data_are_other_methods() -> None:
    found = table(over_examples("eap", {200: 1.0, 2000: 2.0}), rows("acdc"))
    assert set(found["params"]) == {"n_discovery=200", "n_discovery=2000", ""}


def test_spread_over_seeds() -> None:
    even = rows("edge_pruning", unaided_edges=[100 + i % 2 for i in range(SEEDS)])
    wide = rows("edge_pruning", unaided_edges=[50 * (1 + i % 2) for i in range(SEEDS)])
    assert claims(even)["C5"][0] == "holds"
    verdict, figures = claims(wide)["C5"]
    assert verdict == "fails"
    assert figures.startswith("unaided: ioi sparsity 92.5% ± 2.7% (50 to 100 edges), 8 seeds, overlap")
    assert claims(rows("edge_pruning", unaided_edges=[math.nan] * SEEDS))["C5"][0] == "open"
    assert "C5" not in claims(rows("edge_pruning", unaided_edges=[100, 101]))
    assert variation(pd.Series([90.0, 110.0])) == pytest.approx(math.sqrt(200) / 100)


def test_sections_are_drawn_and_hold_what_ran() -> None:
    kls = [0.1 * (1 + i) for i in range(SEEDS)]
    spread = seeds_section(
        table(rows("edge_pruning", kl=kls), rows("eap", kl=[0.1, 0.2])), METRIC, METHODS, LOOKS
    )
    assert spread is not None
    assert spread.grid is not None
    assert [row.cells[1].text for row in spread.grid.rows] == ["edge_pruning"] * 2
    assert spread.grid.rows[0].cells[5].text == "0.100 to 0.800"
    panels = spread.figures[0].figure().axes
    assert [len(line.get_ydata()) for line in panels[0].lines] == [2 * SEEDS]  # type: ignore[arg-type]
    data = data_section(table(over_examples("eap", {200: 1.0, 2000: 2.0})), METRIC, METHODS, LOOKS)
    assert data is not None
    assert data.grid is not None
    assert [row.cells[2].text for row in data.grid.rows] == ["200", "2,000"]
    assert len(data.figures[0].figure().axes) == 3
    assert seeds_section(table(rows("eap")), METRIC, METHODS, LOOKS) is None
    assert data_section(table(rows("eap")), METRIC, METHODS, LOOKS) is None
    plt.close("all")


def under_zero(method: str, own: float, rest: object, **columns: Any) -> list[dict[str, object]]:
    scores = {
        "choice_accuracy": own,
        "complement_choice_accuracy": rest,
        "chance": 0.5,
        "weight_density": 0.05,
    }
    return rows(method, **{**scores, "ablation": "zero", "discovery_ablation": "zero", **columns})


def test_discogp_keeps_the_performance_and_leaves_none() -> None:
    full = under_zero("full", 0.9, 0.5, weight_density=1.0)
    good = under_zero("discogp", 0.86, 0.55)
    acdc, eap = under_zero("acdc", 0.9, 0.8), under_zero("eap", 0.9, 0.1)
    found = claims(full, good, acdc, eap)
    assert found["C7"] == ["holds", "; ".join(f"ioi 96% with {s}% of edges, 5% of weights" for s in (2, 5))]
    assert found["C8"][0] == "holds"
    assert found["C8"][1].endswith("; ioi acdc 0.300; ioi discogp 0.0500; ioi eap 0.400")
    assert "C9" not in found
    undecided = under_zero("discogp", 0.86, 0.1, complement_choice_probability=0.49)
    verdict, figures = claims(full, undecided, acdc, eap)["C8"]
    assert (verdict, "discogp 0.400 (0.0100)" in figures) == ("in part", True)
    assert claims(full, good, acdc)["C8"][0] == "open"  # EAP has not run
    found = claims(
        full, under_zero("discogp", 0.8, 0.7), under_zero("acdc", 0.9, 0.55), under_zero("eap", 0.9, 0.5)
    )
    assert (found["C7"][0], found["C8"][0]) == ("fails", "fails")
    assert claims(full, good, under_zero("acdc", 0.9, 0.55), eap)["C8"][0] == "in part"
    assert (
        claims(full, under_zero("discogp", 0.86, [0.1, 0.9]), acdc, eap)["C8"][0] == "in part"
    )  # no mean of 0.5
    assert claims(good, acdc, eap)["C7"][0] == "open"  # nothing to compare with
    assert "C7" not in claims(full, under_zero("discogp", 0.86, 0.55, weight_density=0.2))
    assert "C7" not in claims(full, under_zero("discogp", 0.86, 0.55, ablation="resample"))


def test_circuits_of_patching_methods_scored_with_zeros() -> None:
    near, far = (under_zero("acdc", own, 0.5, discovery_ablation="resample") for own in (0.55, 0.7))
    assert claims(near)["C9"] == ["holds", "accuracy, mean distance from chance; ioi acdc 0.0500"]
    assert claims(far)["C9"][0] == "fails"
