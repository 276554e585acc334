"""How circuits look in a notebook."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.engine.circuit import Circuit


def begin() -> None:
    """Makes IPython, if it is running, show circuits as counts and a drawing."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        html = shell.display_formatter.formatters["text/html"]
        html.for_type_by_name("bench.engine.circuit", "Circuit", _show)


def _show(circuit: Circuit) -> str:
    from bench.exchange.drawn import show_circuit

    return show_circuit(circuit)
