"""Reports: from long tables to Markdown, plots, one offline page, tables for the terminal.

A leaf: it is handed a table and, as data, what each metric means and which way it is better. It
runs nothing and knows no model, method or task. Names are loaded on first use, so that importing
`reports` costs nothing: matplotlib, jinja2 and rich come only with what needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.content import CircuitPair, Training
    from reports.drawing import draw_circuits
    from reports.recovery import recovery_grids
    from reports.terminal import terminal_table
    from reports.terminal_recovery import recovery_terminal
    from reports.write import write_recovery, write_report

__all__ = [
    "CircuitPair",
    "Training",
    "draw_circuits",
    "recovery_grids",
    "recovery_terminal",
    "terminal_table",
    "write_recovery",
    "write_report",
]

_HOME = {
    "CircuitPair": "reports.content",
    "Training": "reports.content",
    "draw_circuits": "reports.drawing",
    "recovery_grids": "reports.recovery",
    "recovery_terminal": "reports.terminal_recovery",
    "terminal_table": "reports.terminal",
    "write_recovery": "reports.write",
    "write_report": "reports.write",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'reports' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
