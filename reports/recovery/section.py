"""From the table of recoveries to the section on true circuits: its words, tables and drawings."""

import re
from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from reports.circuits.drawing import counts, draw_circuits
from reports.leaderboard import summary
from reports.parts.circuit import CircuitPair
from reports.parts.content import Drawing, RecoverySection, Section
from reports.parts.methods import Methods
from reports.parts.metric import Metrics, read_metrics
from reports.parts.numbers import plural
from reports.recovery.folds import Told, fold_grid, pair_grid
from reports.recovery.grids import recovery_grids

TITLE = "True circuits (Tracr)"

_TRUTH = (
    "Tracr compiles programs into transformers, so their true circuit can be proved by intervention. "
    "An edge belongs to it if it is necessary: ablating that edge alone changes some output. The proof "
    "then ablates everything outside the circuit together, and no output changes. So each ablation has its "
    "own truth. Necessary does not imply minimal: once other edges are removed, some may be idle. A circuit "
    "is right if it is the necessary edges (where these suffice) or any minimal sufficient set: one that "
    "suffices and has no proper subset that does."
)
_FOUND = (
    "Unaided judges the circuit that a method settles on by itself, with one setting for all programs and no "
    "size given. Ranked judges its scores of edges, at every threshold. Exact at the true size judges the "
    "circuit that the scores would give if an oracle supplied the size, which is unknown for a model that "
    "was not compiled."
)


def build_recovery(
    table: pd.DataFrame,
    described: Sequence[Mapping[str, str]],
    methods: Methods,
    pairs: Sequence[CircuitPair],
    judged: Mapping[str, Sequence[Told]],
) -> RecoverySection:
    """The section's content.

    Args:
        table: the long table of recoveries, as `recovery_grids` takes it.
        described: what its columns mean.
        methods: names the random baseline.
        pairs: the circuits drawn.
        judged: `folds` and `compared`, as `circuitmark verify-tracr --json` prints them.

    Raises:
        ValueError: as `recovery_grids`.
    """
    grids, metrics = recovery_grids(table, described, methods), read_metrics(described)
    further = []
    if judged.get("folds"):
        further.append(Section("Held out", "held-out", fold_grid(judged["folds"])))
    if judged.get("compared"):
        further.append(Section("Methods compared", "methods-compared", pair_grid(judged["compared"])))
    used = Metrics({name: metric for name, metric in metrics.items() if name in table.columns})
    return RecoverySection(
        summary=_describe(table),
        meaning=(_TRUTH, _FOUND),
        headlines=(
            Section("Unaided", "unaided", grids.unaided),
            Section("Ranked", "ranked", grids.ranked),
            *further,
        ),
        details=(
            Section("Unaided, program by program", "unaided-programs", grids.unaided_by_program),
            Section("Ranked, program by program", "ranked-programs", grids.ranked_by_program),
        ),
        troubles=Section("What did not end well", "troubles", grids.troubles) if grids.troubles else None,
        pairs=_stems(pairs),
        metrics=used,
        provenance=summary.provenance(table),
    )


def pair_meaning(pair: CircuitPair) -> str:
    """What a drawing shows, in words: `hist, zero ablation, eap: 5 of 7 found, 2 false`."""
    return f"{pair.program}, {pair.ablation} ablation, {pair.method}: {counts(pair.truth, pair.found)}"


def draw_pair(stem: str, pair: CircuitPair) -> Drawing:
    """The true circuit and the method's side by side."""
    title = f"{pair.program}, {pair.ablation} ablation"
    figure = partial(draw_circuits, pair.truth, {pair.method: pair.found}, title)
    return Drawing(stem, figure, pair_meaning(pair))


def _describe(table: pd.DataFrame) -> str:
    methods = [name for name in summary.distinct(table, "method") if name]
    ablations = ", ".join(summary.distinct(table, "ablation"))
    statuses = table["status"].value_counts() if "status" in table.columns else {"ok": len(table)}
    others = "".join(f", {int(statuses[s])} {s}" for s in sorted(statuses.keys()) if s != "ok")
    return (
        f"{plural(len(methods), 'method')} on {plural(len(summary.distinct(table, 'program')), 'program')}; "
        f"ablation {ablations}; {plural(int(statuses.get('ok', 0)), 'run')} ok{others}."
    )


def _stems(pairs: Sequence[CircuitPair]) -> dict[str, CircuitPair]:
    """Pairs by `program-ablation-method`, made safe for file names; equal ones are numbered."""
    stems: dict[str, CircuitPair] = {}
    taken: set[str] = set()
    for pair in pairs:
        parts = (
            re.sub(r"[^\w.]+", "-", part).strip("-.") for part in (pair.program, pair.ablation, pair.method)
        )
        stem = plain = "-".join(filter(None, parts))
        number = 2
        while stem.casefold() in taken:  # some file systems ignore case
            stem, number = f"{plain}-{number}", number + 1
        taken.add(stem.casefold())
        stems[stem] = pair
    return stems
