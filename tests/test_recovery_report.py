"""Reports on true circuits: counts, what is unscored or failed, the section on the page, the terminal."""

import io
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import reports
from reports import CircuitPair
from reports.grid import Grid
from reports.numbers import DASH
from reports.recovery import recovery_grids
from test_reports import METRICS as LEADERBOARD_METRICS
from test_reports import leaderboard

METRICS = [
    {"name": "unaided_exact", "label": "Exact", "better": "higher"},
    {"name": "f1", "label": "F1", "better": "higher"},
    {"name": "tpr", "label": "TPR", "better": "higher"},
    {"name": "fpr", "label": "FPR", "better": "lower"},
    {"name": "auroc", "label": "AUROC", "better": "higher"},
    {"name": "average_precision", "label": "AP", "better": "higher"},
    {"name": "exact_at_true_size", "label": "Exact at true size", "better": "higher"},
]
EVIL = "<script>alert(1)</script>|[red]"
PAIRS = [
    CircuitPair("hist", "zero", "eap (steps=5)", {"tok->m0", "m0->logits"}, {"tok->m0", "pos->m0"}),
    CircuitPair("hist", "zero", "EAP steps=5", ["tok->m0"], []),
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
    grids = recovery_grids(recoveries(), METRICS)
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
    grids = recovery_grids(recoveries(), METRICS)
    assert best(grids.unaided, 1) == ["acdc"]  # 2 exact beat 1; a random circuit competes with nobody
    assert best(grids.unaided, 2) == []  # eap alone was scored on all programs
    assert any("differ between methods" in note for note in grids.unaided.notes)
    complete = recoveries().query("program != 'sort'")
    assert best(recovery_grids(complete, METRICS).unaided, 2) == ["acdc"]


def test_directions_come_from_data() -> None:
    flipped = [{**metric, "better": "lower"} for metric in METRICS]
    complete = recoveries().query("program != 'sort'")
    grid = recovery_grids(complete, flipped).unaided
    assert best(grid, 2) == ["eap (steps=5)"]
    assert grid.headings[2].text == "mean F1 ↓"
    assert not any(cell.best for r in recovery_grids(complete, []).unaided.rows for cell in r.cells)


def test_program_by_program() -> None:
    grids = recovery_grids(recoveries(), METRICS)
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
    grids = recovery_grids(pd.concat([recoveries(), other]), METRICS)
    assert [h.unit for h in grids.unaided.headings] == ["", *["resample"] * 4, *["zero"] * 4]
    assert table(grids.unaided)["eap (steps=5)"][:6:4] == ["0 / 3", "1 / 3"]
    assert table(grids.unaided_by_program)["hist"][0] == "5 / 7"
    assert grids.unaided_by_program.headings[3].unit == "resample"


def test_a_program_that_nobody_could_run() -> None:
    lost = {"program": "big", "ablation": "zero", "status": "failed", "status_reason": "does not compile"}
    grids = recovery_grids(pd.concat([recoveries(), pd.DataFrame([lost])]), METRICS)
    assert table(grids.unaided_by_program)["big"] == [DASH] * 6
    assert table(grids.unaided)["eap (steps=5)"][0] == "1 / 3 (1 unscored)"
    assert grids.troubles is not None
    assert [DASH, "zero", "big", "does not compile"] in list(table(grids.troubles).values())


def test_seeds_are_averaged_and_exact_means_each() -> None:
    seeds = pd.DataFrame([row("eap", "hist", 1.0, 1.0), row("eap", "hist", 0.5, 1.0)])
    grids = recovery_grids(seeds, METRICS)
    assert table(grids.unaided)["eap"][:2] == ["0 / 1", "0.750"]
    assert table(grids.ranked)["eap"][2] == "1 / 1"


def test_bad_input_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rows"):
        recovery_grids(recoveries().head(0), METRICS)
    with pytest.raises(ValueError, match="lacks the column 'program'"):
        recovery_grids(recoveries().drop(columns="program"), METRICS)
    with pytest.raises(ValueError, match="'f1' that is no number"):
        recovery_grids(recoveries().assign(f1="much"), METRICS)
    with pytest.raises(ValueError, match="nothing to report"):
        reports.write_report(None, METRICS, tmp_path)
    with pytest.raises(ValueError, match="drawn beside"):
        reports.write_report(leaderboard(), METRICS, tmp_path, drawings=PAIRS)
    pair = CircuitPair("hist", "zero", "eap", ["tok->nowhere"], [])
    with pytest.raises(ValueError, match="is no edge"):
        reports.write_report(None, METRICS, tmp_path, recovery=recoveries(), drawings=[pair])
    assert not list(tmp_path.iterdir())


def test_recovery_alone(tmp_path: Path) -> None:
    paths = reports.write_report(None, METRICS, tmp_path, "truth", recoveries(), PAIRS)
    stems = ["tracr/hist-zero-eap-steps-5", "tracr/hist-zero-EAP-steps-5-2"]  # told apart without case too
    drawn = {f"{stem}.{kind}" for stem in stems for kind in ("svg", "png")}
    assert {str(path.relative_to(tmp_path)) for path in paths} == drawn | {"index.html", "tracr.md"}
    html = (tmp_path / "index.html").read_text()
    assert "True circuits (Tracr)" in html
    assert 'id="overall"' not in html
    assert 'id="jobs"' not in html
    assert "10 runs ok, 1 failed." in html
    assert html.count("<svg") == 2
    assert html.count("<details") == 4
    assert "hist, zero ablation, eap (steps=5): 1 of 2 found, 1 false" in html
    assert "http" not in html
    assert not re.search(r'(src|href)="(?!#)', html)
    assert "<script>alert" not in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for used in re.findall(r'(?:href="#|url\(#)([^")]+)', html):
        assert used in ids
    text = (tmp_path / "tracr.md").read_text()
    assert "<script>" not in text
    assert f"({stems[0]}.png)" in text
    assert "| acdc | **2 / 2** (1 unscored) |" in text


def test_recovery_beside_a_leaderboard(tmp_path: Path) -> None:
    plain, both, alone = tmp_path / "plain", tmp_path / "both", tmp_path / "alone"
    metrics = [*LEADERBOARD_METRICS, *METRICS]
    reports.write_report(leaderboard(), metrics, plain)
    reports.write_report(leaderboard(), metrics, both, recovery=recoveries(), drawings=PAIRS[:1])
    reports.write_recovery(recoveries(), metrics, PAIRS[:1], alone)
    html = (both / "index.html").read_text()
    section = html[html.index('<section id="true-circuits">') : html.index('<section id="metrics">')]
    link = '<a href="#true-circuits">True circuits (Tracr)</a>\n'
    css = html[html.index("details {") : html.index("</style>")]
    # nothing but the section, its link and its style was added
    assert html.replace(section, "").replace(link, "").replace(css, "") == (plain / "index.html").read_text()
    assert "True circuits" not in (plain / "index.html").read_text()
    text = (both / "leaderboard.md").read_text()
    part = text[text.index("## True circuits (Tracr)") : text.index("## Jobs")]
    assert text.replace(part, "") == (plain / "leaderboard.md").read_text()
    assert "### Ranked, program by program" in part
    assert "(tracr/hist-zero-eap-steps-5.png)" in part
    names = {str(path.relative_to(alone)) for path in alone.rglob("*") if path.is_file()}
    assert names == {"tracr.md", "tracr/hist-zero-eap-steps-5.svg", "tracr/hist-zero-eap-steps-5.png"}
    for name in names:
        assert (alone / name).read_bytes() == (both / name).read_bytes()


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
