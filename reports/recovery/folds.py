"""Methods on held-out programs, not used to choose their setting: how many each recovers, and which more."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import label_of
from reports.parts.numbers import DASH, number
from reports.recovery.methods import acdc_notes

Told = Mapping[str, Any]
MEANING = (
    "Held out: programs are split into two folds, with variants of one program in the same fold. On each "
    "fold a method uses the setting that was exact on most programs of the other fold: its own circuit, or a "
    "score threshold, absolute (score) or relative to the largest score (share). Exact means in every run. "
    "In brackets, the 95 % interval of the share (Wilson): what other programs like these would give."
)
COMPARED = (
    "Each pair of methods on the same programs, held out: on how many only a was exact, and on how many only "
    "b; McNemar's exact test of these counts, with Holm's adjustment over all pairs under an ablation."
)


def fold_grid(folds: Sequence[Told]) -> Grid:
    """A row per method: programs recovered by its own circuit, and with the setting chosen on the other fold.

    Args:
        folds: as `circuitmark verify-tracr --json` prints them.
    """
    rows = [
        Row((Cell(told["ablation"]), Cell(_label(told)), _count(told, "own"), _count(told, "held_out"),
             *(Cell(setting or DASH) for setting in told["settings"])))
        for told in _ordered(folds)
    ]  # fmt: skip
    headings = (
        Heading("ablation"), Heading("method"),
        Heading("own circuit: exact", meaning="programs on which the method's own circuit is exact"),
        Heading("held out: exact", meaning="the same with the setting chosen on the other fold"),
        Heading("setting on fold 0", meaning="chosen on fold 1"),
        Heading("setting on fold 1", meaning="chosen on fold 0"),
    )  # fmt: skip
    notes = (MEANING, *acdc_notes(told["method"] for told in folds))
    return Grid(headings, tuple(rows), 2, notes)


def pair_grid(pairs: Sequence[Told]) -> Grid:
    """A row per pair of methods and ablation.

    Args:
        pairs: as `circuitmark verify-tracr --json` prints them, under `compared`.
    """
    rows = []
    for pair in pairs:
        sides = [label_of(pair[side], pair[f"{side}_params"]) for side in ("a", "b")]
        clear = pair["p_holm"] < 0.05
        alone = [pair["a_alone"], pair["b_alone"]]
        cells = [Cell(side, best=clear and ahead) for side, ahead in
                 zip(sides, (alone[0] > alone[1], alone[1] > alone[0]), strict=True)]  # fmt: skip
        counts = [Cell(f"{count}", order=-count) for count in (*alone, pair["programs"])]
        ps = [Cell(number(pair[name]), order=pair[name]) for name in ("p", "p_holm")]
        rows.append(Row((Cell(pair["ablation"]), *cells, *counts, *ps)))
    texts = ("ablation", "a", "b", "a alone", "b alone", "programs", "p", "p (Holm)")
    return Grid(tuple(map(Heading, texts)), tuple(rows), 3, (COMPARED,))


def fold_table(folds: Sequence[Told]) -> Table:
    """`fold_grid` for the terminal.

    Args:
        folds: as for `fold_grid`.
    """
    grid = fold_grid(folds)
    view = Table(title="exact, and held out (with the setting chosen on the other fold)", box=box.SIMPLE_HEAD,
                 caption=escape(" ".join(grid.notes)), pad_edge=False)  # fmt: skip
    for i, heading in enumerate(grid.headings):
        view.add_column(heading.text, justify="left" if i < grid.names else "right", overflow="fold")
    for row in grid.rows:
        view.add_row(*(escape(f"{cell.text} {cell.beside}".rstrip()) for cell in row.cells))
    return view


def _ordered(folds: Iterable[Told]) -> list[Told]:
    """The best first, under each ablation."""
    return sorted(folds, key=lambda t: (t["ablation"], -(t["held_out"] or 0), -(t["own"] or 0), _label(t)))


def _label(told: Told) -> str:
    return label_of(told["method"], told["params"])


def _count(told: Told, name: str) -> Cell:
    """`31 / 57`, with its interval in per cent beside it."""
    if told[name] is None:
        return Cell(DASH, order=math.nan)
    low, high = (100 * told[f"{name}_{end}"] for end in ("low", "high"))
    return Cell(
        f"{told[name]} / {told[f'{name}_programs']}", f"({low:.0f} to {high:.0f} %)", order=-told[name]
    )
