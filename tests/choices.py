"""The log of choices: what each setting of a method leaves on validation prompts, and what it costs.

    python tests/choices.py RESULTS docs/results/tuning/resample.csv

writes the log from a results folder of a configuration in `configs/tuning/`, and prints the table of
`docs/results/tuning/tuning.md`. The rule chooses the setting of least log_gap, over tasks and sizes, among
those that cost at most `DEARER` times what the default costs; the default, where that is not beaten by more
than `NOTICEABLE`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from bench.errors import UserError
from bench.scoring.leaderboard import leaderboard
from bench.store.results import Store

DEARER = 1.5
"""Times the CPU seconds of the default."""
NOTICEABLE = 0.05
"""Nats of log_gap: 5 % of what is left of the empty circuit's KL, which one data seed hardly tells."""
COLUMNS = ["method", "params", "task", "log_gap", "cpu_seconds"]


def log_of(table: pd.DataFrame) -> pd.DataFrame:
    """A row per setting and task: log_gap, mean over sizes, and the CPU seconds of its discovery.

    A setting that failed on a task has neither there.

    Args:
        table: a leaderboard.

    Raises:
        UserError: a setting lacks a size that another one has.
    """
    tried = table[~table["method"].isin(["full", "empty", "ones", "random_edges"])]
    tried = tried[tried["size_requested"].notna() | (tried["status"] != "ok")]
    groups = tried.fillna({"params": ""}).groupby(["method", "params", "task"])
    sizes = groups["size_requested"].nunique()
    sizes = sizes[sizes > 0]
    if sizes.nunique() > 1:
        raise UserError(f"{sizes.idxmin()} has {sizes.min()} sizes, others {sizes.max()}: run it again")
    log = groups.agg(log_gap=("log_gap", "mean"), cpu_seconds=("cpu_seconds", "mean")).reset_index()
    return log[COLUMNS]


def settings(log: pd.DataFrame) -> pd.DataFrame:
    """A row per setting, the best of a method first: log_gap by task and over tasks, CPU seconds of all."""
    index = ["method", "params"]
    log = log.fillna({"params": ""})
    wide = log.pivot(index=index, columns="task", values="log_gap")
    wide["all"] = wide.mean(axis=1, skipna=False)
    wide["cpu_seconds"] = log.groupby(index)["cpu_seconds"].sum(min_count=log["task"].nunique())
    return wide.reset_index().sort_values(["method", "all"], kind="stable")


def winner(log: pd.DataFrame, method: str) -> str:
    """The options of a method that the rule chooses, nothing for the default, nor where that was not tried.

    Args:
        log: as `log_of` makes it.
        method: its name.
    """
    own = settings(log[log["method"] == method]).set_index("params")
    if "" not in own.index:  # the default became another one since
        return ""
    default = own.loc[""]
    best = str(own[own["cpu_seconds"] <= DEARER * default["cpu_seconds"]]["all"].idxmin())
    return best if own["all"][best] < default["all"] - NOTICEABLE else ""


def as_markdown(log: pd.DataFrame) -> str:
    """The table of the log's page."""
    wide = settings(log)
    tasks = [name for name in wide.columns if name not in ("method", "params", "all", "cpu_seconds")]
    lines = ["| setting | " + " | ".join([*tasks, "all", "CPU seconds"]) + " |"]
    lines.append("|---|" + "---:|" * (len(tasks) + 2))
    for _, row in wide.iterrows():
        spec = f"`{row['method']}{':' + row['params'] if row['params'] else ''}`"
        told = [f"{row[name]:.2f}" for name in (*tasks, "all")] + [f"{row['cpu_seconds']:.0f}"]
        lines.append(" | ".join(["| " + spec, *(text.replace("nan", "failed") for text in told)]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    folder, out = map(Path, sys.argv[1:])
    made = log_of(leaderboard(Store(folder)))
    made.to_csv(out, index=False, float_format="%.6g")
    print(as_markdown(made))
    for name in made["method"].unique():
        print(f"{name}: {winner(made, name) or 'the default'}")
