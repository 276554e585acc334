"""How lines look: one colour, marker and dash per method, the same in every figure.

Colours are Okabe and Ito's, told apart by colour-blind readers, without their yellow and black,
which fade on white and on dark pages. Markers differ as well, so that grey print still reads.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import product

import matplotlib

INK, GRID, PAPER = "#24292f", "#d8dee4", "#fffffe"
"""Text, grid and background; `svg.inline` hands these three over to the page's own colours."""

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_BASELINE = "#8b949e"
_MARKERS = "osD^PX<>"  # no "v": that is a value on the floor
_DASHES = ("-", "--", ":")


@dataclass(frozen=True)
class Line:
    """The look of one method's line."""

    colour: str
    marker: str
    dash: str


def is_baseline(method: str) -> bool:
    """Whether a method is drawn in grey, behind the others: the random circuits."""
    return method.startswith("random")


def lines(labels: Iterable[str]) -> dict[str, Line]:
    """A look per label, in alphabetical order with the baselines last; looks repeat after 18."""
    labels = sorted(set(labels))
    looks = [(colour, dash) for dash, colour in product(_DASHES, _COLOURS)]
    named = [label for label in labels if not is_baseline(label)]
    found = {
        label: Line(*looks[i % len(looks)][:1], _MARKERS[i % len(_MARKERS)], looks[i % len(looks)][1])
        for i, label in enumerate(named)
    }
    for i, label in enumerate(label for label in labels if is_baseline(label)):
        found[label] = Line(_BASELINE, "ox+*"[i % 4], _DASHES[1 + i % 2])
    return found


def styled() -> AbstractContextManager[None]:
    """Matplotlib's settings for our figures, both to draw and to save them; restored on leaving."""
    return matplotlib.rc_context(
        {
            "font.family": ["DejaVu Sans", "sans-serif"],
            "font.size": 9.5,
            "text.color": INK,
            "text.parse_math": False,  # a dollar sign in a method's parameters is a dollar sign
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "axes.linewidth": 0.7,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.facecolor": "none",
            "figure.facecolor": PAPER,
            "grid.color": GRID,
            "grid.linewidth": 0.7,
            "xtick.color": INK,
            "ytick.color": INK,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "savefig.dpi": 160,
            "svg.fonttype": "none",  # text stays text: small, searchable, in the page's colour
            "svg.hashsalt": "circuitmark",  # the same table gives the same bytes
        }
    )
