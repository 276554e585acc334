"""What becomes of the papers' claims on what was run, one row per claim that the runs can tell of."""

import pandas as pd

from reports.claims.claim import Claim
from reports.claims.discogp import discogp_claims
from reports.claims.edge_pruning import edge_pruning_claims
from reports.claims.place import of_all_wordings
from reports.claims.true_circuits import true_circuit_claims
from reports.claims.verdict import is_pretrained
from reports.leaderboard.entries import as_asked
from reports.parts.content import Section
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import Methods

MEANING = (
    "Claims of the papers beside what was run. A claim holds where every comparison that it makes is "
    "shown by a one-sided test of 5 %, and is contradicted where the contrary of one is (Holm). It is not "
    "attainable where arithmetic alone keeps anybody from meeting it, and undecided otherwise: then the "
    "last column tells what these runs would have found four times of five. A claim about pretrained "
    "models is not tested on models that were trained for this benchmark. The bounds: half of the edges "
    "(C1), a ratio of 1 (C2), more than half of the seeds exact (C3), slopes below 0.1 and above 0.5 "
    "(C4), a standard deviation of 10 % (C5), 93 % of the accuracy (C7), 0.1 from chance and nearer than "
    "random circuits' complements (C8), no more than 0.1 above chance for half of the methods and tasks "
    "(C9). Runs are the unit: seeds, or draws."
)


def claims_section(table: pd.DataFrame, methods: Methods, recovery: pd.DataFrame | None) -> Section | None:
    """The claims that the runs can tell of; None where there are none.

    Runs on pretrained models decide where there are any; else those on ours are told, without a verdict.

    Args:
        table: the long leaderboard, tidy.
        methods: which methods compete.
        recovery: the long table of recoveries, as it came; None where there is none.
    """
    table = of_all_wordings(as_asked(table))
    pretrained = is_pretrained(table)
    decides = bool(pretrained.any())
    about = table[pretrained] if decides else table
    found = [
        *edge_pruning_claims(about, methods),
        *true_circuit_claims(recovery),
        *discogp_claims(about, methods),
    ]
    claims = sorted((claim for claim in found if claim is not None), key=lambda claim: claim.name)
    rows = tuple(_row(claim, decides) for claim in claims)
    words = ("claim", "what was claimed", "what was run", "verdict", "what could have been seen")
    return (
        Section("Claims", "claims", Grid(tuple(map(Heading, words)), rows, 5), (), MEANING) if rows else None
    )


def _row(claim: Claim, decides: bool) -> Row:
    text = f"{claim.text} ({claim.source})"
    return Row(tuple(map(Cell, (claim.name, text, claim.ran, claim.verdict(decides), claim.seen()))))
