"""What a report contains, before it is rendered to Markdown or HTML."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from reports.parts.circuit import CircuitPair
from reports.parts.grid import Grid
from reports.parts.metric import Metrics


@dataclass(frozen=True)
class Drawing:
    """A figure, made when it is rendered; the stem of its file name, and what it shows in words."""

    stem: str
    figure: Callable[[], Figure]
    meaning: str
    paper: Callable[[], Figure] | None = None
    """The same figure for a column of a paper, if papers get it."""
    linear: Callable[[], Figure] | None = None
    """The same figure with a linear value axis, for a page that can show either."""


@dataclass(frozen=True)
class PaperTable:
    """A table for a paper: its caption, its cells, and the same data in long form."""

    stem: str
    caption: str
    grid: Grid
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Training:
    """What one run of a method recorded as it trained."""

    method: str
    params: str
    place: str
    """The task (with model and ablation, if there are several)."""
    series: Mapping[str, Sequence[float]]
    """Values by name, all of the same length; one of them is "step"."""


@dataclass(frozen=True)
class Section:
    """One task under one setting, one setting's ranking, or anything else with a heading in a report."""

    title: str
    stem: str
    """The name of its anchor and its figures' files; unique in a report."""
    grid: Grid | None
    figures: tuple[Drawing, ...] = ()
    meaning: str = ""
    """A paragraph that says what is shown."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What a page can filter it by, as in `Row.about`."""


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
    further: Sequence[Section]
    """Whatever else the runs support: standings and pairs, fresh prompts, tests of circuits, claims, edges
    needed, spread over seeds, more data, trainings."""
    metrics: Metrics
    job_counts: str
    troubles: Grid | None
    provenance: Sequence[tuple[str, str]]
    paper: Sequence[PaperTable] = ()
    bibtex: str = ""
    """BibTeX entries of the methods' papers."""


@dataclass(frozen=True)
class RecoverySection:
    """What a report says about true circuits."""

    summary: str
    meaning: Sequence[str]
    """Paragraphs that say what the tables show."""
    headlines: Sequence[Section]
    details: Sequence[Section]
    """Long tables, program by program."""
    troubles: Section | None
    pairs: Mapping[str, CircuitPair]
    """The circuits drawn, by the stem of their files."""
    metrics: Metrics
    """The metrics in the tables."""
    provenance: Sequence[tuple[str, str]]
