"""The figures of docs/claims.md are those of docs/results/claims/, and what follows from them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import cache

import pandas as pd
import pytest
from scipy import stats

from checkout import ROOT
from reports.claims.claim import span
from reports.claims.discogp import KEPT, NEAR, OFTEN
from reports.claims.edge_pruning import HALF, LITTLE, RATIO, RIVALS
from reports.claims.estimate import Estimate, slope
from reports.claims.true_circuits import true_circuit_claims
from reports.claims.verdict import compare, compare_deviation, compare_share, judge
from reports.parts.numbers import number
from tracr_ground_truth import find_programs

STORED = ROOT / "docs" / "results" / "claims"
TASKS = ("ioi_t1", "ioi", "gt", "gp")
FIVE, THREE = 4, 2
"""Degrees of freedom of as many seeds."""


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace("\\", "").strip("|\n ").split(" | ")]


def rows(name: str, heading: str) -> list[dict[str, str]]:
    """A table of a stored page, by the first word of each heading."""
    section = (STORED / name).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    first, _, *rest = [line for line in section.splitlines() if line.startswith("| ")]
    return [dict(zip(cells(first), cells(line), strict=True)) for line in rest]


@cache
def page() -> list[list[str]]:
    """The rows of the page's table: name, claim, what was run, verdict, what could have been seen."""
    lines = (ROOT / "docs" / "claims.md").read_text().splitlines()
    return [cells(line) for line in lines if line.startswith("| C")]


def on_page(claim: str, *texts: str) -> None:
    (row,) = [" | ".join(row[2:]) for row in page() if row[0] == claim]
    for text in texts:
        assert text in row, f"{claim}: {text}"


def log_estimate(written: Sequence[str], freedom: int) -> Estimate:
    """Of a ratio and the two ends of its interval."""
    value, below, above = (math.log(float(each)) for each in written)
    return Estimate(value, (above - below) / 2 / float(stats.t.ppf(0.975, freedom)), freedom)


def seen(estimates: Iterable[Estimate], bound: float) -> str:
    return span([compare(each, math.log(bound), "below", RATIO, math.exp).seen for each in estimates])


def test_fewer_edges() -> None:
    needed = [row for row in rows("edges_needed.md", "Edges needed") if row["method"].split()[0] in RIVALS]
    found = {
        rival: [
            log_estimate(ends[0], FIVE)
            for row in needed
            if row["method"].startswith(f"{rival} ") or row["method"] == rival
            if (ends := re.findall(r"([\d.]+) \[([\d.]+), ([\d.]+)\]", row["ratio"]))
        ]
        for rival in RIVALS
    }
    assert [len(ratios) for ratios in found.values()] == [8, 7]
    for rival, ratios in found.items():
        on_page("C1", f"{rival.upper()}'s {span([math.exp(ratio.value) for ratio in ratios])}")
    on_page("C1", f"a ratio of {seen([*found['acdc'], *found['eap']], HALF)} or less")
    edges = [float(row["edges needed ↓ (edges)"].split()[0].replace("∞", "inf")) for row in needed]
    on_page("C1", f"no rival needed fewer than {min(edges):g} edges")


@pytest.mark.parametrize(("name", "freedom"), [("edges_needed.md", FIVE), ("zero.md", THREE)])
def test_ahead_when_sparse(name: str, freedom: int) -> None:
    (told,) = [row["figures"] for row in rows(name, "Claims") if row["claim"] == "C2"]
    pairs = re.findall(r"(\w+), KL over that of (\w+) at [^:]*: ([\d.]+) \[([\d.]+), ([\d.]+)\]", told)
    assert {(task, rival) for task, rival, *_ in pairs} == {(t, r) for t in TASKS for r in RIVALS}
    ratios = {rival: [float(m) for _, r, m, *_ in pairs if r == rival] for rival in RIVALS}
    on_page("C2", *(f"{rival.upper()}'s {span(values)}" for rival, values in ratios.items()))
    on_page("C2", seen([log_estimate(ends, freedom) for _, _, *ends in pairs], 1.0))


def test_true_circuits() -> None:
    """Of the stored runs: each on both kernels, by the lists that were published and by the edges proved."""
    runs = pd.read_csv(STORED / "recovery.csv")
    rows = [row for row in page() if row[0] == "C3"]
    counts = r"(\d+) of (\d+)(?: seeds)? on (\w+)"
    for claim, (*_, ran, verdict, visible) in zip(true_circuit_claims(runs), rows, strict=True):
        assert (claim.verdict(pretrained=False), claim.seen()) == (verdict, visible)
        assert re.findall(counts, claim.ran) == re.findall(counts, ran)
    assert runs["unaided_exact"].all()
    for bound in (0.37, 0.68):  # as the page says, either verdict hangs on none between them
        assert judge([compare_share(0, 8, bound)] * 2) == "contradicted"
        assert judge([compare_share(8, 8, bound)] * 2) == "holds"
    assert runs.groupby(["program", "ablation", "method_seed"])["kernels"].nunique().eq(2).all()
    needed = runs[runs["ablation"] == "zero"].drop_duplicates("program").set_index("program")["true_edges"]
    for program, edges in needed.items():
        ((_, published),) = find_programs()[0][str(program)].published.items()
        assert {*edges.split()} < {*published}
        assert f"{len(published) - len(edges.split())} edges more than are needed" in rows[0][2]


def test_growth_with_data() -> None:
    table = pd.DataFrame(rows("more_data.md", "More data"))
    x = table["examples"].str.replace(",", "").astype(float)
    seconds = table["seconds (s)"].astype(float)
    prompts = 210 / 100_000
    """Three and a half minutes for as many, told above the table."""
    for method in ("edge_pruning", "eap", "acdc (examples=0)"):
        own = table["method"] == method
        without, counted = (
            slope(x[own].map(math.log), (seconds + each * x)[own].map(math.log)) for each in (0.0, prompts)
        )
        ends = "" if math.isnan(without.error) else " [{}, {}]".format(*map(number, without.interval()))
        on_page("C4", f"{number(without.value)}{ends}", number(counted.value))


def test_spread_over_seeds() -> None:
    own = [row for row in rows("seeds.md", "Over seeds") if row["method"] == "edge_pruning"]
    assert {row["seeds"] for row in own} == {"12"}
    for row in own:
        variation = float(row["variation"])
        low, high = (variation * math.sqrt(11 / stats.chi2.ppf(at, 11)) for at in (0.975, 0.025))
        on_page("C5", f"{variation:.3f} [{low:.3f}, {high:.3f}] on {row['task']}")
    on_page(
        "C5",
        f"deviation of {number(compare_deviation(pd.Series(range(12), dtype=float), LITTLE).seen)} or less",
    )


def scored(name: str, task: str, heading: str) -> dict[tuple[str, str], list[float]]:
    """Mean and standard deviation over seeds (0 where they are alike), by method and size."""
    found = {}
    for row in rows(name, task):
        (text,) = (row[key] for key in row if key.startswith(heading))
        mean, _, spread = text.replace("*", "").partition(" ± ")
        found[row["method"].split()[0], row["edges asked"]] = [float(mean), float(spread or 0)]
    return found


def test_discogp_keeps_the_performance() -> None:
    shares = {
        (task, size): Estimate(mean / full[0], spread / full[0] / math.sqrt(3), THREE)
        for task in TASKS
        if (table := scored("zero.md", task, "Choice accuracy"))
        for size in ("5 %", "7 %")
        if (full := table["full", "100 %"])
        for mean, spread in [table["discogp", size]]
    }
    assert all(share.value > 0.9975 for (task, _), share in shares.items() if task != "ioi")
    on_page("C7", f"{shares['ioi', '5 %'].value:.0%} and {shares['ioi', '7 %'].value:.0%}".replace("%", " %"))
    vary = [compare(share, KEPT, "above", "{}").seen for share in shares.values() if share.error]
    on_page("C7", f"a share of {span(vary)} or more")
    on_page("C7", f"{sum(share.error == 0 for share in shares.values())} of {len(shares)}")


def test_complements() -> None:
    """Distances of single circuits are told above the tables; of random ones there is that of the mean."""
    (told,) = [row["figures"] for row in rows("zero.md", "Claims") if row["claim"] == "C8"]
    for method, name in (("discogp", "DiscoGP's"), ("acdc", "ACDC's"), ("eap", "EAP's")):
        away = [re.findall(rf"{task} {method} ([\d.]+)", told)[0] for task in TASKS]
        on_page("C8", f"{name} {', '.join(f'{float(each):.2f}' for each in away)}")
    random = []
    for task in TASKS:
        chance = scored("zero.md", task, "Chance")
        table = scored("zero.md", task, "Complement choice accuracy")
        sizes = [key for key in table if key[0] == "random_edges"]
        random.append(sum(table[key][0] - chance[key][0] for key in sizes) / len(sizes))
    on_page("C8", f"random circuits' {', '.join(f'{each:+.2f}' for each in random)}")


def test_near_random() -> None:
    above = {}
    for task in TASKS:
        accuracy, chance = (scored("patched.md", task, heading) for heading in ("Choice accuracy", "Chance"))
        for method in (*RIVALS, "eap_ig"):
            both = [accuracy[key][0] - chance[key][0] for key in accuracy if key[0] == method]
            assert len(both) == 2
            above[task, method] = sum(both) / 2
    near = [value for value in above.values() if value <= NEAR]
    far = [value for value in above.values() if value > NEAR]
    assert len(near) < OFTEN * len(above)
    on_page("C9", f"{len(near)} of {len(above)}", f"{min(far):.2f} to {max(far):.2f}")
    assert max(near) < 0
    on_page("C9", "all of these below chance")


def test_every_claim_has_one_of_five_verdicts() -> None:
    verdicts = {(claim, verdict) for claim, _, _, verdict, _ in page()}
    assert {claim for claim, _ in verdicts} == {f"C{i}" for i in range(1, 10)}
    assert {verdict for claim, verdict in verdicts if claim != "C3"} == {"not tested"}
