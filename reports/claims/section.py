"""What the runs say about the papers' claims, one row for each claim that they address."""

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
    "What the papers claim, and what was run. A claim holds if every comparison that it makes is shown "
    "by a one-sided test at 5 %, and is contradicted if the contrary of one of them is shown, at 5 % over "
    "all of them (Holm). It is not attainable if arithmetic alone rules it out, and undecided otherwise; the "
    "last column then gives the effect that these runs would detect with 80 % power. A claim about "
    "pretrained models is not tested on models that were trained for this benchmark. The bounds are: half "
    "of the edges (C1), a ratio of 1 (C2), more than half of the seeds exact (C3), slopes below 0.1 and "
    "above 0.5 (C4), a standard deviation of 10 % of the number of edges (C5), 93 % of the full model's "
    "accuracy (C7), complements within 0.1 of chance and nearer to it than those of random circuits, while "
    "the rivals' are not within 0.1 (C8), accuracies at most 0.1 above chance for half of the methods and "
    "tasks (C9). The unit is a run: seeds, or draws of random circuits."
)


def claims_section(table: pd.DataFrame, methods: Methods, recovery: pd.DataFrame | None) -> Section | None:
    """The claims that the runs address; None if there are none.

    If there are runs on pretrained models, these decide; otherwise those on our models are reported without
    a verdict.

    Args:
        table: the long leaderboard, tidy.
        methods: which methods compete.
        recovery: the raw long table of recoveries; None if there is none.
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
