"""Program by program: what each method scored, and a tick where it recovered the true circuit exactly."""

import math
from collections.abc import Sequence

from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.metric import Metrics
from reports.parts.numbers import DASH, number, plural
from reports.recovery.fold import EXACT, Recoveries, Recovery
from reports.recovery.methods import ordered, runs_note

TICK = "✓"


def recovery_text(recovery: Recovery, names: Sequence[str]) -> str:
    """`✓ 1.00`, `0.93 / 0.80`: two digits of each of `names`, ticked where every run is exact.

    Where the job did not end ok, how it ended.
    """
    if not recovery.is_told:
        return recovery.status
    if all(math.isnan(recovery.value(name)) for name in names):
        return DASH
    text = " / ".join(_digits(recovery.value(name)) for name in names if name not in EXACT)
    return f"{TICK} {text}" if any(recovery.is_exact(name) for name in names if name in EXACT) else text


def exact_runs(recovery: Recovery, names: Sequence[str]) -> str:
    """`5/8`: how many of the runs scored are exact, where some are and not all runs."""
    shares = [(recovery.value(name), recovery.scored[name]) for name in names
              if name in EXACT and recovery.value(name) > 0 and not recovery.is_exact(name)]  # fmt: skip
    return " ".join(f"{round(share * scored)}/{scored}" for share, scored in shares)


def _digits(value: float) -> str:
    """Two decimals; values below 1 are not rounded up to it."""
    return DASH if math.isnan(value) else ">0.99" if 0.995 <= value < 1 else f"{value:.2f}"


def program_grid(folded: Recoveries, names: Sequence[str], metrics: Metrics) -> Grid:
    """Programs by ablation and method: values, and a tick or a share where runs are exact.

    Args:
        folded: the table.
        names: columns: values shown, and one of `EXACT` for the tick.
        metrics: by name; they say which way is better.
    """
    values = [name for name in names if name not in EXACT]
    columns = [(a, label) for a in folded.ablations for label in ordered(folded, names, metrics)]
    rows, unscored, some = [], 0, False
    for program in folded.programs:
        cells = [Cell(program, marks(folded, program, folded.ablations))]
        cells += [_size(folded, program, name) for name in ("n_true", "n_edges")]
        for ablation, label in columns:
            recovery = folded.cell(label, program, ablation)
            order = metrics[values[0]].badness(recovery.value(values[0]))
            beside = exact_runs(recovery, names)
            some |= bool(beside)
            cells.append(Cell(recovery_text(recovery, names), beside, order=order))
            unscored += all(math.isnan(recovery.value(name)) for name in names)
        rows.append(Row(tuple(cells)))
    shown = " / ".join(metrics[name].heading for name in values)
    ticks = ", ".join(metrics[name].label.lower() for name in names if name in EXACT)
    notes = [f"{shown}. {TICK}: {ticks}."]
    if note := runs_note(folded):
        notes.append(f"{note} Values are means over the runs, and {TICK} means every run.")
    if some:
        notes.append("5/8: exact in 5 of the 8 runs that were scored.")
    if unscored:
        notes.append(f"{plural(unscored, 'cell')} unscored: {DASH}, or how the job ended.")
    notes += truth_notes(folded)
    headings = [Heading("program"), Heading("true edges", meaning="edges of the true circuit")]
    headings += [Heading("edges", meaning="edges of the graph")]
    headings += [Heading(label, ablation, shown) for ablation, label in columns]
    return Grid(tuple(headings), tuple(rows), 1, tuple(notes))


def marks(folded: Recoveries, program: str, ablations: Sequence[str]) -> str:
    """`redundant, fewer suffice under zero`: what a reader must know about a program's truth.

    Args:
        folded: the table.
        program: its name.
        ablations: those shown; a mark that holds under all of them names none.
    """
    rows = folded.table[folded.table["program"] == program]
    found = []
    for column, mark in (("redundant", "redundant"), ("fewer", "fewer suffice"), ("unknown", "not searched")):
        where = [a for a in ablations if rows.loc[rows["ablation"] == a, column].any()]
        if where:
            found.append(mark if len(where) == len(ablations) else f"{mark} under {', '.join(where)}")
    return ", ".join(found)


def truth_notes(folded: Recoveries) -> list[str]:
    """What the marks mean, and how often each occurs."""
    truths = folded.table.drop_duplicates(["program", "ablation"])
    counts = {column: int(truths[column].sum()) for column in ("redundant", "fewer", "unknown")}
    meanings = {
        "redundant": "Redundant: more than one circuit is true; the one that fits best counts.",
        "fewer": f"Fewer suffice ({plural(counts['fewer'], 'truth')}): a proper subset of the edges that are "
        "each necessary in the whole model suffices. Both are right, and the one that fits best counts.",
        "unknown": f"Not searched ({plural(counts['unknown'], 'truth')}): there are too many sets of edges "
        "to try, so whether fewer suffice is unscored, and only the necessary edges are right.",
    }
    return [meaning for column, meaning in meanings.items() if counts[column]]


def _size(folded: Recoveries, program: str, name: str) -> Cell:
    """A number of edges, or one for each ablation where they differ."""
    values = [folded.of_program(program, ablation, name) for ablation in folded.ablations]
    texts = [number(value, whole=True) for value in values]
    return Cell(texts[0] if len(set(texts)) == 1 else " / ".join(texts), order=values[0])
