"""A table before it is rendered to Markdown or HTML: headings, cells and the notes below it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Heading:
    """The head of a column: text, unit, and a longer explanation, shown on demand."""

    text: str
    unit: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell: its text, the smaller text beside it, and the number it is sorted by."""

    text: str
    beside: str = ""
    best: bool = False
    order: float = math.nan
    """Smaller is better, or simply smaller where neither is better; NaN sorts last."""
    equal: bool = False
    """Whether a test found it equal to the best."""
    faded: bool = False
    """Whether it does not compete: worse than the empty circuit, or larger than requested."""


@dataclass(frozen=True)
class Row:
    """A row of cells; `starts` opens a new group of rows, `reference` is the full or the empty circuit."""

    cells: tuple[Cell, ...]
    starts: bool = False
    reference: bool = False
    about: Mapping[str, str] = field(default_factory=dict)
    """What a page can filter it by: model, task, ablation, size, method; several values on separate lines."""


@dataclass(frozen=True)
class Grid:
    """A table with its notes. The first `names` columns hold text, the others numbers."""

    headings: tuple[Heading, ...]
    rows: tuple[Row, ...]
    names: int
    notes: tuple[str, ...] = ()
    spans: tuple[tuple[str, int], ...] = ()
    """Texts above the headings, each with the number of columns that it spans; empty if there are none."""
