"""What circuits lose on unseen prompts, as a section of a report."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.parts.content import Section
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import label_of_typed
from reports.parts.numbers import number

_WHERE = ("model", "ablation", "graph", "pruned", "behaviour", "method")


def fresh_section(gaps: Sequence[Mapping[str, Any]]) -> Section | None:
    """A row per method and behaviour, by the area over all sizes, or at its size if it has only one.

    Args:
        gaps: `fresh` as `circuitmark compare --fresh --json` prints it.
    """
    whole = {tuple(map(gap.get, _WHERE)) for gap in gaps if gap["size"] is None}
    shown = [gap for gap in gaps if gap["size"] is None or tuple(map(gap.get, _WHERE)) not in whole]
    if not shown:
        return None
    headings = (
        Heading("behaviour"),
        Heading("method"),
        Heading("fresh / public", meaning="KL left on fresh prompts over KL left on the public ones"),
        Heading("95 %", meaning="interval of this ratio"),
        Heading("left out", meaning="circuits that differ between the folders"),
    )
    over = ", ".join(sorted({gap["over"] for gap in shown}))
    meaning = (
        "The same circuits on fresh prompts of the same templates, compared with the public ones, on which a "
        f"method may have been tuned: above 1 where circuits do worse on the fresh ones. Intervals are over "
        f"{over}."
    )
    several = len({(gap["model"], gap["ablation"], gap["pruned"]) for gap in shown}) > 1
    grid = Grid(headings, tuple(_row(gap, several) for gap in shown), 2)
    return Section("Fresh prompts", "fresh", grid, (), meaning)


def _row(gap: Mapping[str, Any], several: bool) -> Row:
    method = label_of_typed(gap["method"])
    place = [gap["behaviour"], *([gap["model"], gap["ablation"], gap["pruned"]] if several else [])]
    ratio = math.nan if gap["gap"] is None else math.exp(gap["gap"])
    reach = f"not available: {gap['reason']}"
    if None not in (gap["low"], gap["high"]):
        reach = " to ".join(number(math.exp(gap[end])) for end in ("low", "high"))
    other = gap["other_circuits"]
    cells = (Cell(" · ".join(place)), Cell(method), Cell(number(ratio), order=ratio), Cell(reach))
    about = {"model": gap["model"], "ablation": gap["ablation"], "task": gap["behaviour"], "method": method}
    return Row((*cells, Cell(f"{other}", order=float(other))), about=about)
