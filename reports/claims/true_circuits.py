"""The claim of Edge Pruning about compiled programs: it recovers the true circuits of two of them."""

import pandas as pd

from reports.claims.claim import Claim
from reports.claims.edges_needed import CLAIMANT
from reports.claims.verdict import Comparison, compare_share
from reports.parts.numbers import plural
from reports.recovery.fold import fold, runs_in_words

PROGRAMS = ("x_proportion", "reverse")
LISTS = {"published_exact": "the published list", "unaided_exact": "the edges proved necessary"}
"""C3: what a circuit is compared with, by the column that says whether it matches exactly."""
MORE_OFTEN_THAN_NOT = 0.5
"""C3: a share of method seeds. The paper shows one run of each program."""


def true_circuit_claims(recovery: pd.DataFrame | None) -> list[Claim]:
    """C3, judged twice: against the paper's lists, and against the edges proved necessary.

    Only Edge Pruning's runs with default options under zero ablation are judged. A seed counts if the circuit
    is exact under all CPU kernels that it ran with. Unscored runs keep the claim from holding.

    Args:
        recovery: the raw long table of recoveries; None if there is none.
    """
    if recovery is None or not LISTS.keys() <= set(recovery.columns):
        return []
    rows = fold(recovery).table
    rows = rows[(rows["label"] == CLAIMANT) & (rows["ablation"] == "zero") & rows["program"].isin(PROGRAMS)]
    if set(rows[rows["status"] == "ok"]["program"]) != set(PROGRAMS):
        return []
    return [_recovered(rows, column) for column in LISTS]


def _recovered(rows: pd.DataFrame, column: str) -> Claim:
    scored = rows[(rows["status"] == "ok") & rows[column].notna()]
    exact = (scored[column] == 1).groupby([scored["program"], scored["method_seed"]]).all()
    counts = {program: exact[exact.index.get_level_values(0) == program] for program in PROGRAMS}
    told = ", ".join(f"{int(c.sum())} of {plural(len(c), 'seed')} on {p}" for p, c in counts.items())
    unscored = len(rows) - len(scored)
    lost = f"; {plural(unscored, 'run')} unscored" if unscored else ""
    return Claim(
        "C3",
        f"Edge Pruning recovers the true circuits of x-proportion and reverse perfectly ({LISTS[column]})",
        "Bhaskar et al. 2024, figure 5",
        f"unaided, zero ablation, exactly {LISTS[column]}: {told} ({runs_in_words(rows)}){lost}",
        [
            *(compare_share(int(c.sum()), len(c), MORE_OFTEN_THAN_NOT) for c in counts.values()),
            *[Comparison()] * (unscored > 0),
        ],
        on_programs=True,
    )
