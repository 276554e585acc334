"""What a report contains, before it is Markdown or HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from reports.grid import Grid
from reports.metric import Metrics


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
    stem: str
    """What its anchor and its figures' files are called; unique in a report."""
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
