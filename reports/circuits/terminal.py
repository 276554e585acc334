"""Circuits from files compared with nulls of their size, as a table for the terminal (`score --json`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from reports.parts.numbers import interval, number, share
from reports.parts.terminal import a_table

Told = Mapping[str, Any]
_NONE = float("nan")


def scores_terminal(told: Sequence[Told]) -> Group:
    """Circuits on a task; on several tasks or models, how much each recovers on each.

    Args:
        told: as `circuitmark score --json` prints it, for each model and task.
    """
    return _one(told[0]) if len(told) == 1 else Group(_matrix(told))


def _one(told: Told) -> Group:
    """A line per circuit, then the empty circuit and the model; areas under curves, if any."""
    columns = ("edges", "effective", "KL", "recovered", "95 %", "random", "rewired", "faithful", "lost")
    title = f"{told['model']}, {told['task']}, {told['ablation']}: circuits compared with nulls of their size"
    view = a_table(escape(title), ("circuit",), columns)
    for each in told["circuits"]:
        nulls = [number(_of(each[kind] or {}, "recovered")) for kind in ("random", "rewired")]
        view.add_row(_name(each), *_line(each, nulls))
    view.add_section()
    for name in ("empty", "full"):
        view.add_row(name, *_line(told[name], ["", ""]))
    view.caption = (
        "recovered: 1 is the model, 0 the empty circuit; random: mean of "
        f"{told['random_draws']} random connected circuits with as many edges; rewired: the circuit with a "
        "fifth of its edges replaced; lost: complement loss. The cost of finding the circuits is unknown, so "
        "they are not ranked."
    )
    if any(each["level"] == "node" for each in told["circuits"]):
        view.caption += " Shares are of nodes."
    return Group(view, *([_areas(told["areas"])] if told["areas"] else []))


def _matrix(told: Sequence[Told]) -> Table:
    """Recovered by circuit, and by model and task; in brackets what random circuits of its size recover."""
    models = len({each["model"] for each in told}) > 1
    places = [f"{each['model']}, {each['task']}" if models else each["task"] for each in told]
    view = a_table(
        f"recovered, {told[0]['ablation']}; in brackets, what random circuits of the same size recover",
        ("circuit",), ("edges", *map(escape, places)),
    )  # fmt: skip
    for row in zip(*(each["circuits"] for each in told), strict=True):
        shares = [(_of(each, "recovered"), _of(each["random"] or {}, "recovered")) for each in row]
        cells = [f"{number(own)} ({number(null)})" for own, null in shares]
        view.add_row(_name(row[0]), number(row[0]["edges_kept"], whole=True), *cells)
    return view


def _name(circuit: Told) -> str:
    cut = "" if circuit["share"] is None else f" {share(circuit['share'])}"
    return escape(circuit["name"] + cut + (" signed" if circuit["ranking"] == "signed" else ""))


def _line(row: Told, nulls: Sequence[str]) -> list[str]:
    counts = [number(row[name], whole=True) for name in ("edges_kept", "effective_edges")]
    reach = interval(_of(row, "recovered_low"), _of(row, "recovered_high"))
    scores = [number(_of(row, name)) for name in ("faithfulness", "complement_loss")]
    return [*counts, number(_of(row, "kl")), number(_of(row, "recovered")), reach, *nulls, *scores]


def _areas(areas: Sequence[Told]) -> Table:
    view = a_table("Areas over MIB's ten shares", ("scores",), ("cpr", "cmd", "cpr_log", "cmd_log"))
    for each in areas:
        values = [number(_of(each, name)) for name in ("cpr", "cmd", "cpr_log", "cmd_log")]
        view.add_row(escape(each["name"]), *values)
    return view


def _of(row: Told, name: str) -> float:
    value = row.get(name)
    return _NONE if value is None else float(value)
