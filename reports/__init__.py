"""Reports: from the long leaderboard table to Markdown, plots, one offline page, a terminal table.

A leaf: it is handed a table and, as data, what each metric means and which way it is better. It
runs nothing and knows no model, method or task. Names are loaded on first use, so that importing
`reports` costs nothing: matplotlib, jinja2 and rich come only with what needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.terminal import terminal_table
    from reports.write import write_report

__all__ = ["terminal_table", "write_report"]

_HOME = {"terminal_table": "reports.terminal", "write_report": "reports.write"}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'reports' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
