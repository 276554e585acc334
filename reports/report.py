"""From the long table to a report's content: sections of tables and figures, named and in order."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from reports.claims.data_sizes import data_section
from reports.claims.edges_needed import edges_needed_section
from reports.claims.section import claims_section
from reports.claims.seeds import seeds_section
from reports.compared.ahead import pairs_section, standings_section
from reports.compared.fresh import fresh_section
from reports.compared.turnovers import turnover_sentences
from reports.leaderboard import plots, summary
from reports.leaderboard.circuit_tests import circuit_tests_section
from reports.leaderboard.entries import (
    EDGES,
    REFERENCES,
    Entry,
    Setting,
    by_task,
    fold_seeds,
    graph_names,
    tidy,
)
from reports.leaderboard.paper import paper_table
from reports.leaderboard.ranking import rank, ranking_grid
from reports.leaderboard.scales import Scale
from reports.leaderboard.tables import HEADLINE, OLDER, headline, task_grid
from reports.leaderboard.training import plot_training
from reports.parts.content import Drawing, PaperTable, Report, Section, Training
from reports.parts.methods import Methods, label_of
from reports.parts.metric import Metric, Metrics, read_metrics
from reports.parts.models import named
from reports.parts.style import Line, lines

NOTHING: Mapping[str, Sequence[Mapping[str, Any]]] = {}
FIGURES: Mapping[str, Scale] = {HEADLINE: "share", OLDER: "log", "faithfulness": "linear"}
"""The metrics plotted for each task, and the scale of their axis."""


def build(
    table: pd.DataFrame,
    described: Sequence[Mapping[str, str]],
    methods: Methods,
    title: str,
    trainings: Sequence[Training] = (),
    recovery: pd.DataFrame | None = None,
    warnings: Sequence[str] = (),
    compared: Mapping[str, Sequence[Mapping[str, Any]]] = NOTHING,
    bibtex: str = "",
) -> Report:
    """The content of a report.

    Args:
        table: the long leaderboard, as `render_report` takes it.
        described: what its columns mean.
        methods: all methods, and which is the random baseline.
        title: title of the page.
        trainings: drawn in a section of their own.
        recovery: the long table of recoveries, on which some claims are judged.
        warnings: shown first.
        compared: as `render_report` takes it.
        bibtex: as `render_report` takes it.

    Raises:
        ValueError: as `render_report`.
    """
    metrics = read_metrics(described)
    compared = named(compared, graph_names(table))
    table = tidy(table, metrics)
    entries = fold_seeds(table)
    looks = _looks(table, methods, trainings)
    settings = sorted({entry.setting for entry in entries})
    tasks = [
        _task(
            f"{task}{_tell(setting, settings)}",
            _stem(setting, task),
            group,
            metrics,
            methods,
            looks,
        )
        for (setting, task), group in by_task(entries).items()
    ]
    lead = metrics[headline(entries)]
    rankings = rank(entries, lead)
    pairs = compared.get("pairs", ())
    further = (
        standings_section(compared.get("behaviours", ()), entries, looks),
        pairs_section(pairs),
        fresh_section(compared.get("fresh", ())),
        circuit_tests_section(table, entries, metrics, methods),
        claims_section(table, methods, recovery),
        edges_needed_section(table, methods),
        seeds_section(table, metrics, methods, looks),
        data_section(table, metrics, methods, looks),
        _trainings(trainings, looks),
    )
    return Report(
        title=title,
        summary=summary.describe(table),
        warnings=[*warnings, *summary.warnings(table)],
        ranking_meaning=_ranking_meaning(lead, bool(rankings)),
        rankings=[
            Section(
                _tell(r.setting, settings).strip(" ·"),
                "",
                ranking_grid(r, lead, methods),
                about=_about(r.setting),
            )
            for r in rankings
        ],
        turnovers=turnover_sentences(compared.get("turnovers", ())),
        panel=_panel(tasks, list(by_task(entries).values()), lead, looks),
        tasks=tasks,
        further=[section for section in further if section is not None],
        metrics=metrics,
        job_counts=summary.job_counts(table),
        troubles=summary.troubles(table),
        provenance=summary.provenance(table),
        paper=_paper(by_task(entries), settings, metrics, methods, pairs),
        bibtex=bibtex,
    )


def _tell(setting: Setting, settings: Sequence[Setting]) -> str:
    """What distinguishes a setting from the others in the table: ` · zero`; nothing if there is only one."""
    told = ("model", "ablation", "pruned")
    parts = (getattr(setting, name) for name in told if len({getattr(s, name) for s in settings}) > 1)
    return "".join(f" · {part}" for part in parts)


def _stem(setting: Setting, task: str) -> str:
    """Model, task and ablation as a part of a file name."""
    pruned = setting.pruned if setting.pruned != EDGES else ""
    parts = [part for part in (setting.model, task, setting.ablation, pruned) if part]
    return "_".join(re.sub(r"[^\w.-]+", "-", part).strip("-.") for part in parts)


def _ranking_meaning(lead: Metric, ranked: bool) -> str:
    if not ranked:
        return (
            "No ranking: there is no task and size at which at least two methods were scored in "
            f"{lead.label} and are not all the same."
        )
    return (
        f"Mean rank by {lead.label} over all tasks and sizes; 1 is best. A method is ranked wherever it was "
        "scored; the column cells says in how many (task, size) cells. Random circuits are ranked; the full "
        "and the empty circuit and the mask of ones are not, nor are circuits with more edges than "
        "requested. Sizes at which all are the same are left out."
    )


def _looks(table: pd.DataFrame, methods: Methods, trainings: Sequence[Training]) -> dict[str, Line]:
    """One look per label for all figures; some name a method with its number of examples, some without."""
    ran = table[~table["method"].isin(REFERENCES)]
    variants = [
        pair for name in ("params", "own_params") for pair in zip(ran["method"], ran[name], strict=True)
    ]
    return lines(methods, [*variants, *((run.method, run.params) for run in trainings)])


def _task(
    title: str,
    stem: str,
    entries: Sequence[Entry],
    metrics: Metrics,
    methods: Methods,
    looks: Mapping[str, Line],
) -> Section:
    figures = []
    for name, scale in FIGURES.items():
        if _is_scored(entries, name):
            figure = partial(plots.plot_metric, entries, metrics[name], looks, title, values=scale)
            paper = partial(figure, form=plots.COLUMN) if name == HEADLINE else None
            linear = None if scale == "linear" else partial(figure, values="linear")
            figures.append(Drawing(f"{name}_{stem}", figure, _meaning(metrics[name], title), paper, linear))
    about = {**_about(entries[0].setting), "task": entries[0].task}
    return Section(title, stem, task_grid(entries, metrics, methods), tuple(figures), about=about)


def _about(setting: Setting) -> dict[str, str]:
    """What a page can filter a setting's sections by."""
    return {"model": setting.model, "ablation": setting.ablation}


def _panel(
    tasks: Sequence[Section], groups: Sequence[Sequence[Entry]], lead: Metric, looks: Mapping[str, Line]
) -> Drawing | None:
    """All tasks in the headline metric; None where nothing was scored in it."""
    panels = {s.title: group for s, group in zip(tasks, groups, strict=True) if _is_scored(group, lead.name)}
    if not panels:
        return None
    figure = partial(plots.plot_panel, panels, lead, looks, values=FIGURES[lead.name])
    paper, linear = partial(figure, form=plots.COLUMN), partial(figure, values="linear")
    return Drawing(f"{lead.name}_all_tasks", figure, _meaning(lead, "all tasks"), paper, linear)


def _paper(
    groups: Mapping[tuple[Setting, str], Sequence[Entry]],
    settings: Sequence[Setting],
    metrics: Metrics,
    methods: Methods,
    pairs: Sequence[Mapping[str, Any]],
) -> list[PaperTable]:
    """A table for each setting and, if it has several tasks, one for each task as well."""
    found = []
    for setting in settings:
        tasks = {task: group for (where, task), group in groups.items() if where == setting}
        places = [("all tasks", tasks)] if len(tasks) > 1 else []
        places += [(task, {task: group}) for task, group in tasks.items()]
        for name, theirs in places:
            stem = _stem(setting, name)
            title = f"{name}, {setting.model}, {setting.ablation} ablation"
            title += f", {setting.pruned} pruned" if setting.pruned != EDGES else ""
            found.append(paper_table(stem, title, theirs, metrics, methods, pairs))
    return [table for table in found if table is not None]


def _trainings(runs: Sequence[Training], looks: Mapping[str, Line]) -> Section | None:
    """A figure for all seeds of a method on a task."""
    drawings = []
    kinds = dict.fromkeys((label_of(run.method, run.params), run.place) for run in runs)
    for i, (name, place) in enumerate(kinds):
        seeds = [run for run in runs if (label_of(run.method, run.params), run.place) == (name, place)]
        title = f"{name} · {place}"
        stem = f"training_{i + 1}_" + re.sub(r"[^\w.-]+", "-", title).strip("-.")
        figure = partial(plot_training, title, seeds, looks[name])
        drawings.append(Drawing(stem, figure, f"How {title} trained"))
    return Section("Training", "training", None, tuple(drawings)) if drawings else None


def _is_scored(entries: Sequence[Entry], name: str) -> bool:
    return any(entry.stat(name).scored for entry in entries if not entry.is_reference)


def _meaning(metric: Metric, title: str) -> str:
    return f"{metric.label} against the share of edges kept, {title}"
