"""Who is drawn how: one colour a method in every figure; random circuits are those that were named so."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from bench.report import _methods
from report_tables import METRIC, METRICS, fine_sizes, leaderboard, rows, section
from reports.claims.edges_needed import needs
from reports.leaderboard.entries import fold_seeds, tidy
from reports.leaderboard.ranking import rank
from reports.parts.content import Training
from reports.parts.methods import Methods, label_of
from reports.parts.style import lines
from reports.render import markdown_page
from reports.report import build

NAMES = ("acdc", "eap", "edge_pruning", *(f"m{i}" for i in range(20)), "random_edges", "random_walk_pruning")
METHODS = Methods(NAMES, "random_edges")


def everything(*methods: str) -> pd.DataFrame:
    """Eight seeds on two numbers of examples: all figures are drawn."""
    found = []
    for i, name in enumerate(methods):
        kls = [0.1 * (i + 1) + 0.01 * seed for seed in range(8)]
        for n in (200, 2000):
            found += rows(name, kl=kls, n_discovery=n, seconds=float(n), edge_sparsity=0.9)
    return pd.DataFrame(found)


def figures(table: pd.DataFrame, *trained: str) -> dict[str, Figure]:
    course = {"step": [1.0, 2.0], "loss": [2.0, 1.0]}
    trainings = [Training(name, "", "ioi", course) for name in trained]
    described = [{"name": m.name, "label": m.label, "better": m.better} for m in METRIC.values()]
    report = build(table, described, METHODS, "", trainings)
    assert report.panel is not None
    sections = [*report.tasks, *report.further]
    drawn = {d.stem: d.figure() for s in sections for d in s.figures}
    return {**drawn, report.panel.stem: report.panel.figure()}


def colours(figure: Figure) -> dict[str, set[str]]:
    """By a method's name, whatever its parameters; a training's title names it."""
    found: dict[str, set[str]] = {}
    for axes in figure.axes:
        for line in axes.get_lines():
            name = str(line.get_label()).partition(" ")[0]
            if name.startswith("_"):
                name = figure.get_suptitle().partition(" ")[0]
            found.setdefault(name, set()).add(to_hex(line.get_color()))
    return found


def test_one_colour_a_method_in_every_figure_with_and_without_the_others() -> None:
    alone = figures(everything("edge_pruning"), "edge_pruning")
    beside = figures(everything("acdc", "eap", "edge_pruning", "random_edges"), "acdc", "edge_pruning")
    (colour,) = colours(alone["kl_all_tasks"])["edge_pruning"]
    assert {stem.partition("_")[0] for stem in alone} == {"kl", "over", "training"}
    assert {"over_seeds", "over_data", "training_1_edge_pruning-ioi"} <= set(alone)
    for drawn in (alone, beside):
        for stem, figure in drawn.items():
            if "acdc" not in stem:
                assert colours(figure)["edge_pruning"] == {colour}, stem
    rivals = [colours(beside[stem])["acdc"] for stem in ("training_1_acdc-ioi", "over_data", "kl_all_tasks")]
    assert rivals[0] == rivals[1] == rivals[2] != {colour}


def test_variants_share_a_colour_and_nobody_shares_a_look() -> None:
    variants = [(name, params) for name in NAMES for params in ("", "steps=5", "steps=9")]
    looks = lines(METHODS, variants)
    for name in NAMES:
        assert len({looks[label_of(name, params)].colour for _, params in variants}) == 1
    assert len(set(looks.values())) == len(variants)
    points = {(look.colour, look.marker) for label, look in looks.items() if "(" not in label}
    assert len(points) == len(NAMES)  # figures of points have no dashes
    assert {label for label, look in looks.items() if look.behind} == {
        "random_edges", "random_edges (steps=5)", "random_edges (steps=9)"
    }  # fmt: skip


def test_a_method_that_nobody_named_comes_last() -> None:
    few = Methods(("acdc", "eap"))
    looks = lines(few, [("acdc", ""), ("aaa", ""), ("eap", "")])
    assert all(looks[name] == lines(few, [(name, "")])[name] for name in few.names)
    assert looks["aaa"].colour not in {looks[name].colour for name in few.names}


def test_the_bench_names_its_own_methods_first() -> None:
    """A plugin in the tables, or rows of no method, change nobody's colour."""
    columns = ["aaa", "full", "empty", "eap"], ["zzz", "", None]
    named = _methods(pd.DataFrame({"method": names}) for names in columns)
    assert named.baseline == "random_edges"
    assert named.names == (*_methods([]).names, "aaa", "zzz")
    assert {"acdc", "eap", "random_edges"} <= set(_methods([]).names)


def as_plugin(table: pd.DataFrame, best: str) -> pd.DataFrame:
    return table.assign(method=table["method"].replace(best, "random_walk_pruning"))


def test_a_plugin_is_no_baseline_for_its_name() -> None:
    table = as_plugin(leaderboard(), "good")
    text = markdown_page(build(table, METRICS, METHODS, ""))
    assert "| random_walk_pruning | 1 % | 2 runs 2 data seeds | **0.833" in section(text, "ioi")
    assert "| random_walk_pruning | 10 % | 2 runs 2 data seeds | **0.967" in section(text, "gt")
    assert not re.search(r"\| random_edges \|.*\*\*", text)
    (ranking,) = rank(fold_seeds(tidy(table, METRIC)), METRIC["kl"])
    assert ranking.mean.index[0] == "random_walk_pruning"
    needed = needs(as_plugin(fine_sizes(eap_needs=100), "eap"), METHODS)
    assert {need.method for need in needed} == {"edge_pruning", "random_walk_pruning"}


@pytest.mark.parametrize("baseline", ["random_edges", ""])
def test_the_baseline_is_who_was_named(baseline: str) -> None:
    looks = lines(Methods(NAMES, baseline), [("random_edges", ""), ("eap", "")])
    needed = needs(fine_sizes(eap_needs=100), Methods(NAMES, baseline))
    assert ("random_edges" in {need.method for need in needed}) == (baseline == "")
    assert looks["random_edges"].behind == (baseline != "")
