"""The command `verify-tracr`: proves true circuits, and checks methods against them and expectations."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.engine.ablation import AblationName
from bench.errors import Interrupted, UsageError
from bench.names import MethodSpec, choose_method, get_program, unknown
from bench.truth.expectations import Expectations, name_of, read_expectations, write_expectations

if TYPE_CHECKING:
    from bench.runs.children import Limits

Row = dict[str, Any]
ABLATIONS: tuple[AblationName, ...] = ("zero", "resample")
QUICK = (
    "x_proportion", "reverse", "hist_so_far", "same_as_first", "relative_jump", "share_at_like_places",
    "distinct_so_far", "proportion_of_repeated", "square_less_index", "after_less_before", "detect_aba",
    "collatz", "eleven_jumps",
)  # fmt: skip
"""Programs of a quick run: the two of the Edge Pruning paper, and every fifth of all by number of edges.
What methods do on them played no part in the choice."""
SHAKES = 3
"""Runs on perturbed weights that a result must survive to become an expectation."""
LOST = 3
"""Exit code if everything is proved and nothing failed, but a recovery is lost."""


@dataclass(frozen=True)
class Verification:
    """The outcome of `verify`."""

    programs: Sequence[Row]
    """A row per program: edges, truth per ablation, the proof's error."""
    recovery: Sequence[Row]
    """A row per method, program and ablation (`recovery.recover`)."""
    unproved: Sequence[str]
    lost: Sequence[str]
    failed: Sequence[str]
    """One line each; the command fails if there are any."""

    @property
    def troubles(self) -> list[str]:
        """All of these lines, each with its kind."""
        named = {"not proved": self.unproved, "lost": self.lost, "failed": self.failed}
        return [f"{what}: {line}" for what, lines in named.items() for line in lines]

    @property
    def exit_code(self) -> int:
        """1 if a proof or a method failed, else `LOST` if a recovery is lost, else 0."""
        return 1 if self.unproved or self.failed else LOST if self.lost else 0

    def to_json(self) -> str:
        """The JSON that docs/programs.md describes; what is unscored is null."""
        from bench.truth.folds import judge

        names = ("method", "params", "program", "ablation", "method_seed", "kernels", "status", "auroc",
                 "average_precision", "tpr", "fpr", "f1", "unaided_exact", "exact_at_true_size",
                 "published_exact")  # fmt: skip
        recovery = [{name: row[name] for name in names} for row in self.recovery]
        told = {"programs": list(self.programs), "recovery": recovery, **judge(self.recovery)}
        return json.dumps(told, indent=2)


def verify(
    methods: Sequence[MethodSpec],
    programs: Sequence[str],
    ablations: Sequence[AblationName],
    out: Path,
    *,
    n: int = 1,
    method_seeds: int = 1,
    shakes: int = 0,
    expected: Expectations | None = None,
    limits: Limits | None = None,
) -> Verification:
    """Proves the truth of programs and runs methods on them.

    The truth is computed and proved every time; what a method found earlier with the same code is
    reused from `out`.

    Args:
        methods: each with its options.
        programs: as `get_program` reads them, with different names.
        ablations: `zero`, `resample` or both.
        out: the results folder.
        n: programs at a time.
        method_seeds: runs of a stochastic method on a program, with as many seeds.
        shakes: further runs of any other method, on perturbed weights.
        expected: recoveries that must not be lost; those of the shipped file if left out.
        limits: the limits that every method must keep on every program.

    Raises:
        UserError: a program cannot be compiled, a file or folder cannot be used, or the user stops it.
    """
    from bench.progress import ProgressDisplay
    from bench.runs.children import Limits, Stopped
    from bench.runs.executors import side_by_side

    expected = read_expectations() if expected is None else expected
    limits = limits or Limits()
    waiting = iter(programs)
    outcomes: dict[str, tuple[Row, list[Row]]] = {}
    try:
        with ProgressDisplay(len(programs), 0, "programs") as display:
            work = partial(
                verify_program, methods=methods, ablations=ablations, out=out, method_seeds=method_seeds,
                shakes=shakes, limits=limits, told=display.say,
            )  # fmt: skip
            for program, outcome in side_by_side(lambda: next(waiting, None), work, n, limits.stop):
                outcomes[program] = outcome
                display.ended(program, _line(outcome[0]))
    except (KeyboardInterrupt, Stopped) as error:
        raise Interrupted(
            "stopped; what methods found is kept: the same command resumes from there"
        ) from error
    about = [outcomes[program][0] for program in programs]
    found = [row for program in programs for row in outcomes[program][1]]
    unproved = [
        f"{entry['program']}: under {ablation} an output changes by {error:.3g}, "
        f"more than the tolerance {entry['tolerance']:.3g}"
        for entry in about
        for ablation, error in entry["proof_error"].items()
        if error is not None and not error <= entry["tolerance"]
    ]
    failed = [f"{name_of(row)}: {row['status_reason']}" for row in found if row["status"] == "failed"]
    return Verification(about, found, unproved, expected.lost(found), failed)


def verify_program(
    spec: str,
    methods: Sequence[MethodSpec],
    ablations: Sequence[AblationName],
    out: Path,
    method_seeds: int,
    shakes: int,
    limits: Limits,
    told: Callable[[str], None],
) -> tuple[Row, list[Row]]:
    """One program: its truth under each ablation, and each method's recoveries of it.

    Args:
        spec: the program, as `get_program` reads it.
        methods: each with its options.
        ablations: what removed edges carry.
        out: the results folder.
        method_seeds: seeds of a stochastic method.
        shakes: further runs of any other, on perturbed weights.
        limits: the limits that methods must keep.
        told: is called with what a user should know.

    Returns:
        A row about the program, and a row per recovery; those on perturbed weights are only stored.

    Raises:
        UserError: as `verify`.
    """
    from bench.engine.circuit import Circuit
    from bench.models.tracr import load_program
    from bench.runs.spent import spending
    from bench.truth.prove import prove_apart
    from bench.truth.recovery import FIRST_SEED, recover

    program = get_program(spec)
    with spending("compiling"):
        model = load_program(program)
    graph = model.masked.graph
    entry: Row = {
        "program": program.name,
        "edges": graph.n_edges,
        "structural": list(Circuit(graph, model.structural)),
        "zero": None,
        "resample": None,
        "redundant": False,
        "proof_error": {"zero": None, "resample": None},
        "is_minimal": {"zero": None, "resample": None},
        "minimal": {"zero": None, "resample": None},
        "tolerance": model.compiled.tolerance,
        "data": model.compiled.data_hash,
        "published": {where: list(edges) for where, edges in program.published.items()},
    }
    found = []
    for ablation, truth in prove_apart(model, spec, ablations, limits).items():
        entry[ablation] = list(Circuit(graph, truth.circuits[0]))
        entry["redundant"] |= truth.redundant
        entry["proof_error"][ablation] = truth.error
        entry["is_minimal"][ablation] = truth.is_minimal
        if truth.minimal:
            entry["minimal"][ablation] = {
                f"{share:g}": [list(Circuit(graph, kept)) for kept in circuits]
                for share, circuits in truth.minimal.items()
            }
        for method in methods:
            recovery = partial(
                recover, model, truth, ablation, method, out, spec=spec, limits=limits, told=told
            )
            for seed in range(FIRST_SEED, FIRST_SEED + (method_seeds if method.stochastic else 1)):
                found.append(recovery(seed=seed))
            for seed in range(0 if method.stochastic else shakes):
                recovery(seed=seed, shaken=True)
    return entry, found


def _line(entry: Row) -> str:
    """The outcome of a program's proof."""
    parts = [f"{len(entry['structural'])} structural edges"]
    for ablation, error in entry["proof_error"].items():
        if error is not None:
            proved = "proved" if error <= entry["tolerance"] else "NOT PROVED"
            if entry["is_minimal"][ablation] is False:
                proved += ", fewer suffice"
            parts.append(f"{ablation} {len(entry[ablation])} {proved}")
    redundant = " (redundant)" if entry["redundant"] else ""
    return f"{entry['program']}{redundant}: {', '.join(parts)}"


def verify_named(
    methods: Sequence[str] | None,
    programs: Sequence[str] | None,
    ablation: str | None,
    out: Path,
    *,
    n: int,
    method_seeds: int = 1,
    quick: bool = False,
    expect: bool = False,
) -> Verification:
    """`verify` for names as typed.

    Args:
        methods: as `get_method` reads them; None for all of ours.
        programs: as `get_program` reads them; None for all of ours, or for those of `QUICK`.
        ablation: `zero` or `resample`; None for both.
        out: the results folder.
        n: programs at a time.
        method_seeds: runs of a stochastic method on a program.
        quick: takes the programs of `QUICK`.
        expect: makes everything stored in `out`, from whatever machine, the expectation, unless a proof
            fails; nothing counts as lost.

    Raises:
        UserError: a name is wrong, a file in `out` is damaged or of an older version, or as `verify`.
    """
    from bench.store.recoveries import rows
    from bench.store.results import Store
    from methods.base import find_methods
    from tracr_ground_truth import find_programs

    if ablation not in (None, *ABLATIONS):
        raise unknown("ablation", str(ablation), ABLATIONS)
    shipped, missing = find_programs()
    if programs is None and missing:
        raise UsageError(f"no program can be verified: {next(iter(missing.values()))}")
    chosen = [choose_method(text) for text in dict.fromkeys(methods or find_methods()[0])]
    if quick and programs:
        raise UsageError("--quick chooses the programs itself: leave out -p or --quick")
    wanted = list(dict.fromkeys(programs or (QUICK if quick else shipped)))
    names: dict[str, str] = {}
    for spec in wanted:
        twin = names.setdefault(get_program(spec).name, spec)
        if twin != spec:
            raise UsageError(f"'{twin}' and '{spec}' are programs of the same name: rename one")
    rows(out)  # stored recoveries must be readable, before hours are spent
    Store(out).shown()  # and so must runs, since the report shows both
    shakes, expected = (SHAKES, Expectations()) if expect else (0, None)
    outcome = verify(
        chosen, wanted, (ablation,) if ablation else ABLATIONS, out,
        n=n, method_seeds=method_seeds, shakes=shakes, expected=expected,
    )  # fmt: skip
    if expect and not outcome.unproved:
        write_expectations([*rows(out), *rows(out, shaken=True)], shipped)
    return outcome
