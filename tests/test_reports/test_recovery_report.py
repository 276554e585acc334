"""Reports on true circuits: counts, what is unscored or failed, the section on the page, the terminal."""

import io
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import reports
from bench.exchange.drawn import drawn_edge
from bench.report import _drawings, write_report
from bench.truth.folds import judge
from report_tables import METRICS as LEADERBOARD_METRICS
from report_tables import leaderboard
from reports import CircuitPair
from reports.parts.grid import Grid
from reports.parts.methods import Methods
from reports.parts.numbers import DASH
from reports.recovery.grids import recovery_grids

METRICS = [
    {"name": "unaided_exact", "label": "Exact", "better": "higher"},
    {"name": "f1", "label": "F1", "better": "higher"},
    {"name": "tpr", "label": "TPR", "better": "higher"},
    {"name": "fpr", "label": "FPR", "better": "lower"},
    {"name": "auroc", "label": "AUROC", "better": "higher"},
    {"name": "average_precision", "label": "AP", "better": "higher"},
    {"name": "exact_at_true_size", "label": "Exact at true size", "better": "higher"},
]
METHODS = Methods(("acdc", "eap", "random_edges", "ranker"), "random_edges")
EVIL = "<script>alert(1)</script>|[red]"
ONE, TWO, THREE = map(drawn_edge, ("tok->m0", "m0->logits", "pos->m0"))
PAIRS = [
    CircuitPair("hist", "zero", "eap (steps=5)", {ONE, TWO}, {ONE, THREE}),
    CircuitPair("hist", "zero", "EAP steps=5", [ONE], []),
]


def row(method: str, program: str, f1: float, auroc: float, **others: Any) -> dict[str, Any]:
    """A recovery; NaN: no circuit of its own, no ranking."""
    unaided = {
        "tpr": f1,
        "fpr": (1 - f1) / 10,
        "f1": f1,
        "unaided_exact": None if math.isnan(f1) else f1 == 1,
    }
    ranked = {"auroc": auroc, "average_precision": auroc / 2}
    exact = None if math.isnan(auroc) else auroc == 1
    base = {"method": method, "params": "", "program": program, "ablation": "zero", "status": "ok"}
    sizes = {"n_edges": 60, "n_true": 7, "redundant": program == "max", "seconds": 0.1}
    return {**base, **sizes, **unaided, **ranked, "exact_at_true_size": exact, **others}


def recoveries() -> pd.DataFrame:
    """Three methods and a random one on three programs: one ranks only, one failed, one lacks a row."""
    nan = math.nan
    failed = {"status": "failed", "status_reason": f"boom {EVIL}"}
    return pd.DataFrame(
        [
            row("eap", "hist", 1.0, 1.0, params="steps=5"),
            row("eap", "max", 0.5, 0.9, params="steps=5"),
            row("eap", "sort", 0.996, 0.8, params="steps=5"),
            row("acdc", "hist", 1.0, 0.7),
            row("acdc", "max", 1.0, 0.7),
            row("acdc", "sort", nan, nan, **failed),
            row("ranker", "hist", nan, 0.6),
            row("ranker", "max", nan, nan),
            *(row("random_edges", program, 1.0, 0.5) for program in ("hist", "max", "sort")),
        ]
    )


def table(grid: Grid) -> dict[str, list[str]]:
    """A grid's texts by the text of its first column."""
    return {r.cells[0].text: [f"{c.text} {c.beside}".strip() for c in r.cells[1:]] for r in grid.rows}


def best(grid: Grid, column: int) -> list[str]:
    return [r.cells[0].text for r in grid.rows if r.cells[column].best]


def printed(recovery: pd.DataFrame, width: int = 120) -> str:
    console = Console(file=(file := io.StringIO()), width=width)
    console.print(reports.recovery_terminal(recovery, METRICS))
    return file.getvalue()


def test_headline_by_hand() -> None:
    grids = recovery_grids(recoveries(), METRICS, METHODS)
    assert table(grids.unaided) == {
        "random_edges": ["3 / 3", "1.00", "1.00", "0.00"],
        "acdc": ["2 / 2 (1 unscored)", "1.00", "1.00", "0.00"],
        "eap (steps=5)": ["1 / 3", "0.832", "0.832", "0.0168"],
        "ranker": [f"{DASH} (3 unscored)", DASH, DASH, DASH],
    }
    assert table(grids.ranked) == {
        "eap (steps=5)": ["0.900", "0.450", "1 / 3"],
        "acdc": ["0.700 (1 unscored)", "0.350", "0 / 2"],
        "ranker": ["0.600 (2 unscored)", "0.300", "0 / 1"],
        "random_edges": ["0.500", "0.250", "0 / 3"],
    }


def test_means_over_fewer_programs_do_not_win() -> None:
    grids = recovery_grids(recoveries(), METRICS, METHODS)
    assert best(grids.unaided, 1) == ["acdc"]  # 2 exact beat 1; a random circuit competes with nobody
    assert best(grids.unaided, 2) == []  # eap alone was scored on all programs
    assert any("differ between methods" in note for note in grids.unaided.notes)
    complete = recoveries().query("program != 'sort'")
    assert best(recovery_grids(complete, METRICS, METHODS).unaided, 2) == ["acdc"]


def test_directions_come_from_data() -> None:
    flipped = [{**metric, "better": "lower"} for metric in METRICS]
    complete = recoveries().query("program != 'sort'")
    grid = recovery_grids(complete, flipped, METHODS).unaided
    assert best(grid, 2) == ["eap (steps=5)"]
    assert grid.headings[2].text == "mean F1 ↓"
    assert not any(cell.best for r in recovery_grids(complete, [], METHODS).unaided.rows for cell in r.cells)


def test_program_by_program() -> None:
    grids = recovery_grids(recoveries(), METRICS, METHODS)
    assert [h.text for h in grids.unaided_by_program.headings] == [
        "program", "true edges", "edges", "random_edges", "acdc", "eap (steps=5)", "ranker",
    ]  # fmt: skip
    assert table(grids.unaided_by_program) == {
        "hist": ["7", "60", "✓ 1.00", "✓ 1.00", "✓ 1.00", DASH],
        "max": ["7", "60", "✓ 1.00", "✓ 1.00", "0.50", DASH],
        "sort": ["7", "60", "✓ 1.00", "failed", ">0.99", DASH],  # what is not exact is not rounded to 1
    }
    assert grids.unaided_by_program.rows[1].cells[0].beside == "redundant"
    assert "4 cells unscored" in " ".join(grids.unaided_by_program.notes)
    assert table(grids.ranked_by_program)["hist"][2:] == [
        "✓ 1.00 / 0.50", "0.70 / 0.35", "0.60 / 0.30", "0.50 / 0.25"
    ]  # fmt: skip


def test_ablations_stand_side_by_side() -> None:
    other = recoveries().assign(ablation="resample", n_true=5, f1=0.25, unaided_exact=False)
    grids = recovery_grids(pd.concat([recoveries(), other]), METRICS, METHODS)
    assert [h.unit for h in grids.unaided.headings] == ["", *["resample"] * 4, *["zero"] * 4]
    assert table(grids.unaided)["eap (steps=5)"][:6:4] == ["0 / 3", "1 / 3"]
    assert table(grids.unaided_by_program)["hist"][0] == "5 / 7"
    assert grids.unaided_by_program.headings[3].unit == "resample"


def test_a_program_that_nobody_could_run() -> None:
    lost = {"program": "big", "ablation": "zero", "status": "failed", "status_reason": "does not compile"}
    grids = recovery_grids(pd.concat([recoveries(), pd.DataFrame([lost])]), METRICS, METHODS)
    assert table(grids.unaided_by_program)["big"] == [DASH] * 6
    assert table(grids.unaided)["eap (steps=5)"][0] == "1 / 3 (1 unscored)"
    assert grids.troubles is not None
    assert [DASH, "zero", "big", "does not compile"] in list(table(grids.troubles).values())


def over_runs() -> pd.DataFrame:
    """Two seeds on two sets of kernels; acdc and a random circuit ran once."""
    found = [
        row(name, p, f1, 0.9) for name, f1 in (("acdc", 1.0), ("random_edges", 0.5)) for p in ("hist", "max")
    ]
    f1s = {"hist": (1.0, 1.0, 1.0, 1.0), "max": (1.0, 0.5, 0.5, 0.8)}
    runs = [(seed, kernels) for seed in (1, 2) for kernels in ("AVX512", "DEFAULT")]
    for program, values in f1s.items():
        for (seed, kernels), f1 in zip(runs, values, strict=True):
            found.append(row("eap", program, f1, f1, method_seed=seed, kernels=kernels))
    return pd.DataFrame(found)


def test_exact_is_a_share_of_runs() -> None:
    grids = recovery_grids(over_runs(), METRICS, METHODS)
    assert table(grids.unaided) == {
        "acdc": ["2 / 2", "1.00", "1.00", "0.00"],
        "eap": ["1.2 / 2 (1 to 2)", "0.850", "0.850", "0.0150"],  # 4 of 4 and 1 of 4
        "random_edges": ["0 / 2", "0.500", "0.500", "0.0500"],
    }
    assert best(grids.unaided, 1) == ["acdc"]
    assert table(grids.ranked)["eap"] == ["0.850", "0.425", "1.2 / 2 (1 to 2)"]
    assert best(grids.ranked, 3) == ["eap"]  # acdc's rankings are exact nowhere
    told = table(grids.unaided_by_program)
    assert told["hist"][2:] == ["✓ 1.00", "✓ 1.00", "0.50"]
    assert told["max"][2:] == ["✓ 1.00", "0.70 1/4", "0.50"]
    assert table(grids.ranked_by_program)["max"][-1] == "0.70 / 0.35 1/4"
    once, often = "acdc, random_edges 1 run (1 seed)", "eap 4 runs (2 seeds, kernels AVX512 and DEFAULT)"
    for grid in (grids.unaided, grids.ranked, grids.unaided_by_program, grids.ranked_by_program):
        assert f"On each program: {once}; {often}." in " ".join(grid.notes)
    assert "5/8: exact in 5 of the 8 runs" in " ".join(grids.unaided_by_program.notes)


def test_what_was_never_scored_has_no_range() -> None:
    nan = math.nan
    blind = [row("ranker", p, nan, nan, method_seed=seed) for p in ("hist", "max") for seed in (1, 2)]
    unaided = table(recovery_grids(pd.DataFrame(blind), METRICS, METHODS).unaided)
    assert unaided["ranker"][0] == f"{DASH} (2 unscored)"


def test_methods_that_ran_once_need_no_words_for_it() -> None:
    grids = recovery_grids(recoveries(), METRICS, METHODS)
    one_run = recovery_grids(recoveries().assign(method_seed=1, kernels="AVX512"), METRICS, METHODS)
    assert table(one_run.unaided) == table(grids.unaided)
    assert one_run.unaided_by_program.notes == grids.unaided_by_program.notes
    assert "On each program" not in " ".join(grids.unaided.notes + grids.unaided_by_program.notes)


def test_a_run_that_failed_is_no_exact_one() -> None:
    """Three of four runs are exact and one failed: no tick, and the range is of runs on all programs."""
    runs = over_runs()
    lost = runs.index[(runs["program"] == "hist") & (runs["method"] == "eap")][-1]
    names = ["f1", "tpr", "fpr", "unaided_exact", "auroc", "average_precision", "exact_at_true_size"]
    runs[names] = runs[names].astype(object)
    runs.loc[lost, names] = None
    runs["status_reason"] = ""
    runs.loc[lost, ["status", "status_reason"]] = "failed", "boom"
    grids = recovery_grids(runs, METRICS, METHODS)
    assert table(grids.unaided_by_program)["hist"][3] == "1.00 3/3"
    assert table(grids.unaided)["eap"][0] == "1.2 / 2 (1 to 2)"
    assert grids.troubles is not None
    assert "boom" in table(grids.troubles)["failed"]


def test_nearly_always_is_not_always() -> None:
    runs = [(i, seed) for i in range(3) for seed in range(60)]
    rows = pd.DataFrame([row("eap", f"p{i}", float(i + seed > 0), 1.0, method_seed=seed) for i, seed in runs])
    grid = recovery_grids(rows, METRICS, METHODS).unaided
    assert table(grid)["eap"][0] == ">2.9 / 3 (2 to 3)"


def test_methods_are_ordered_by_their_mean_over_runs() -> None:
    one, two = (row("ranker", "hist", 1.0, 1.0), row("ranker", "max", 0.1, 1.0))
    grid = recovery_grids(pd.concat([over_runs(), pd.DataFrame([one, two])]), METRICS, METHODS).unaided
    assert [r.cells[0].text for r in grid.rows] == ["acdc", "eap", "ranker", "random_edges"]
    without = recovery_grids(over_runs().query("method != 'acdc'"), METRICS, METHODS).unaided
    assert best(without, 1) == []  # eap has nobody to compete with


def test_terminal_shows_shares_of_runs() -> None:
    text = printed(over_runs())
    assert re.search(r"max +7 +✓ 1.00 +0.70 1/4 +0.50", text)
    assert re.search(r"Exact ↑ +2 / 2 +1.2 / 2 +0 / 2", text)
    assert re.search(r"fewest to most +1 to 2", text)
    assert "eap 4 runs (2 seeds, kernels AVX512 and DEFAULT)" in " ".join(text.split())
    assert "fewest" not in printed(recoveries())


def test_a_plugin_whose_name_begins_like_the_baseline_competes() -> None:
    others = over_runs().assign(method=over_runs()["method"].replace("acdc", "random_walk_pruning"))
    assert best(recovery_grids(others, METRICS, METHODS).unaided, 1) == ["random_walk_pruning"]


def test_one_circuit_a_method_is_drawn() -> None:
    """That of the lowest seed, on the first kernels by name; rows of old stores have neither."""
    names = {(2, "DEFAULT"): "tok->m0", (1, "DEFAULT"): "pos->m0", (1, "AVX512"): "m0->logits"}
    shared = {"program": "reverse", "ablation": "zero", "method": "eap", "params": ""}
    shared["true_edges"] = "tok->m0"
    runs = [
        {**shared, "method_seed": s, "kernels": k, "found_edges": edges} for (s, k), edges in names.items()
    ]
    stored = pd.DataFrame(
        [*runs, {**runs[0], "method": "acdc"}, {**runs[0], "method_seed": 0, "found_edges": None}]
    )
    drawn = {pair.method: pair.found[0].name for pair in _drawings(stored, {"reverse"})}
    assert drawn == {"eap": "m0->logits", "acdc": "tok->m0"}
    (old,) = _drawings(stored.query("method == 'acdc'").drop(columns=["method_seed", "kernels"]), {"reverse"})
    assert old.found[0].name == "tok->m0"


def test_nothing_is_replaced_before_all_is_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = judge([])
    monkeypatch.setattr("bench.truth.folds.judge", lambda _: judged)
    monkeypatch.setattr("bench.report.recovery_frame", lambda _: recoveries().assign(found_edges=None))
    held: Any = SimpleNamespace(store=None, recoveries=["a row"], warnings=list)
    write_report(held, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    names = {"recovery.csv", "recovery.schema.json", "tracr.md", "index.html"}
    assert {path.name for path in before} == names
    broken = recoveries().assign(found_edges=None, f1="?")
    monkeypatch.setattr("bench.report.recovery_frame", lambda _: broken)
    with pytest.raises(ValueError, match="not a number"):
        write_report(held, tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match="no rows"):
        recovery_grids(recoveries().head(0), METRICS, METHODS)
    with pytest.raises(ValueError, match="lacks the column 'program'"):
        recovery_grids(recoveries().drop(columns="program"), METRICS, METHODS)
    with pytest.raises(ValueError, match="'f1' that is not a number"):
        recovery_grids(recoveries().assign(f1="much"), METRICS, METHODS)
    with pytest.raises(ValueError, match="nothing to report"):
        reports.render_report(None, METRICS, METHODS)
    with pytest.raises(ValueError, match="`recovery` as well"):
        reports.render_report(leaderboard(), METRICS, METHODS, drawings=PAIRS)


def test_recovery_alone() -> None:
    files = reports.render_report(None, METRICS, METHODS, "truth", recoveries(), PAIRS)
    stems = ["tracr/hist-zero-eap-steps-5", "tracr/hist-zero-EAP-steps-5-2"]  # told apart without case too
    drawn = {f"{stem}.{kind}" for stem in stems for kind in ("svg", "png")}
    assert set(files) == drawn | {"index.html", "tracr.md"}
    html = files["index.html"].decode()
    assert "True circuits (Tracr)" in html
    assert 'id="overall"' not in html
    assert 'id="jobs"' not in html
    assert "10 runs ok, 1 failed." in html
    assert html.count("<svg role") == 2
    assert html.count("<details") == 5
    assert "hist, zero ablation, eap (steps=5): 1 of 2 found, 1 false" in html
    assert "http" not in html
    assert not re.search(r'(src|href)="(?!#)', html)
    assert "<script>alert" not in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for used in re.findall(r'(?:href="#|url\(#)([^")]+)', html):
        assert used in ids
    text = files["tracr.md"].decode()
    assert "<script>" not in text
    assert f"({stems[0]}.png)" in text
    assert "| acdc | **2 / 2** (1 unscored) |" in text


def test_recovery_beside_a_leaderboard() -> None:
    metrics = [*LEADERBOARD_METRICS, *METRICS]
    plain = reports.render_report(leaderboard(), metrics, METHODS)
    both = reports.render_report(leaderboard(), metrics, METHODS, recovery=recoveries(), drawings=PAIRS[:1])
    alone = reports.render_report(None, metrics, METHODS, recovery=recoveries(), drawings=PAIRS[:1])
    html, unmixed = both["index.html"].decode(), plain["index.html"].decode()
    section = html[html.index('<section id="true-circuits">') : html.index('<section id="metrics">')]
    viewer = html[html.index('<section id="circuits" hidden>') : html.index('<section id="true-circuits">')]
    section, links = viewer + section, '<a href="#circuits">Circuits</a>\n'
    link = '<a href="#true-circuits">True circuits (Tracr)</a>\n'
    css = html[html.index("details {") : html.index("</style>")]
    # nothing but the section, the viewer, their links and the section's style was added
    assert html.replace(section, "").replace(link, "").replace(links, "").replace(css, "") == unmixed
    assert "True circuits" not in unmixed
    text = both["leaderboard.md"].decode()
    part = text[text.index("## True circuits (Tracr)") : text.index("## Jobs")]
    assert text.replace(part, "") == plain["leaderboard.md"].decode()
    assert "### Ranked, program by program" in part
    assert "(tracr/hist-zero-eap-steps-5.png)" in part
    assert set(both) - set(plain) == set(alone) - {"index.html"}
    assert all(both[name] == alone[name] for name in set(alone) - {"index.html"})


def test_terminal_shows_programs_methods_and_failures() -> None:
    text = printed(recoveries())
    assert "zero ablation: F1 ↑ of the unaided circuit" in text
    assert re.search(rf"hist +7 +✓ 1.00 +✓ 1.00 +✓ 1.00 +{DASH}", text)
    assert re.search(rf"sort +7 +✓ 1.00 +failed +>0.99 +{DASH}", text)
    assert re.search(rf"Exact ↑ +3 / 3 +2 / 2 +1 / 3 +{DASH}", text)
    assert re.search(r"unscored +1 +3", text)
    assert re.search(r"mean AUROC ↑ +0.500 +0.700 +0.900 +0.600", text)
    assert f"failed: acdc, zero, 1 program (sort): boom {EVIL}" in " ".join(text.split())


def test_terminal_fits_120_columns() -> None:
    labels = [("eap", ""), ("edge_attribution_patching", "objective=logit_diff"), ("acdc", "tau=0.01")]
    labels += [
        ("eap_ig", "steps=5, objective=kl"),
        ("edge_pruning", ""),
        ("hisp", ""),
        ("random_edges", "kind=x"),
    ]
    rows = [
        row(method, f"program_of_many_words_{i}", 1.0, 1.0, params=params)
        for method, params in labels
        for i in range(45)
    ]
    lines = printed(pd.DataFrame(rows)).splitlines()
    assert max(map(len, lines)) <= 120
    assert sum(line.count("✓ 1.00") for line in lines) == 7 * 45  # no cell is cut or broken
    assert sum("program_of_many_words_" in line for line in lines) == 45


def test_warnings_are_told_without_a_leaderboard_too() -> None:
    files = reports.render_report(
        None, METRICS, METHODS, recovery=recoveries(), warnings=["Handed in: a.zip"]
    )
    for name in ("tracr.md", "index.html"):
        assert files[name].decode().count("Handed in: a.zip") == 1, name
