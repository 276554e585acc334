"""Line styles: one colour per method, the same in every figure, whatever else it shows.

The first colours are Okabe and Ito's, which colour-blind readers can distinguish, without their yellow and
black, which fade on white and on dark pages; the others are for further methods. Markers differ as well, so
that figures can be read in greyscale.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import matplotlib

from reports.parts.methods import Methods, label_of

INK, GRID, PAPER = "#24292f", "#d8dee4", "#fffffe"
"""Text, grid and background; `svg.inline` replaces these three with the page's own colours."""

LETTERS = 9.5
"""Font size for a page on a screen, in points."""

_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
    "#8250df", "#9a5b32", "#7a9a01", "#d1242f", "#1b7c83", "#b8a000", "#5c6bc0",
)  # fmt: skip
_BASELINE = "#8b949e"
_MARKERS = "osD^PX<>"  # no "v": that is a value on the floor
_DASHES = ("-", "--", ":")


@dataclass(frozen=True)
class Line:
    """The look of one method's line."""

    colour: str
    marker: str
    dash: str
    behind: bool = False
    """Whether the line is grey and behind the others, with its name below theirs: random circuits."""


def lines(methods: Methods, variants: Iterable[tuple[str, str]]) -> dict[str, Line]:
    """A look by label for each (method, params) of a report; methods that `methods` lacks come last.

    A method's colour depends on its index alone, not on which others are shown. Where methods outnumber
    colours, those of one colour differ in marker (up to 104 methods); a method's variants differ in marker
    and dash.
    """
    pairs = sorted(set(variants))
    strangers = sorted({method for method, _ in pairs} - set(methods.names))
    coloured = [name for name in (*methods.names, *strangers) if name != methods.baseline]
    params = {name: [theirs for method, theirs in pairs if method == name] for name, _ in pairs}
    found = {}
    for name, theirs in pairs:
        variant = params[name].index(theirs)
        if name == methods.baseline:
            look = Line(_BASELINE, "ox+*"[variant % 4], _DASHES[1 + variant % 2], behind=True)
        else:
            place = coloured.index(name)
            marker, dash = _MARKERS[(place + variant) % len(_MARKERS)], _DASHES[variant % len(_DASHES)]
            look = Line(_COLOURS[place % len(_COLOURS)], marker, dash)
        found[label_of(name, theirs)] = look
    return found


def styled(letters: float = LETTERS) -> AbstractContextManager[None]:
    """Matplotlib settings for drawing and saving our figures; the old ones are restored on exit."""
    return matplotlib.rc_context(
        {
            "font.family": ["DejaVu Sans", "sans-serif"],
            "font.size": letters,
            "text.color": INK,
            "text.parse_math": False,  # a dollar sign in a method's parameters is a dollar sign
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "axes.linewidth": 0.7,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.titlesize": 1.1 * letters,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.facecolor": "none",
            "figure.facecolor": PAPER,
            "grid.color": GRID,
            "grid.linewidth": 0.7,
            "xtick.color": INK,
            "ytick.color": INK,
            "legend.frameon": False,
            "legend.fontsize": 0.95 * letters,
            "lines.linewidth": 1.6 * letters / LETTERS,
            "lines.markersize": 4.5 * letters / LETTERS,
            "savefig.dpi": 160,
            "svg.fonttype": "none",  # text stays text: small, searchable, in the page's colour
            "pdf.fonttype": 42,  # fonts embedded as they are: journals refuse type 3
            "svg.hashsalt": "circuitmark",  # the same table gives the same bytes
        }
    )
