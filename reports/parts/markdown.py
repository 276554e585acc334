"""The leaderboard as a Markdown page."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from reports.parts.grid import Cell, Grid, Heading


class Picture(NamedTuple):
    """An image beside the page: its path relative to it, and what it shows."""

    path: str
    alt: str


class Subheading(NamedTuple):
    """A heading within a section."""

    text: str


Part = str | Grid | Picture | Subheading


def page(title: str, paragraphs: Sequence[str], sections: Sequence[tuple[str, Sequence[Part]]]) -> str:
    """A page as Markdown; all texts are escaped.

    Args:
        title: its first heading.
        paragraphs: paragraphs before the sections.
        sections: each a heading, and its texts, tables and pictures in order.
    """
    blocks = [f"# {escape(title)}", *map(escape, paragraphs)]
    for heading, parts in sections:
        blocks.append(f"## {escape(heading)}")
        blocks += map(_part, parts)
    return "\n\n".join(blocks) + "\n"


def _part(part: Part) -> str:
    match part:
        case Picture(path, alt):
            return f"![{escape(alt)}]({path})"
        case Subheading(text):
            return f"### {escape(text)}"
        case Grid():
            return grid(part)
        case _:
            return escape(part)


def grid(table: Grid) -> str:
    """A pipe table with right-aligned numbers, and its notes below it."""
    rules = ["---" if column < table.names else "---:" for column in range(len(table.headings))]
    over = [text for text, width in table.spans for _ in range(width)] or [""] * len(table.headings)
    headings = zip(over, table.headings, strict=True)
    lines = [_row([f"{escape(above)} {_heading(each)}".strip() for above, each in headings]), _row(rules)]
    lines += [_row([_cell(cell) for cell in row.cells]) for row in table.rows]
    return "\n\n".join(["\n".join(lines), *map(escape, table.notes)])


def escape(text: str) -> str:
    """`text` on one line, with the characters that Markdown or HTML would take for markup escaped."""
    text = re.sub(r"\s+", " ", text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*|\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _heading(heading: Heading) -> str:
    return escape(f"{heading.text} ({heading.unit})" if heading.unit else heading.text)


def _cell(cell: Cell) -> str:
    text = f"**{escape(cell.text)}**" if cell.best else escape(cell.text)
    text += "†" * cell.equal
    return f"{text} {escape(cell.beside)}".rstrip()
