"""Reports: turn long tables into Markdown, plots, one offline page and tables for the terminal.

A leaf package: it receives a table and, as data, what each metric means, which direction is better, and
which methods exist. It runs nothing, writes no file and knows no model or task. Names are loaded on first
use, so importing `reports` is cheap: matplotlib, jinja2 and rich are imported only by the code that needs
them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.circuits.drawing import draw_circuit, draw_circuits, draw_two
    from reports.circuits.layout import lay_out
    from reports.circuits.summary import summarise
    from reports.circuits.terminal import scores_terminal
    from reports.circuits.viewed import Viewed
    from reports.compared.terminal import comparison_terminal
    from reports.leaderboard.terminal import terminal_table
    from reports.parts.circuit import CircuitPair, Edge, Node
    from reports.parts.content import Training
    from reports.parts.methods import Methods
    from reports.recovery.grids import recovery_grids
    from reports.recovery.terminal import recovery_terminal
    from reports.render import render_report

__all__ = [
    "CircuitPair",
    "Edge",
    "Methods",
    "Node",
    "Training",
    "Viewed",
    "comparison_terminal",
    "draw_circuit",
    "draw_circuits",
    "draw_two",
    "lay_out",
    "recovery_grids",
    "recovery_terminal",
    "render_report",
    "scores_terminal",
    "summarise",
    "terminal_table",
]

_HOME = {
    "CircuitPair": "reports.parts.circuit",
    "Edge": "reports.parts.circuit",
    "Methods": "reports.parts.methods",
    "Node": "reports.parts.circuit",
    "Training": "reports.parts.content",
    "Viewed": "reports.circuits.viewed",
    "comparison_terminal": "reports.compared.terminal",
    "draw_circuit": "reports.circuits.drawing",
    "draw_circuits": "reports.circuits.drawing",
    "draw_two": "reports.circuits.drawing",
    "lay_out": "reports.circuits.layout",
    "recovery_grids": "reports.recovery.grids",
    "recovery_terminal": "reports.recovery.terminal",
    "render_report": "reports.render",
    "scores_terminal": "reports.circuits.terminal",
    "summarise": "reports.circuits.summary",
    "terminal_table": "reports.leaderboard.terminal",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'reports' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
