"""What a metric is called and which way it is better, as read from data.

No metric's direction is hard-coded in this package: headings, arrows, bold type, ranks and sort
orders all follow from the `better` that comes with the metric.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ARROWS = {"lower": "↓", "higher": "↑", "nearer 1": "→ 1", "nearer empty": "→ empty", "none": ""}


@dataclass(frozen=True)
class Metric:
    """One metric's name, label, meaning, unit and direction (`better`, a key of `ARROWS`)."""

    name: str
    label: str
    description: str = ""
    unit: str = ""
    better: str = "none"

    def __post_init__(self) -> None:
        if self.better not in ARROWS:
            raise ValueError(
                f"metric {self.name!r}: better is {self.better!r}, not one of {', '.join(ARROWS)}"
            )

    @property
    def arrow(self) -> str:
        """The direction as a sign, empty where there is none."""
        return ARROWS[self.better]

    @property
    def heading(self) -> str:
        """Label and arrow, for the head of a column."""
        return f"{self.label} {self.arrow}".strip()

    @property
    def direction(self) -> str:
        """The direction in words, empty where there is none."""
        return "" if self.better == "none" else f"{self.better} is better"

    def badness(self, value: float) -> float:
        """How far `value` is on the bad side: smaller is better.

        NaN without a value or a direction, and if the value that it should be near is in another row.
        """
        match self.better:
            case "lower":
                return value
            case "higher":
                return -value
            case "nearer 1":
                return abs(value - 1)
            case _:
                return math.nan


class Metrics(dict[str, Metric]):
    """Metrics by name, in the order given. A name that was not described has no direction."""

    def __missing__(self, name: str) -> Metric:
        return Metric(name, name.replace("_", " "))


def read_metrics(described: Sequence[Mapping[str, str]]) -> Metrics:
    """Metrics from mappings with `name` and, optionally, label, description, unit, better.

    Raises:
        ValueError: a mapping has no name, or a direction is unknown.
    """
    metrics = Metrics()
    for entry in described:
        if not entry.get("name"):
            raise ValueError(f"a metric was described without a name: {dict(entry)}")
        name = entry["name"]
        metrics[name] = Metric(
            name,
            entry.get("label") or name.replace("_", " "),
            entry.get("description", ""),
            entry.get("unit", ""),
            entry.get("better", "none"),
        )
    return metrics
