"""One call that writes a whole report: Markdown, plots and the offline page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from reports import markdown, svg
from reports.content import Drawing, Report
from reports.files import write_atomic
from reports.markdown import Part, Picture
from reports.page import render_page
from reports.report import build


def write_report(
    table: pd.DataFrame,
    metrics: Sequence[Mapping[str, str]],
    out: Path,
    title: str = "circuitmark leaderboard",
) -> list[Path]:
    """Write `leaderboard.md`, `index.html` and `plots/` under `out`; return the paths written.

    `table` is the long leaderboard, one row per model, task, method, params, seed, ablation and
    size; `metrics` describes its metrics (name, label, description, unit, better). All is rendered
    before the first file is replaced, and the same table gives the same bytes.
    ValueError: no rows, a missing column, a bad direction. OSError: `out` cannot be written.
    """
    files = render(build(table, metrics, title))
    for name, content in files.items():
        write_atomic(out / name, content)
    return [out / name for name in files]


def render(report: Report) -> dict[str, bytes]:
    """The report's files by relative path; nothing is written."""
    drawings = [drawing for section in report.tasks for drawing in section.figures]
    drawings += [report.panel] if report.panel else []
    files = {}
    vectors = {}
    for drawing in drawings:
        vectors[drawing.stem] = svg.render(drawing.figure, "svg")
        files[f"plots/{drawing.stem}.svg"] = vectors[drawing.stem]
        files[f"plots/{drawing.stem}.png"] = svg.render(drawing.figure, "png")
    inline = {d.stem: svg.inline(vectors[d.stem], f"f{i}", d.meaning) for i, d in enumerate(drawings)}
    files["index.html"] = render_page(report, inline).encode()
    files["leaderboard.md"] = markdown_page(report).encode()
    return files


def markdown_page(report: Report) -> str:
    """`leaderboard.md`: a table per task, the ranking over tasks, then how the jobs ended."""
    overall: list[Part] = [report.ranking_meaning]
    for ranking in report.rankings:
        overall += [*filter(None, [ranking.title]), ranking.grid]
    overall += [*report.turnovers, *([_picture(report.panel)] if report.panel else [])]
    tasks: list[tuple[str, list[Part]]] = [
        (section.title, [*map(_picture, section.figures[:1]), section.grid]) for section in report.tasks
    ]
    jobs: list[Part] = [f"{report.job_counts}.", *([report.troubles] if report.troubles else [])]
    jobs += [f"{name}: {value}" for name, value in report.provenance]
    paragraphs = [report.summary, *report.warnings]
    return markdown.page(report.title, paragraphs, [*tasks, ("Over all tasks", overall), ("Jobs", jobs)])


def _picture(drawing: Drawing) -> Picture:
    return Picture(f"plots/{drawing.stem}.png", drawing.meaning)
