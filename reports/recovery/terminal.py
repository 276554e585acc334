"""Recovery of true circuits as tables for the terminal: programs by methods, one table per ablation."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd
from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from reports.parts.metric import Metrics, read_metrics
from reports.parts.numbers import DASH, number, plural
from reports.recovery.fold import EXACT, RANKED, UNAIDED, Recoveries, Recovery, fold
from reports.recovery.folds import Told, fold_table
from reports.recovery.grids import troubles
from reports.recovery.methods import (
    extremes_text,
    heading_text,
    ordered,
    runs_note,
    summarise,
    summary_text,
)
from reports.recovery.programs import TICK, exact_runs, recovery_text, truth_notes

_FOOT = (*UNAIDED, *RANKED)


def recovery_terminal(
    table: pd.DataFrame, metrics: Sequence[Mapping[str, str]], folds: Sequence[Told] = ()
) -> Group:
    """Each method's unaided f1 on each program, ticked where exact in every run; means below; what failed.

    Designed for 120 columns.

    Args:
        table: of recoveries.
        metrics: describe its columns.
        folds: as `circuitmark verify-tracr --json` prints them.

    Raises:
        ValueError: as `recovery_grids`.
    """
    known, folded = read_metrics(metrics), fold(table)
    tables = [_table(folded, ablation, known) for ablation in folded.ablations]
    held_out = [fold_table(folds)] if folds else []
    texts = [Text(note) for note in (runs_note(folded), *truth_notes(folded)) if note]
    return Group(*tables, *held_out, *texts, *_failures(folded))


def _table(folded: Recoveries, ablation: str, metrics: Metrics) -> Table:
    exact, score = UNAIDED[:2]
    labels = ordered(folded, UNAIDED, metrics)
    view = Table(
        title=escape(f"{ablation} ablation: {metrics[score].heading} of the unaided circuit"),
        caption=escape(f"{TICK} {metrics[exact].label.lower()}   {DASH} unscored"),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    view.add_column("program", no_wrap=True)
    view.add_column("true\nedges", justify="right")
    for label in labels:
        heading = _folded(label, max(8, 84 // len(labels) - 3))
        view.add_column(escape(heading), justify="right", overflow="fold")
    for program in folded.programs:
        true = number(folded.of_program(program, ablation, "n_true"), whole=True)
        cells = [folded.cell(label, program, ablation) for label in labels]
        view.add_row(escape(program), true, *map(_shown, cells))
    view.add_section()
    for name in _FOOT:
        found = [summarise(folded, label, ablation, name) for label in labels]
        texts = [summary_text(summary, name) for summary in found]
        view.add_row(escape(heading_text(metrics[name])), "", *texts)
        if any(summary.extremes for summary in found):
            view.add_row("  fewest to most", "", *map(extremes_text, found))
        if name in EXACT:
            view.add_row("  unscored", "", *(f"{s.unscored}" if s.unscored else "" for s in found))
    return view


def _shown(recovery: Recovery) -> str:
    """Exact recoveries are bold; a job that did not end well is red."""
    text = f"{recovery_text(recovery, UNAIDED[:2])} {exact_runs(recovery, UNAIDED[:2])}".rstrip()
    style = "bold" if text.startswith(TICK) else "" if recovery.is_told else "red"
    return f"[{style}]{escape(text)}[/{style}]" if style else escape(text)


def _folded(label: str, width: int) -> str:
    """A label in lines of at most `width` where it can be broken: after a space, `_`, `,` or `=`."""
    lines = [""]
    for part in re.findall(r"[^ _,=]*[ _,=]*", label):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def _failures(folded: Recoveries) -> list[Text]:
    """A line per method, ablation, status and reason: no failure goes unreported."""
    grid = troubles(folded)
    lines = []
    for row in grid.rows if grid else ():
        status, label, ablation, programs, reason = (cell.text for cell in row.cells)
        count = plural(programs.count(", ") + 1, "program")
        lines.append(Text(f"{status}: {label}, {ablation}, {count} ({programs}): {reason}"))
    return lines
