"""The offline page: one HTML file that asks for nothing."""

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.content import Report


def render_page(report: Report, figures: Mapping[str, str]) -> str:
    """Fill `page.html.j2`; `figures` are inline SVG by a drawing's stem.

    Every text of the report is escaped. Only the figures are taken as markup: matplotlib has
    escaped the texts in them.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    safe = {stem: Markup(svg) for stem, svg in figures.items()}
    return environment.get_template("page.html.j2").render(report=report, figures=safe) + "\n"
