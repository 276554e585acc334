"""Axes of figures: edges kept, and values that span decades or are shares whose ends both matter."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

Scale = Literal["linear", "log", "share"]
END = 0.03
"""Distance from 0 and from 1 within which a share's axis is about linear."""
MOST, APART = 8, 1.3
"""For ticks at the sizes themselves: the most sizes, and the minimum factor from one to the next."""
SHARES = (-100, -10, -1, -0.1, 0, 0.1, 0.5, 0.9, 0.97, 1)


def place(share: np.ndarray) -> np.ndarray:
    """Axis position of a share: logarithmic towards 0 and 1 and below 0, linear within `END` of either."""
    return np.arcsinh(share / END) - np.arcsinh((1 - share) / END)


def share_at(place: np.ndarray) -> np.ndarray:
    """The share at an axis position: the inverse of `place`."""
    # asinh a - asinh b = place and a + b = 1 / END, solved for a
    return END * np.sinh(place / 2 + np.arcsinh(1 / (2 * END * np.cosh(place / 2))))


def scale(axes: Axes, values: Scale, sizes: Sequence[float] = ()) -> None:
    """Scale the axes of a figure against edges kept; the axis of edges is logarithmic.

    Args:
        axes: the axes, with everything already drawn.
        values: scale of the value axis.
        sizes: percentages requested, in order: the ticks if they are few and far enough apart.
    """
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.set_xscale("log")
    apart = all(larger > APART * size for size, larger in pairwise(sizes))
    if 1 < len(sizes) <= MOST and apart:
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(NullFormatter())
    if values == "log":
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 300 else (1, 2, 5)))
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif values == "share":
        axes.set_yscale("function", functions=(place, share_at))
        axes.set_ylim(top=1 + END / 2)  # no share is above 1: room for a mark
        axes.yaxis.set_major_locator(FixedLocator(SHARES))
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_locator(NullLocator())
