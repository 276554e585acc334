"""One call that renders a whole report: Markdown, plots and the offline page, as files' contents."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from reports.circuits.viewed import MOST, Viewed, of_pairs, told
from reports.page import render_page
from reports.parts import latex, markdown, svg
from reports.parts.circuit import CircuitPair
from reports.parts.content import Drawing, PaperTable, RecoverySection, Report, Section, Training
from reports.parts.markdown import Part, Picture, Subheading
from reports.parts.methods import Methods
from reports.recovery.section import TITLE, build_recovery, draw_pair
from reports.report import build

NOTHING: Mapping[str, str] = {}
ROOM = 2_500_000
"""Characters of figures in a page; once this is exceeded, further figures are only files beside it."""


def render_report(
    table: pd.DataFrame | None,
    metrics: Sequence[Mapping[str, str]],
    methods: Methods,
    title: str = "circuitmark leaderboard",
    recovery: pd.DataFrame | None = None,
    drawings: Sequence[CircuitPair] = (),
    trainings: Sequence[Training] = (),
    warnings: Sequence[str] = (),
    compared: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    judged: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    bibtex: str = "",
    viewed: Sequence[Viewed] = (),
) -> dict[str, bytes]:
    """`index.html`, `leaderboard.md` and the files under `plots/`, by relative path; nothing is written.

    Under `paper/` are tables as LaTeX, Markdown and CSV, and figures as PDF. With `recovery`, page and
    Markdown get a section on true circuits, and there are `tracr.md` and
    `tracr/<program>-<ablation>-<method>.svg` and `.png`. The same tables give the same bytes.

    Args:
        table: the long leaderboard, one row per model, task, method, params, seed, ablation and size; None
            for the section on true circuits alone, without `leaderboard.md`.
        metrics: describe the columns of both tables (name, label, description, unit, better).
        methods: all methods, and which is the random baseline.
        title: title of the page.
        recovery: one row per method, params, program, ablation and run.
        drawings: circuits for the section on true circuits.
        trainings: drawn beside the leaderboard, those of one method and place in one figure.
        warnings: shown first, before the table's own.
        compared: `pairs`, `turnovers`, `behaviours` and `fresh`, as `circuitmark compare --json` prints them.
        judged: `folds` and `compared` of the recoveries, as `circuitmark verify-tracr --json` prints them.
        bibtex: BibTeX entries of the methods' papers.
        viewed: circuits for the page's viewer, beside those of `drawings`; the first `viewed.MOST` of all.

    Raises:
        ValueError: nothing to report, `drawings` without `recovery`, no rows, a missing column, a bad
            direction.
    """
    if table is None and recovery is None:
        raise ValueError("nothing to report: give a leaderboard, a table of recoveries, or both")
    if drawings and recovery is None:
        raise ValueError("`drawings` are drawn beside the table of recoveries: give `recovery` as well")
    report = None
    if table is not None:
        report = build(table, metrics, methods, title, trainings, recovery, warnings, compared or {}, bibtex)
    section = None if recovery is None else build_recovery(recovery, metrics, methods, drawings, judged or {})
    if report is None and section is not None:
        section = replace(section, meaning=[*warnings, *section.meaning])
    return _render(report, section, title, [*viewed, *of_pairs(drawings)])


def _render(
    report: Report | None, recovery: RecoverySection | None, title: str, viewed: Sequence[Viewed]
) -> dict[str, bytes]:
    sections = [*report.tasks, *report.further] if report else []
    drawings = [report.panel] if report and report.panel else []
    drawings += [drawing for section in sections for drawing in section.figures]
    circuits = [draw_pair(stem, pair) for stem, pair in recovery.pairs.items()] if recovery else []
    files: dict[str, bytes] = {}
    inline: dict[str, str] = {}
    undrawn: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for folder, prefix, each in (("plots", "f", drawings), ("tracr", "c", circuits)):
        for i, drawing in enumerate(each):  # one figure at a time is in memory
            path = f"{folder}/{drawing.stem}"
            try:
                drawn = _files(path, drawing)
                files |= drawn
                if sum(map(len, inline.values())) > ROOM:
                    left_out[path] = (
                        f"Left out to limit the size of this page: {path}.svg, {drawing.meaning}."
                    )
                    continue
                vector = drawn[f"{path}.svg"]
                shown = {path: svg.inline(vector, f"{prefix}{i}", drawing.meaning, grows=folder == "plots")}
                if drawing.linear:
                    other, words = svg.render(drawing.linear(), "svg"), f"{drawing.meaning}, linear axis"
                    shown[f"{path} linear"] = svg.inline(other, f"{prefix}{i}l", words)
                inline |= shown
            except Exception as error:  # a figure that fails must not cost the report
                undrawn[path] = f"Not drawn: {drawing.meaning}. {type(error).__name__}: {error}"
    many = max(0, len(viewed) - MOST)
    page = render_page(title, report, recovery, inline, {**undrawn, **left_out}, told(viewed), many)
    files["index.html"] = page.encode(errors="replace")
    if recovery:
        paragraphs = [recovery.summary, *recovery.meaning]
        files["tracr.md"] = markdown.page(TITLE, paragraphs, _recovery_sections(recovery, undrawn)).encode(
            errors="replace"
        )
    if report:
        files["leaderboard.md"] = markdown_page(report, recovery, undrawn).encode(errors="replace")
        for table in report.paper:
            files |= paper_files(table)
    return files


def _files(path: str, drawing: Drawing) -> dict[str, bytes]:
    figure = drawing.figure()
    vector = svg.render(figure, "svg")
    figure.set_layout_engine("none")  # keep this layout: making it takes longer than drawing
    files = {f"{path}.svg": vector, f"{path}.png": svg.render(figure, "png")}
    if drawing.paper:
        files[f"paper/{drawing.stem}.pdf"] = svg.render(drawing.paper(), "pdf")
    return files


def paper_files(table: PaperTable) -> dict[str, bytes]:
    """A table for a paper as LaTeX, Markdown and CSV, by path."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(table.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.rows)
    texts = {
        "tex": latex.table(table.grid, table.caption, table.stem),
        "md": f"{markdown.escape(table.caption)}.\n\n{markdown.grid(table.grid)}\n",
        "csv": buffer.getvalue(),
    }
    return {f"paper/{table.stem}.{kind}": text.encode(errors="replace") for kind, text in texts.items()}


def markdown_page(
    report: Report, recovery: RecoverySection | None = None, undrawn: Mapping[str, str] = NOTHING
) -> str:
    """`leaderboard.md`: a table per task, the ranking over tasks, true circuits, then how the jobs ended.

    Args:
        report: the leaderboard's content.
        recovery: the content of the section on true circuits; None if there is none.
        undrawn: why a figure was not drawn, by its path.
    """
    overall: list[Part] = [report.ranking_meaning]
    for ranking in report.rankings:
        overall += [*filter(None, [ranking.title]), *_parts(ranking)]
    panel = [report.panel] if report.panel else []
    overall += [*report.turnovers, *_pictures("plots", panel, undrawn)]
    tasks = [(section.title, _parts(section, section.figures[:1], undrawn)) for section in report.tasks]
    true: list[Part] = [recovery.summary, *recovery.meaning] if recovery else []
    for title, parts in _recovery_sections(recovery, undrawn) if recovery else ():
        true += [Subheading(title), *parts]
    jobs: list[Part] = [f"{report.job_counts}.", *([report.troubles] if report.troubles else [])]
    jobs += [f"{name}: {value}" for name, value in report.provenance]
    sections = [*tasks, ("Over all tasks", overall)]
    sections += [(section.title, _parts(section, section.figures, undrawn)) for section in report.further]
    sections += [(TITLE, true)] if recovery else []
    return markdown.page(report.title, [report.summary, *report.warnings], [*sections, ("Jobs", jobs)])


def _recovery_sections(recovery: RecoverySection, undrawn: Mapping[str, str]) -> list[tuple[str, list[Part]]]:
    """The tables on true circuits, then the circuits drawn, under their headings."""
    tables = [*recovery.headlines, *([recovery.troubles] if recovery.troubles else []), *recovery.details]
    sections: list[tuple[str, list[Part]]] = [(section.title, _parts(section)) for section in tables]
    if recovery.pairs:
        circuits = [draw_pair(stem, pair) for stem, pair in recovery.pairs.items()]
        sections.append(("Circuits drawn", _pictures("tracr", circuits, undrawn)))
    if recovery.provenance:
        sections.append(("Where it ran", [f"{name}: {value}" for name, value in recovery.provenance]))
    return sections


def _parts(
    section: Section, figures: Sequence[Drawing] = (), undrawn: Mapping[str, str] = NOTHING
) -> list[Part]:
    """A section's paragraph, the figures given, and its table."""
    words: list[Part] = [section.meaning] if section.meaning else []
    return [*words, *_pictures("plots", figures, undrawn), *([section.grid] if section.grid else [])]


def _pictures(folder: str, drawings: Sequence[Drawing], undrawn: Mapping[str, str]) -> list[Part]:
    """Each figure, or why it was not drawn."""
    paths = {f"{folder}/{drawing.stem}": drawing.meaning for drawing in drawings}
    return [undrawn.get(path) or Picture(f"{path}.png", meaning) for path, meaning in paths.items()]
