"""What a report says about its runs: what is shown, which failed, where they were measured."""

from collections.abc import Iterable, Sequence

import pandas as pd

from reports.leaderboard.entries import REFERENCES
from reports.parts.grid import Cell, Grid, Heading, Row
from reports.parts.methods import label_of
from reports.parts.numbers import DASH, plural

_SHOWN = {
    "model": "Model",
    "ablation": "ablation",
    "graph": "graph",
    "data_seed": "seed",
    "objective": "objective",
}
_PROVENANCE = ("version", "versions", "commit", "dirty", "dtype", "hardware", "threads", "jobs")
_MACHINE = ("hardware", "threads", "jobs")
_JOB = (
    "model", "task", "method", "params", "data_seed", "method_seed", "ablation", "status", "status_reason",
)  # fmt: skip


def distinct(table: pd.DataFrame, name: str) -> list[str]:
    """The different values of a column as sorted text, missing ones left out; none without the column."""
    if name not in table.columns:
        return []
    values = sorted(table[name].dropna().unique())
    return [text for value in values if (text := _text(value))]


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe(table: pd.DataFrame) -> str:
    """One short paragraph: which model, ablation, graph, seeds and objective, and how to read a value."""
    table = table[table["status"] == "ok"]
    methods = table[~table["method"].isin(REFERENCES)]
    facts = []
    for column, word in _SHOWN.items():
        values = distinct(methods if len(methods) else table, column)
        if values:
            facts.append(f"{word}{'s' if len(values) > 1 else ''} {', '.join(values)}")
    if {"ablation", "discovery_ablation"} <= set(methods.columns):
        elsewhere = distinct(
            methods[methods["discovery_ablation"] != methods["ablation"]], "discovery_ablation"
        )
        facts += [f"some circuits discovered under {', '.join(elsewhere)}"] if elsewhere else []
    parts = [
        "; ".join(facts) + ".",
        f"{_count(methods, 'method')} on {_count(table, 'task')}.",
        _brackets(table),
        "The best value at each size is bold.",
    ]
    if any(len(distinct(methods, name)) > 1 for name in ("data_seed", "method_seed")):
        parts.append("Values are means over seeds, ± their sample standard deviation where seeds differ.")
    return " ".join(parts)


def _brackets(table: pd.DataFrame) -> str:
    """What the intervals in a report's tables are over."""
    if "recovered" not in table.columns:
        return "Brackets hold the bootstrap interval over examples."
    told = []
    if distinct(table, "recovered_low"):
        told.append("for single runs, over these prompts (other prompts of the same templates)")
    if distinct(table, "recovered_new_low"):
        told.append("for new templates, over templates that no method saw")
    if distinct(table, "recovered_seeds_low"):
        told.append("for several runs, over new data seeds as well, about the typical seed and template")
    if distinct(table, "complement_loss_margin_low"):
        told.append("for the margin, over the random circuits drawn")
    parts = [f"Brackets hold 95 % intervals: {'; '.join(told)}."] if told else []
    several = table[table["data_seeds"] > 1] if "data_seeds" in table.columns else table.iloc[:0]
    if not (distinct(table, "recovered_low") or distinct(table, "recovered_new_low")):
        parts.append(
            f"Recovered has no interval{_why(table, 'these_prompts')}, so no method can be called ahead."
        )
    elif len(several) and not distinct(table, "recovered_seeds_low"):
        parts.append(f"Means over data seeds have no interval{_why(several, 'over_seeds')}.")
    return " ".join(parts)


def _why(table: pd.DataFrame, name: str) -> str:
    """The reasons in a column, in brackets after a space; nothing if it has none."""
    reasons = "; ".join(distinct(table, name))
    return f" ({reasons})" if reasons else ""


def _count(table: pd.DataFrame, name: str) -> str:
    return plural(len(distinct(table, name)), name)


def warnings(table: pd.DataFrame) -> list[str]:
    """Sentences a reader needs before comparing: on seconds from different machines, repeated rows, circuits
    with more edges than requested, prompts that occur twice.
    """
    found = []
    mixed = [name for name in _MACHINE if len(distinct(table, name)) > 1]
    if mixed:
        found.append(f"Seconds are not comparable throughout: runs differ in {' and '.join(mixed)}.")
    key = ["model", "graph", "ablation", "task", "method", "params", "data_seed", "method_seed"]
    key.append("size_requested")
    ok = table[table["status"] == "ok"]
    if repeated := int(ok.duplicated([name for name in key if name in ok.columns]).sum()):
        found.append(f"Rows that repeat a model, task, method, seed and size were averaged: {repeated:,}.")
    if larger := sorted(set(map(label_of, *_oversize(ok)))):
        found.append(
            f"Circuits of {', '.join(larger)} have more edges than requested: they are shown, but left "
            "out of rankings, claims and spreads."
        )
    return [*found, *_repeats(ok), *_shares(ok)]


def _oversize(ok: pd.DataFrame) -> tuple[Iterable[str], Iterable[str]]:
    """Methods and parameters of the rows whose circuits are larger than requested."""
    rows = ok[ok["oversize"] > 0] if "oversize" in ok.columns else ok.iloc[:0]
    return rows["method"], rows["params"]


def _repeats(ok: pd.DataFrame) -> list[str]:
    """A sentence per model and task whose evaluation prompts are not all different."""
    if not {"repeated_prompts", "n_evaluation"} <= set(ok.columns):
        return []
    prompts = ok["n_evaluation"]
    if "evaluation_prompts" in ok.columns:  # an older version stored 0
        prompts = ok["evaluation_prompts"].where(ok["evaluation_prompts"] > 0, prompts)
    counted = ok[["model", "task", "repeated_prompts"]].assign(prompts=prompts)
    most = counted.groupby(["model", "task"])[["repeated_prompts", "prompts"]].max()
    return [
        f"{task} on {model}: {repeated:.0f} of {of:.0f} evaluation prompts repeat an earlier one, so "
        "intervals are too narrow."
        for (model, task), repeated, of in most.itertuples()
        if repeated > 0
    ]


def _shares(ok: pd.DataFrame) -> list[str]:
    """A sentence per model and task if two data seeds share prompts."""
    if not {"shared_prompts", "n_discovery"} <= set(ok.columns):
        return []
    most = ok.groupby(["model", "task", "n_discovery"])[["shared_prompts"]].max()
    return [
        f"{task} on {model}: up to {shared:.0f} of {asked:.0f} discovery prompts are also in the set of "
        "another data seed, so intervals over data seeds are too narrow."
        for (model, task, asked), shared in most.itertuples()
        if shared > 0
    ]


def troubles(table: pd.DataFrame) -> Grid | None:
    """Jobs that failed, were skipped or declined, with the reason, and jobs with a note; None if none."""
    names = [name for name in _JOB if name in table.columns]
    if "notes" in table.columns:
        noted = table["notes"].notna() & (table["notes"] != "") & (table["status"] == "ok")
        table = table.assign(status_reason=table["status_reason"].where(~noted, table["notes"]))
        table = table[noted | (table["status"] != "ok")]
    else:
        table = table[table["status"] != "ok"]
    jobs = table[names].drop_duplicates()
    if jobs.empty:
        return None
    rows = (
        Row(tuple(Cell(DASH if pd.isna(v) or v == "" else _text(v)) for v in job)) for job in jobs.to_numpy()
    )
    return Grid(
        tuple(Heading(name.replace("status_reason", "reason")) for name in names), tuple(rows), len(names)
    )


def job_counts(table: pd.DataFrame) -> str:
    """`12 jobs ok, 1 failed`: jobs by status, a job being one method with one seed on one task.

    The full and the empty circuit and the mask of ones are rows, but not jobs.
    """
    jobs = table[~table["method"].isin(REFERENCES)][
        [name for name in _JOB if name in table.columns and name != "status_reason"]
    ].drop_duplicates()
    counts = jobs["status"].value_counts()
    ok = int(counts.get("ok", 0))
    others = [f"{int(counts[status])} {status}" for status in sorted(counts.index) if status != "ok"]
    return ", ".join([f"{plural(ok, 'job')} ok", *others])


def provenance(table: pd.DataFrame) -> Sequence[tuple[str, str]]:
    """Where and with what the runs were made: (name, values) of the columns present."""
    return [(name, "; ".join(values)) for name in _PROVENANCE if (values := distinct(table, name))]
