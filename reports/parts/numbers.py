"""Numbers as text: three significant digits, an en dash for what was not scored."""

import math

DASH = "\N{EN DASH}"


def _decimals(value: float) -> int:
    """Decimals that leave three significant digits."""
    return max(0, 2 - math.floor(math.log10(abs(value)))) if value else 2


def number(value: float, whole: bool = False) -> str:
    """`value` in three significant digits (`whole`: as a count); NaN is an en dash, never 0."""
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if whole or abs(value) >= 1000:
        return f"{value:,.0f}"
    if value and abs(value) < 0.001:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.{_decimals(value)}f}"


def mean_spread(mean: float, spread: float, whole: bool = False) -> str:
    """A mean and, where seeds differ, its standard deviation over them: `0.120 ± 0.030`.

    Decimals are limited to three digits of the mean or two of the spread, whichever are fewer.

    Args:
        mean: NaN where nothing was scored.
        spread: its standard deviation; 0 or NaN where seeds do not differ or there is only one.
        whole: whether the mean is a count; used only if there is no spread.
    """
    if not spread > 0 or not math.isfinite(mean):
        return number(mean, whole)
    decimals = min(_decimals(mean), max(0, _decimals(spread) - 1))
    if decimals > 5:
        return f"{number(mean)} ± {number(spread)}"
    return f"{mean:,.{decimals}f} ± {spread:,.{decimals}f}"


def interval(low: float, high: float) -> str:
    """`[0.100, 0.150]`, or nothing when either end is missing."""
    return "" if math.isnan(low) or math.isnan(high) else f"[{number(low)}, {number(high)}]"


def share(value: float) -> str:
    """A share from 0 to 1 as a percentage; `own` if no size was requested."""
    return "own" if math.isnan(value) else f"{100 * value:.4g} %"


def plural(count: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
