"""Figures as bytes: PNG, SVG and PDF files, and SVG to put inside a page."""

import re
from html import escape
from io import BytesIO
from typing import Literal

from matplotlib.figure import Figure

from reports.parts.style import GRID, INK, PAPER, styled

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


def inline(svg: bytes, prefix: str, description: str, grows: bool = True) -> str:
    """An SVG file's content as an element of an HTML page.

    Ink, grid, paper and font become the page's own, so that the figure follows light and dark; namespaces
    and metadata, which HTML does not need, are dropped.

    Args:
        svg: as `render` returns it.
        prefix: of all ids, since several figures share one page.
        description: what a reader who does not see it is told; escaped here.
        grows: whether it may get wider than the file says.
    """
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(xmlns(:\w+)?|version)="[^"]*"', "", text)
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{prefix}-", text.replace("xlink:href", "href"))
    text = re.sub(r" font-family: [^;\"]*;", "", text)
    for colour, variable in _THEME.items():
        text = text.replace(colour, variable)
    opening = re.compile(r'<svg width="([^"]*)" height="[^"]*"')
    limit = "" if grows else r' style="max-width:\1"'
    label = escape(description).replace("\\", r"\\")
    return opening.sub(rf'<svg role="img" aria-label="{label}"{limit}', text, count=1)
