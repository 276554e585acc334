"""Tables for the terminal."""

from collections.abc import Iterable

from rich.table import Table


def a_table(title: str, texts: Iterable[str], numbers: Iterable[str]) -> Table:
    """An empty table.

    Args:
        title: above it.
        texts: columns that are set flush left, first.
        numbers: columns that are set flush right, after them.
    """
    view = Table(title=title)
    for name in texts:
        view.add_column(name)
    for name in numbers:
        view.add_column(name, justify="right")
    return view
