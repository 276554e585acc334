"""The offline page: one HTML file that loads nothing else."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from reports.parts.content import RecoverySection, Report
from reports.parts.metric import Metrics
from reports.recovery import section


def render_page(
    title: str,
    report: Report | None,
    recovery: RecoverySection | None,
    figures: Mapping[str, str],
    undrawn: Mapping[str, str],
    circuits: Sequence[Mapping[str, Any]] = (),
    circuits_left_out: int = 0,
) -> str:
    """The page: the leaderboard, the section on true circuits, or both.

    All text of the report is escaped. Only the figures are inserted as markup: matplotlib has escaped the
    text in them.

    Args:
        title: title of the page.
        report: the leaderboard's content; None if there is none.
        recovery: the content of the section on true circuits; None if there is none.
        figures: inline SVG by the drawing's path.
        undrawn: why a figure is not in the page, by its path.
        circuits: as `viewed.told` returns them.
        circuits_left_out: how many more there are.
    """
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["pair_meaning"] = section.pair_meaning
    metrics = report.metrics if report else recovery.metrics if recovery else Metrics()
    return (
        environment.get_template("page.html.j2").render(
            title=title,
            report=report,
            recovery=recovery,
            recovery_title=section.TITLE,
            metrics=metrics,
            figures={path: Markup(svg) for path, svg in figures.items()},
            undrawn=undrawn,
            circuits=circuits,
            circuits_left_out=circuits_left_out,
        )
        + "\n"
    )


def _source(name: str) -> str:
    """A template, stylesheet or script of this package."""
    return files("reports").joinpath(name).read_text(encoding="utf-8")
