"""What `circuitmark list` prints: methods, tasks, models, metrics, programs; and the options of one."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bench.names import METHODS, PROGRAMS, TASKS, get_method, get_task, option_text, options_of, unknown
from bench.schema import meanings
from methods.base import Method
from tasks.base import Task

Row = dict[str, Any]


def listed(kind: str, name: str | None = None) -> list[Row]:
    """All of a kind, or the one with this name; options of a method or a task are then described.

    Args:
        kind: methods, tasks, models, metrics or programs.
        name: only this one; for a method or a task, it may be a file.

    Raises:
        UsageError: nothing has that name, or it cannot be used.
    """
    if name is not None and kind in ("methods", "tasks"):
        made = get_method(name) if kind == "methods" else get_task(name)
        row: Row = {"name": made.name, "description": made.description, "options": options(type(made))}
        presets = getattr(made, "presets", {})
        return [{**row, "presets": {preset: dict(values) for preset, values in presets.items()}}]
    rows = _LISTS[kind]()
    if name is None:
        return rows
    found = [row for row in rows if row["name"] == name]
    if not found:
        raise unknown(kind.removesuffix("s"), name, (row["name"] for row in rows))
    return found


def options(chosen: type[Method | Task]) -> list[Row]:
    """Options of a method or a task: name, type, default and description of each."""
    hints, texts = get_type_hints(chosen), dict[str, str]()
    for cls in reversed(chosen.__mro__):
        if cls not in (Method, Task) and issubclass(cls, Method | Task):
            texts |= meanings(cls)
    return [
        {"name": name, "type": _type(hints[name]), "default": default, "description": texts.get(name, "")}
        for name, default in options_of(chosen).items()
    ]


def options_told(row: Row) -> str:
    """A method or a task and its options as text."""
    lines = [f"{row['name']}: {row['description']}"]
    for option in row["options"]:
        lines.append(f"\n  {option['name']}={option_text(option['default'])}  ({option['type']})")
        lines += textwrap.wrap(option["description"], 100, initial_indent="    ", subsequent_indent="    ")
    for preset, values in row["presets"].items():
        told = ",".join(f"{name}={option_text(value)}" for name, value in values.items())
        lines.append(f"\n  preset={preset} is {told}")
    return "\n".join(lines if row["options"] else [*lines, "\n  It has no options."])


def _type(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    return getattr(hint, "__name__", str(hint))


def _methods() -> list[Row]:
    found, missing = METHODS.all()
    rows = [
        {"name": name, "description": cls.description, "options": options_of(cls)}
        for name, cls in found.items()
    ]
    return rows + [{"name": name, "description": reason, "options": {}} for name, reason in missing.items()]


def _tasks() -> list[Row]:
    found, missing = TASKS.all()
    rows = [
        {
            "name": name, "description": cls.description, "version": cls.version, "measure": cls.measure,
            "options": options_of(cls),
        }
        for name, cls in found.items()
    ]  # fmt: skip
    return rows + [{"name": name, "description": reason} for name, reason in missing.items()]


def _models() -> list[Row]:
    from bench.models.load import FORMS, KNOWN

    return [{"name": name, "description": description} for name, description in (KNOWN | FORMS).items()]


def _metrics() -> list[Row]:
    from bench.scoring.catalogue import METRICS, RECOVERY_METRICS

    return [asdict(metric) for metric in (*METRICS, *RECOVERY_METRICS)]


def _programs() -> list[Row]:
    programs, missing = PROGRAMS.all()
    rows: list[Row] = [
        {
            "name": program.name,
            "description": program.description,
            "vocabulary": list(program.vocabulary),
            "length": program.length,
            "lengths": list(program.lengths),
            "causal": program.causal,
            "redundant": program.redundant,
        }
        for program in programs.values()
    ]
    return rows + [{"name": name, "description": reason} for name, reason in missing.items()]


_LISTS = {
    "methods": _methods, "tasks": _tasks, "models": _models, "metrics": _metrics, "programs": _programs,
}  # fmt: skip
