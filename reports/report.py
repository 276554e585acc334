"""A report's content, before it is Markdown or HTML: sections of tables and figures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from reports import plots, summary
from reports.entries import Entry, Setting, by_task, fold_seeds, tidy
from reports.grid import Grid
from reports.metric import Metrics, read_metrics
from reports.ranking import rank, ranking_grid, turnovers
from reports.style import Line, lines
from reports.tables import HEADLINE, task_grid

FIGURES = {HEADLINE: True, "faithfulness": False}
"""The metrics plotted for each task, and whether their axis is logarithmic."""


@dataclass(frozen=True)
class Drawing:
    """A figure, the stem of its file name, and what it shows in words."""

    stem: str
    figure: Figure
    meaning: str


@dataclass(frozen=True)
class Section:
    """One task under one setting, or one setting's ranking."""

    title: str
    anchor: str
    grid: Grid
    figures: tuple[Drawing, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything a page shows, in its order."""

    title: str
    summary: str
    warnings: Sequence[str]
    ranking_meaning: str
    rankings: Sequence[Section]
    turnovers: Sequence[str]
    panel: Drawing | None
    tasks: Sequence[Section]
    metrics: Metrics
    job_counts: str
    troubles: Grid | None
    provenance: Sequence[tuple[str, str]]


def build(table: pd.DataFrame, described: Sequence[Mapping[str, str]], title: str) -> Report:
    """The content of a report; ValueError as `write_report`."""
    metrics = read_metrics(described)
    table = tidy(table, metrics)
    entries = fold_seeds(table)
    groups, looks = by_task(entries), lines(entry.label for entry in entries if not entry.is_reference)
    rankings = rank(entries, metrics[HEADLINE])
    titles = _titles(list(groups))
    return Report(
        title=title,
        summary=summary.describe(table),
        warnings=summary.warnings(table),
        ranking_meaning=_ranking_meaning(metrics, bool(rankings)),
        rankings=[
            Section(_setting_title(r.setting), "overall", ranking_grid(r, metrics[HEADLINE]))
            for r in rankings
        ],
        turnovers=turnovers(rankings),
        panel=_panel({titles[key]: group for key, group in groups.items()}, metrics, looks),
        tasks=[_task(key, group, titles[key], metrics, looks) for key, group in groups.items()],
        metrics=metrics,
        job_counts=summary.job_counts(table),
        troubles=summary.troubles(table),
        provenance=summary.provenance(table),
    )


def _ranking_meaning(metrics: Metrics, ranked: bool) -> str:
    label = metrics[HEADLINE].label
    if not ranked:
        return f"No ranking: it takes two methods scored in {label} at one size of one task."
    return (
        f"Mean rank by {label} over every task and size, 1 is best. A method is ranked where it was scored, "
        "and cells says in how many; random circuits are ranked, the full and the empty circuit are not."
    )


def _titles(keys: Sequence[tuple[Setting, str]]) -> dict[tuple[Setting, str], str]:
    """Tasks by name alone where there is one setting, else with it."""
    several = len({setting for setting, _ in keys}) > 1
    return {(s, task): f"{task} · {_setting_title(s)}" if several else task for s, task in keys}


def _setting_title(setting: Setting) -> str:
    return " · ".join(part for part in (setting.model, setting.ablation, setting.graph) if part)


def _stem(setting: Setting, task: str) -> str:
    """Model, task and ablation as a part of a file name."""
    parts = [setting.model, task, setting.ablation]
    return "_".join(re.sub(r"[^\w.-]+", "-", part).strip("-.") for part in parts if part)


def _task(
    key: tuple[Setting, str],
    entries: Sequence[Entry],
    title: str,
    metrics: Metrics,
    looks: Mapping[str, Line],
) -> Section:
    stem = _stem(*key)
    figures = []
    for name, log in FIGURES.items():
        if any(entry.stat(name).scored for entry in entries if not entry.is_reference):
            drawn = plots.plot_metric(entries, metrics[name], looks, title, log)
            meaning = f"{metrics[name].label} against the share of edges kept, {title}"
            figures.append(Drawing(f"{name}_{stem}", drawn, meaning))
    return Section(title, f"task-{stem}", task_grid(entries, metrics), tuple(figures))


def _panel(
    groups: Mapping[str, Sequence[Entry]], metrics: Metrics, looks: Mapping[str, Line]
) -> Drawing | None:
    if not any(entry.stat(HEADLINE).scored for group in groups.values() for entry in group):
        return None
    figure = plots.plot_panel(groups, metrics[HEADLINE], looks, FIGURES[HEADLINE])
    return Drawing(
        f"{HEADLINE}_all_tasks",
        figure,
        f"{metrics[HEADLINE].label} against the share of edges kept, all tasks",
    )
