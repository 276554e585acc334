"""One claim of a paper: what it says, what was run, and the comparisons that judge it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.claims.verdict import Comparison, Verdict, judge
from reports.parts.numbers import number, plural


@dataclass(frozen=True)
class Claim:
    """A claim with the evidence for and against it."""

    name: str
    text: str
    source: str
    ran: str
    """What was run, and the results in numbers."""
    comparisons: Sequence[Comparison]
    needed: int | None = None
    """How many comparisons must support the claim; None: all."""
    on_programs: bool = False
    """Whether it is about compiled programs, so that testing it needs no pretrained model."""

    def verdict(self, pretrained: bool) -> Verdict:
        """The verdict, from runs on pretrained models or on ours."""
        return judge(self.comparisons, self.needed) if pretrained or self.on_programs else "not tested"

    def seen(self) -> str:
        """What the runs would detect with 80 % power; what was not tested, and what is not attainable."""
        parts = []
        for visible in dict.fromkeys(c.visible for c in self.comparisons if math.isfinite(c.seen)):
            values = [c.seen for c in self.comparisons if c.visible == visible and math.isfinite(c.seen)]
            parts.append(visible.format(span(values)))
        if blind := sum(math.isinf(c.seen) for c in self.comparisons):
            parts.append(f"{blind} of {plural(len(self.comparisons), 'comparison')} too imprecise to show it")
        if untested := sum(math.isnan(c.p_for) and not c.impossible for c in self.comparisons):
            parts.append(f"{untested} of {plural(len(self.comparisons), 'comparison')} without a test")
        return "; ".join([*parts, *dict.fromkeys(c.impossible for c in self.comparisons if c.impossible)])


def span(values: Sequence[float]) -> str:
    """The smallest and the largest of some values, `0.350 to 0.410`, or one if both print alike."""
    return " to ".join(dict.fromkeys(map(number, (min(values), max(values)))))
