"""Figures as bytes: PNG, SVG and PDF files, and SVG for embedding in a page."""

import re
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Literal

from matplotlib.figure import Figure

from reports.parts.style import GRID, INK, PAPER, styled

SERIES = re.compile(r'\bid="series\|([^|"]*)\|([^|"]*)\|[^"]*"')
"""The id of a method's artist: the label, its values in the order of points, a distinguishing text."""
_THEME = {INK: "var(--ink)", GRID: "var(--rule)", PAPER: "none"}


def render(figure: Figure, kind: Literal["png", "svg", "pdf"]) -> bytes:
    """The figure as a file's content, without date or version: the same figure gives the same bytes."""
    metadata = {
        "svg": {"Date": None},
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }[kind]
    buffer = BytesIO()
    with styled():
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def series(label: str, what: str, values: Sequence[str] = ()) -> str:
    """The `gid` of an artist that belongs to a method.

    Args:
        label: the method's label.
        what: distinguishes it from the method's other artists in a figure.
        values: the texts shown at its points, in order.
    """
    told = [text.replace("|", " ").replace(";", ",") for text in (label, *values)]
    return f"series|{told[0]}|{';'.join(told[1:])}|{what}"


def inline(svg: bytes, prefix: str, description: str, grows: bool = True) -> str:
    """An SVG file's content as an element of an HTML page.

    Ink, grid, paper and font become the page's own, so that the figure follows light and dark; namespaces
    and metadata, which HTML does not need, are dropped. Artists named by `series` get the method and its
    values as data attributes.

    Args:
        svg: as `render` returns it.
        prefix: prefix of all ids, since several figures share one page.
        description: a text for readers who cannot see it; escaped here.
        grows: whether it may get wider than the file specifies.
    """
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(xmlns(:\w+)?|version)="[^"]*"', "", text)
    text = SERIES.sub(r'data-method="\1" data-values="\2"', text)
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{prefix}-", text.replace("xlink:href", "href"))
    text = re.sub(r" font-family: [^;\"]*;", "", text)
    for colour, variable in _THEME.items():
        text = text.replace(colour, variable)
    opening = re.compile(r'<svg width="([^"]*)" height="[^"]*"')
    limit = "" if grows else r' style="max-width:\1"'
    label = escape(description).replace("\\", r"\\")
    return opening.sub(rf'<svg role="img" aria-label="{label}"{limit}', text, count=1)
