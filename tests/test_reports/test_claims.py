"""What reports say of the papers' claims, of spread over seeds and of more data: by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from report_tables import METRIC, circuits, rows
from reports.claims.claim import Claim
from reports.claims.data_sizes import data_section, growth, over_data
from reports.claims.discogp import discogp_claims
from reports.claims.edge_pruning import edge_pruning_claims
from reports.claims.section import claims_section
from reports.claims.seeds import SEEDS, seeds_section, variation
from reports.claims.true_circuits import true_circuit_claims
from reports.leaderboard.entries import tidy
from reports.parts.methods import Methods
from reports.parts.style import lines

METHODS = Methods(("acdc", "discogp", "eap", "edge_pruning", "random_edges"), "random_edges")
LOOKS = lines(METHODS, [("eap", ""), ("edge_pruning", "")])


def table(*groups: list[dict[Any, Any]]) -> pd.DataFrame:
    return tidy(pd.DataFrame([row for group in groups for row in group]), METRIC)


def claims(*groups: list[dict[Any, Any]]) -> dict[str, Claim]:
    found = tidy(pd.DataFrame([row for group in groups for row in group]), METRIC)
    told = [*edge_pruning_claims(found, METHODS), *discogp_claims(found, METHODS)]
    return {claim.name: claim for claim in told if claim is not None}


def verdict(claim: Claim) -> str:
    return claim.verdict(pretrained=True)


def fine(needs: Mapping[str, Sequence[float]], shortest: int = 1) -> list[dict[Any, Any]]:
    """Circuits of every size of which each method's are within 0.1 nats from so many edges on, by seed."""
    place = {"model": "m", "graph": "g", "ablation": "resample", "task": "ioi", "status": "ok", "params": ""}
    tables = [
        circuits({n: 0.1 * need / n for n in range(1, 120)}, **place, method=method, data_seed=seed,
                 shortest_path=shortest)
        for method, seeds in needs.items()
        for seed, need in enumerate(seeds)
    ]  # fmt: skip
    return [row for each in tables for row in each.to_dict("records")]


def test_fewer_edges_at_equal_kl() -> None:
    acdc, eap = [100, 104, 98, 101, 99], [110, 104, 98, 107, 99]

    def found(ours: Sequence[float], **rivals: Sequence[float]) -> Claim:
        return claims(fine({"edge_pruning": ours, **rivals}))["C1"]

    # within 0.02 nats no rival has a circuit, so that half of the comparisons cannot be made
    assert verdict(found([40, 41, 39, 40, 42], acdc=acdc, eap=eap)) == "undecided"
    assert (
        found([40, 41, 39, 40, 42], acdc=acdc, eap=eap).seen().endswith("2 of 4 comparisons without a test")
    )
    assert verdict(found([80, 81, 79, 80, 82], acdc=acdc, eap=eap)) == "contradicted"
    small = found([4, 5, 4, 4, 5], acdc=[18, 19, 20, 18, 19], eap=[19, 20, 19, 18, 19])
    assert verdict(small) == "holds"
    assert small.ran == (  # five times the edges within a fifth of the KL
        "ratio of the effective edges of edge_pruning at a KL of 0.1 and 0.02 nats on 1 task; over those of "
        "acdc 0.233; over those of eap 0.230"
    )
    alone = found([4, 5, 4, 4, 5], acdc=[18, 19, 20, 18, 19])
    assert verdict(alone) == "undecided"
    assert alone.ran.endswith("eap has not run")


def test_a_rival_with_several_settings_is_told_so() -> None:
    ours, acdc = gaps("edge_pruning", 0.1, 0.11, 0.09), gaps("acdc", 0.21, 0.22, 0.18)
    eap = [*gaps("eap", 0.21, 0.22, 0.18), *gaps("eap", 0.3, 0.32, 0.28, params="absolute=true")]
    claim = claims(ours, acdc, eap)["C2"]
    assert verdict(claim) == "undecided"
    assert claim.ran.endswith("eap ran with several settings")


def test_seeds_of_two_settings_are_two_samples() -> None:
    """So are those of circuits found under another ablation, which do not count at all."""
    edges = [100 + 10 * (i % 3) for i in range(12)]
    one = rows("edge_pruning", unaided_edges=edges)
    other = rows("edge_pruning", unaided_edges=[10 * n for n in edges], params="rate=0.2")
    given = rows("edge_pruning", unaided_edges=[10 * n for n in edges], discovery_ablation="zero")
    alone, both, crossed = claims(one)["C5"], claims(one, other)["C5"], claims(one, given)["C5"]
    assert alone.ran.count("12 seeds") == crossed.ran.count("12 seeds") == 1
    assert both.ran.count("12 seeds") == 2
    assert "rate=0.2" in both.ran


def test_no_method_needs_fewer_edges_than_the_shortest_path() -> None:
    """Half of 4 edges are 2: where every path has 2, fewer than half is none at all."""
    needs = {"edge_pruning": [2, 3, 2, 3, 2], "acdc": [4, 4, 4, 4, 4], "eap": [19, 20, 19, 18, 19]}
    claim = claims(fine(needs, shortest=2))["C1"]
    assert verdict(claim) == "not attainable"
    assert "ioi within 0.100 nats: acdc needs 4.00 edges, and the shortest path has 2 edges" in claim.seen()
    assert verdict(claims(fine(needs, shortest=1))["C1"]) != "not attainable"
    unknown = claims(fine(needs, shortest=0))["C1"]  # a table of a version that did not count
    assert verdict(unknown) != "not attainable"


def gaps(method: str, *seeds: float, **columns: Any) -> list[dict[str, object]]:
    """log_gap by seed: what is left of the empty circuit's KL."""
    return rows(method, log_gap=[math.log(left) for left in seeds], **columns)


def test_ahead_at_high_sparsity() -> None:
    ours = gaps("edge_pruning", 0.1, 0.11, 0.09)
    worse, better = (0.21, 0.22, 0.18), (0.05, 0.056, 0.045)

    def found(acdc: Sequence[float], eap: Sequence[float], **columns: Any) -> Claim:
        return claims(ours, gaps("acdc", *acdc, **columns), gaps("eap", *eap))["C2"]

    assert verdict(found(worse, worse)) == "holds"
    assert verdict(found(better, better)) == "contradicted"
    claim = found((0.1, 0.09, 0.12), worse)
    assert verdict(claim) == "undecided"
    left = [math.log(a / b) for a, b in zip((0.1, 0.11, 0.09), (0.1, 0.09, 0.12), strict=True)]
    assert f"ioi at 2 % to 5 %, over acdc {math.exp(sum(left) / 3):.3f} [" in claim.ran
    alone = claims(ours, gaps("acdc", *worse))["C2"]
    assert verdict(alone) == "undecided"
    assert alone.ran.endswith("eap has not run")
    assert verdict(found((0.2, math.nan, 0.21), worse)) == "undecided"  # a seed is unscored
    elsewhere = gaps("acdc", *better, discovery_ablation="zero")
    assert verdict(claims(ours, gaps("acdc", *worse), gaps("eap", *worse), elsewhere)["C2"]) == "holds"
    assert "C2" not in claims(ours)


def test_another_ablation_is_another_comparison() -> None:
    """Ahead under resample and behind under zero is not ahead."""
    ours, worse, better = (0.1, 0.11, 0.09), (0.21, 0.22, 0.18), (0.05, 0.056, 0.045)
    resample = [*gaps("edge_pruning", *ours), *gaps("acdc", *worse), *gaps("eap", *worse)]
    zero = [
        gaps(m, *kl, ablation="zero") for m, kl in (("edge_pruning", ours), ("acdc", better), ("eap", worse))
    ]
    claim = claims(resample, *zero)["C2"]
    assert verdict(claim) == "contradicted"
    assert "ioi · zero at 2 % to 5 %, over acdc 1.99 [" in claim.ran


def test_nobody_is_ahead_of_a_rival_with_nothing_left() -> None:
    """log_gap ends at 1 %: a claim to be below that could not be met by any circuit."""
    floor = gaps("acdc", 0.01, 0.01, 0.01)
    claim = claims(gaps("edge_pruning", 0.01, 0.011, 0.01), floor, gaps("eap", 0.2, 0.21, 0.18))["C2"]
    assert verdict(claim) == "not attainable"
    assert claim.seen().endswith("ioi: acdc leaves 1 % or less, so nothing is left to be ahead by")


RECOVERY = pd.DataFrame(
    {"method": "edge_pruning", "ablation": "zero", "program": program, "method_seed": seed,
     "kernels": kernels, "published_exact": False, "unaided_exact": True}
    for program in ("x_proportion", "reverse") for seed in range(8) for kernels in ("DEFAULT", "AVX512")
)  # fmt: skip


def test_published_lists_and_proved_edges_are_two_things() -> None:
    published, proved = true_circuit_claims(RECOVERY)
    assert published.name == proved.name == "C3"
    assert published.verdict(pretrained=False) == "contradicted"
    assert proved.verdict(pretrained=False) == "holds"
    assert published.ran == (
        "unaided, zero ablation, exactly the published list: 0 of 8 seeds on x_proportion, 0 of 8 seeds on "
        "reverse (8 seeds, kernels AVX512 and DEFAULT)"
    )
    assert published.seen() == "a share of 0.896 or more"


def test_recovery_is_a_share_of_seeds() -> None:
    def proved(runs: pd.DataFrame) -> Claim:
        return true_circuit_claims(runs)[1]

    def judged(runs: pd.DataFrame) -> str:
        return proved(runs).verdict(pretrained=False)

    lost = RECOVERY.assign(unaided_exact=[False] * 2 + [True] * 30)  # one seed, on both kernels
    assert judged(lost) == "holds"  # 7 of 8
    assert "7 of 8 seeds on x_proportion, 8 of 8 seeds on reverse" in proved(lost).ran
    apart = RECOVERY.assign(unaided_exact=[False, True] * 2 + [True] * 28)  # two seeds, on some kernels
    assert "6 of 8 seeds on x_proportion" in proved(apart).ran
    assert judged(apart) == "undecided"
    assert judged(RECOVERY[RECOVERY["method_seed"] < 4]) == "undecided"  # all of four may be chance
    failed = RECOVERY.assign(status=["failed"] + ["ok"] * 31)
    assert judged(failed) == "undecided"
    assert proved(failed).ran.endswith("; 1 run unscored")
    assert not true_circuit_claims(RECOVERY[RECOVERY["program"] == "reverse"])
    assert not true_circuit_claims(None)
    tuned = RECOVERY.assign(params="target=0.5", unaided_exact=False)
    assert judged(pd.concat([RECOVERY, tuned])) == "holds"  # at its defaults


NUMBERS = (200, 1000, 5000, 20_000, 100_000)


def over_examples(method: str, seconds: dict[int, float], made: float = 0.0) -> list[dict[str, object]]:
    """A run per number of examples, each of which takes so long to make."""
    return [
        row
        for n, s in seconds.items()
        for row in rows(method, n_discovery=n, seconds=s, data_seconds=made * n)
    ]


def grown(method: str, power: float, **more: float) -> list[dict[str, object]]:
    """Seconds that go as a power of the examples, a little off."""
    return over_examples(method, {n: n**power * (1 + 0.02 * (i % 2)) for i, n in enumerate(NUMBERS)}, **more)


def test_growth_with_data() -> None:
    flat, eap, acdc = grown("edge_pruning", 0.01), grown("eap", 0.9), grown("acdc", 1.0)
    found = over_data(table(flat, eap, rows("random_edges")), METHODS)
    assert set(found["label"]) == {"edge_pruning", "eap"}
    assert growth(found[found["label"] == "eap"]).value == pytest.approx(0.9, abs=0.01)
    claim = claims(flat, eap, acdc)["C4"]
    assert verdict(claim) == "holds"
    assert "ioi eap 0.9" in claim.ran
    assert "(5 numbers of examples from 200 to 100,000)" in claim.ran
    assert "a slope of 0.0" in claim.seen()
    assert "one of 0.5" in claim.seen()
    assert verdict(claims(flat, eap)["C4"]) == "undecided"  # ACDC has not run
    assert verdict(claims(grown("edge_pruning", 0.9), eap, acdc)["C4"]) == "contradicted"
    assert "C4" not in claims(flat)


def test_making_the_prompts_counts() -> None:
    """Training takes as long on any number of examples, but 100,000 are not made in the time of 200."""
    eap, acdc = grown("eap", 0.9), grown("acdc", 1.0)
    flat = grown("edge_pruning", 0.0)
    assert verdict(claims(flat, eap, acdc)["C4"]) == "holds"
    assert verdict(claims(grown("edge_pruning", 0.0, made=0.1), eap, acdc)["C4"]) == "contradicted"
    untimed = [{k: v for k, v in row.items() if k != "data_seconds"} for row in (*flat, *eap, *acdc)]
    assert verdict(claims(untimed)["C4"]) == "undecided"
    two = growth(over_data(table(over_examples("eap", {200: 1.0, 2000: 5.0}, made=0.001)), METHODS))
    assert two.value == pytest.approx(math.log10(7 / 1.2))


def test_places_do_not_mix_over_data() -> None:
    """Two models or ablations in one folder are rows of their own."""
    fast = over_examples("eap", {200: 1.0, 2000: 2.0})
    slow = [{**row, "model": "large"} for row in over_examples("eap", {200: 10.0, 2000: 40.0})]
    section = data_section(table(fast, slow), METRIC, METHODS, LOOKS)
    assert section is not None
    assert section.grid is not None
    texts = [[cell.text for cell in row.cells[:4]] for row in section.grid.rows]
    assert sorted(float(text[3]) for text in texts) == [1, 2, 10, 40]
    assert len({text[0] for text in texts}) == 2


def test_fewer_than_five_numbers_are_no_line() -> None:
    few = {n: n**0.01 * (1 + 0.001 * (i % 2)) for i, n in enumerate(NUMBERS[:4])}
    claim = claims(over_examples("edge_pruning", few), grown("eap", 0.9), grown("acdc", 1.0))["C4"]
    assert verdict(claim) == "undecided"
    assert claim.seen().endswith("1 of 3 comparisons without a test")


def test_runs_on_other_data_are_other_methods() -> None:
    found = table(over_examples("eap", {200: 1.0, 2000: 2.0}), rows("acdc"))
    assert set(found["params"]) == {"n_discovery=200", "n_discovery=2000", ""}


def test_spread_over_seeds() -> None:
    """Of the log of the edges: at a sparsity of 99 % no number of edges moves the sparsity by much."""
    even = claims(rows("edge_pruning", unaided_edges=[1000 + 10 * (i % 3) for i in range(12)]))["C5"]
    assert verdict(even) == "holds"
    wide = claims(rows("edge_pruning", unaided_edges=[5 * (1 + i % 2) for i in range(12)]))["C5"]
    assert verdict(wide) == "contradicted"
    assert (
        "ioi 0.362 [0.256, 0.615] (5 to 10 edges, 12 seeds; overlap of circuits of one size 0.500" in wide.ran
    )
    middling = claims(rows("edge_pruning", unaided_edges=[100 + 10 * (i % 3) for i in range(12)]))["C5"]
    assert verdict(middling) == "undecided"
    assert middling.seen() == "a standard deviation of 0.0559 or less"
    assert verdict(claims(rows("edge_pruning", unaided_edges=[math.nan] * SEEDS))["C5"]) == "undecided"
    assert verdict(claims(rows("edge_pruning", unaided_edges=[0, *range(5, 12)]))["C5"]) == "undecided"
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


def under_zero(method: str, own: object, rest: object, **columns: Any) -> list[dict[str, object]]:
    scores = {
        "choice_accuracy": own,
        "complement_choice_accuracy": rest,
        "chance": 0.5,
        "weight_density": 0.05,
    }
    return rows(method, **{**scores, "ablation": "zero", "discovery_ablation": "zero", **columns})


FULL = under_zero("full", 0.9, 0.5, weight_density=1.0)
RANDOM = under_zero("random_edges", 0.5, [0.8, 0.85, 0.75, 0.8])
GOOD = under_zero("discogp", [0.86, 0.87, 0.88], [0.55, 0.54, 0.56])
ACDC, EAP = under_zero("acdc", 0.9, [0.8, 0.81, 0.79]), under_zero("eap", 0.9, [0.1, 0.12, 0.11])


def test_discogp_keeps_the_performance() -> None:
    claim = claims(FULL, GOOD)["C7"]
    assert verdict(claim) == "holds"
    assert claim.ran.endswith("; ".join(f"ioi 97% with {s}% of edges, 5% of weights" for s in (2, 5)))
    assert verdict(claims(FULL, under_zero("discogp", [0.7, 0.71, 0.72], 0.5))["C7"]) == "contradicted"
    alike = claims(FULL, under_zero("discogp", 0.86, 0.5))["C7"]
    assert verdict(alike) == "undecided"  # seeds that are all alike have no p
    assert verdict(claims(GOOD)["C7"]) == "undecided"  # nothing to compare with
    twice = [{**row, "method_seed": seed} for row in GOOD for seed in (0, 1)]  # no more data than before
    assert claims(FULL, twice)["C7"].comparisons == claim.comparisons
    unscored = claims(FULL, under_zero("discogp", [0.86, 0.87, math.nan], 0.5))["C7"]
    assert verdict(unscored) == "undecided"
    other = [{**row, "model": "n", "choice_accuracy": 0.5} for row in FULL]  # by its own full model's
    assert claims(FULL, other, GOOD)["C7"] == claim
    assert "C7" not in claims(FULL, under_zero("discogp", 0.86, 0.55, weight_density=0.2))
    assert "C7" not in claims(FULL, under_zero("discogp", 0.86, 0.55, ablation="resample"))


def test_complements_at_chance_beside_those_of_random_circuits() -> None:
    claim = claims(RANDOM, GOOD, ACDC, EAP)["C8"]
    assert verdict(claim) == "holds"
    assert claim.ran.endswith(
        "; ioi acdc 0.300, random 0.300; ioi discogp 0.0500, random 0.300; ioi eap 0.390, random 0.300"
    )
    assert "C9" not in claims(RANDOM, GOOD, ACDC, EAP)
    empty = under_zero("random_edges", 0.5, [0.55, 0.54, 0.56, 0.55])  # any complement is at chance
    assert verdict(claims(empty, GOOD, ACDC, EAP)["C8"]) == "undecided"
    assert verdict(claims(GOOD, ACDC, EAP)["C8"]) == "undecided"  # random circuits have not run
    assert verdict(claims(RANDOM, GOOD, ACDC)["C8"]) == "undecided"  # EAP has not run
    fallen = under_zero("acdc", 0.9, [0.51, 0.5, 0.52])
    assert verdict(claims(RANDOM, GOOD, fallen, EAP)["C8"]) == "contradicted"
    opposite = under_zero("discogp", 0.86, [0.1, 0.9, 0.12])  # a mean near 0.5, and none near chance
    assert verdict(claims(RANDOM, opposite, ACDC, EAP)["C8"]) == "contradicted"
    accident = under_zero("discogp", 0.86, [0.1, 0.12, 0.11], complement_choice_probability=0.49)
    assert "discogp 0.390 (0.0100)" in claims(RANDOM, accident, ACDC, EAP)["C8"].ran
    assert "C8" not in claims(RANDOM, ACDC, EAP)


def patched(method: str, own: Sequence[float], **columns: Any) -> list[dict[str, object]]:
    return under_zero(method, list(own), 0.5, discovery_ablation="resample", **columns)


def test_circuits_of_patching_methods_scored_with_zeros() -> None:
    near, far, below = (0.55, 0.54, 0.56), (0.8, 0.81, 0.79), (0.2, 0.21, 0.19)
    claim = claims(patched("acdc", near), patched("eap", near), patched("eap_ig", far))["C9"]
    assert verdict(claim) == "holds"  # often is half of the time
    assert "ioi acdc (discovery_ablation=resample) 0.0500 [" in claim.ran
    assert (
        verdict(claims(patched("acdc", below), patched("eap", below))["C9"]) == "holds"
    )  # no better than random
    assert (
        verdict(claims(patched("acdc", far), patched("eap", far), patched("eap_ig", near))["C9"])
        == "contradicted"
    )
    assert verdict(claims(patched("acdc", (0.4, 0.6, 0.9)), patched("eap", near))["C9"]) == "holds"
    assert verdict(claims(patched("acdc", (0.4, 0.6, 0.9)))["C9"]) == "undecided"


def test_the_table_of_claims() -> None:
    """Pretrained models decide where there are any; ours decide nothing about language models."""

    def told(*groups: list[dict[Any, Any]], recovery: pd.DataFrame | None = None) -> dict[str, str]:
        section = claims_section(table(*groups), METHODS, recovery)
        assert section is not None
        assert section.grid is not None
        cells = [[cell.text for cell in row.cells] for row in section.grid.rows]
        assert [names for names, *_ in cells] == sorted(names for names, *_ in cells)
        return {names: verdict for names, _, _, verdict, _ in cells}

    groups = [FULL, GOOD, RANDOM, ACDC, EAP]
    ours = [[{**row, "model": "embedded:1"} for row in group] for group in groups]
    assert told(*groups) == {"C7": "holds", "C8": "holds"}
    assert told(*ours, recovery=RECOVERY) == {"C3": "holds", "C7": "not tested", "C8": "not tested"}
    worse = [{**row, "model": "embedded", "choice_accuracy": 0.1} for row in GOOD]
    assert told(*groups, worse) == {"C7": "holds", "C8": "holds"}
    half = [{**row, "wordings": "first half", "choice_accuracy": 0.1} for row in GOOD]
    whole = [[{**row, "wordings": "all"} for row in group] for group in groups]
    assert told(*whole, half) == {"C7": "holds", "C8": "holds"}
    assert claims_section(table(rows("eap")), METHODS, None) is None
