"""Makes methods and tasks of what users type: ``eap``, ``eap_ig:steps=10,points=inputs``, ``mine.jsonl``."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from bench.errors import UsageError
from bench.plugins import Shelf, imported, nearest
from methods.base import Method, find_methods, methods_in
from tasks import find_tasks
from tasks.base import Task, TaskError
from tasks.files.formats import SUFFIXES
from tasks.files.task import FileTask
from tasks.mixed import Mixed
from tracr_ground_truth.program import Program, find_programs

MANY = 24
"""Longer lists of names are counted, not shown."""
TAKEN = "a name that circuitmark or an installed package already uses"

Chosen = TypeVar("Chosen", Method, Task)

METHODS: Shelf[type[Method]] = Shelf(
    "method", find_methods, lambda thing: inspect.isclass(thing) and issubclass(thing, Method)
)
TASKS: Shelf[type[Task]] = Shelf(
    "task", lambda: (find_tasks(), {}), lambda thing: inspect.isclass(thing) and issubclass(thing, Task)
)
PROGRAMS: Shelf[Program] = Shelf("program", find_programs, lambda thing: isinstance(thing, Program))
"""Ours, and those of other packages."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for an unknown name, with the nearest known one; it is returned, not raised.

    Args:
        kind: what is named, in the singular: method, task.
        name: as typed.
        known: the names that exist.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    listed = ", ".join(known) if len(known) <= MANY else f"{len(known)}; see circuitmark list {kind}s"
    return UsageError(f"unknown {kind} '{name}'{hint} (known: {listed})")


@dataclass(frozen=True)
class MethodSpec:
    """A method as the user chose it, in plain data, to be sent anywhere; `get_method(text)` makes it."""

    text: str
    """As typed: a name or a file, with options."""
    name: str
    params: str
    """The options that differ from their defaults."""
    settings: Mapping[str, Any]
    """All options."""
    files: tuple[Path, ...]
    """The files that define it and the methods that it runs."""
    stochastic: bool


def choose_method(text: str) -> MethodSpec:
    """The method that a text names, as plain data.

    Raises:
        UsageError: as `get_method`.
    """
    method = get_method(text)
    all_of_them = [method, *_used(method)]
    files = tuple(dict.fromkeys(Path(inspect.getfile(type(each))).resolve() for each in all_of_them))
    stochastic = any(each.stochastic for each in all_of_them)
    return MethodSpec(text, method.name, params_of(method), settings_of(method), files, stochastic)


def _used(method: Method) -> list[Method]:
    """The methods that a method runs, directly or indirectly."""
    return [each for used in method.uses() for each in (used, *_used(used))]


def by_nodes(text: str) -> str:
    """The text of a method with circuits cut by nodes.

    Raises:
        UsageError: the method cannot do so; or as `get_method`.
    """
    method = get_method(text)
    if "nodes" not in get_args(get_type_hints(type(method)).get("selection")):
        raise UsageError(f"{method.name} has no option selection=nodes: leave out the method or granularity")
    try:
        chosen = dataclasses.replace(method, selection="nodes")  # type: ignore[type-var]
    except ValueError as error:
        raise UsageError(f"{text} cannot cut its circuits by nodes: {error}") from error
    return f"{text.partition(':')[0]}:{params_of(chosen)}"


@dataclass(frozen=True)
class TaskSpec:
    """A task as the user chose it; `get_task(text)` makes it, in any working directory."""

    text: str
    """As typed, with files as absolute paths."""
    label: str
    """Its name in tables, with the options that differ from their defaults."""
    version: int


def choose_task(text: str) -> TaskSpec:
    """The task that a text names, as plain data.

    Raises:
        UsageError: as `get_task`.
    """
    task = get_task(text)
    if isinstance(task, Mixed):
        parts = [choose_task(part) for part in _parts(text)]
        whole, label = ("+".join(getattr(part, name) for part in parts) for name in ("text", "label"))
        return TaskSpec(whole, label, sum(part.version for part in parts))
    file, rest = _file_and_rest(text)
    whole = text if file is None else f"{file.resolve()}{rest}"
    return TaskSpec(whole, ":".join(filter(None, (task.name, params_of(task)))), task.version)


def as_method(method: str | Method | type[Method]) -> Method:
    """A method given as text (see `get_method`), as a class (with default options) or as an instance.

    Raises:
        UsageError: as `get_method`; or a class that needs arguments.
    """
    if isinstance(method, str):
        return get_method(method)
    if isinstance(method, Method):
        return method
    try:
        return method()
    except TypeError as error:
        raise UsageError(f"{method.__name__} is not a method that can be run: {error}") from error


def get_task(spec: str) -> Task:
    """The task that a text names: NAME, a file of prompts, or FILE.py:NAME, then ``:option=value,...``.

    FILE.py alone will do if it has only one. Several of these joined by + are one task.

    Raises:
        UsageError: no such task, file, option or value; a malformed line; tasks that cannot be combined.
    """
    if len(parts := _parts(spec)) > 1:
        if not all(parts):
            raise UsageError(f"'{spec}' has nothing on one side of a +: write a task on both sides")
        try:
            return Mixed([get_task(part) for part in parts])
        except TaskError as error:
            raise UsageError(str(error)) from error
    file, rest = _file_and_rest(spec)
    name, _, options = spec.partition(":")
    if file is None:
        task = TASKS.get(name)
        if task is None:
            raise unknown("task", name, TASKS.names())
        return _made(task, name, options)
    if file.suffix == ".py":
        named, _, options = rest.removeprefix(":").rpartition(":") if "=" in rest else (rest[1:], "", "")
        task = _task_in_file(file, named)
        return _made(task, task.name, options)
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{file} is not a file of prompts: its name must end in {', '.join(SUFFIXES)} or .py"
        )
    if file.stem in TASKS.names():
        raise UsageError(f"{file} has the name of the task '{file.stem}': rename the file")
    if not file.exists():
        raise UsageError(f"there is no file {file}{nearest(file)}: name a file of prompts")
    return _made(FileTask, file.stem, rest[1:], file)


def get_method(spec: str) -> Method:
    """The method that a text names: NAME or FILE.py, then ``:option=value,...``.

    Raises:
        UsageError: no such method, file, option or value.
    """
    name, _, options = spec.partition(":")
    method = _method_class(name)
    return _made(method, method.name, options)


def get_program(spec: str) -> Program:
    """The Tracr program that a text names: NAME, FILE.py:FUNCTION, or FILE.py if it has only one.

    Raises:
        UsageError: no such program, Tracr is not installed, or the name is taken.
    """
    file, _, function = spec.partition(":")
    if not file.endswith(".py"):
        program = PROGRAMS.get(spec)
        if program is not None:
            return program
        if missing := find_programs()[1]:
            raise UsageError(f"the program '{spec}' cannot be used: {next(iter(missing.values()))}")
        raise unknown("program", spec, PROGRAMS.names())
    path = Path(os.path.expanduser(file))
    found = {n: p for n, p in vars(imported(path, "a program")).items() if isinstance(p, Program)}
    if not function and len(found) == 1:
        (function,) = found
    if function not in found:
        known = ", ".join(sorted(found)) or "none"
        raise UsageError(
            f"{path} has no program '{function}' (it has: {known}): "
            "write @program(vocabulary, length) above its function and name it as FILE.py:FUNCTION"
        )
    if found[function].name in PROGRAMS.names():
        raise UsageError(f"{path} defines a program named '{function}', {TAKEN}: rename it")
    return found[function]


def params_of(thing: Method | Task) -> str:
    """The options that differ from their defaults, as typed: ``kind=uniform``.

    A preset's options are given by its name if that is shorter: ``preset=paper,examples=8``.
    """
    own, texts = {name: getattr(thing, name) for name in options_of(type(thing))}, list[str]()
    for preset, values in {"": {}, **getattr(thing, "presets", {})}.items():
        usual = {**options_of(type(thing)), **values}
        differ = [f"{name}={option_text(value)}" for name, value in own.items() if value != usual[name]]
        texts.append(",".join([f"preset={preset}", *differ] if preset else differ))
    return min(texts, key=lambda text: text.count("="))


def settings_of(method: Method) -> dict[str, Any]:
    """All options with their values, defaults too."""
    return dataclasses.asdict(method) if dataclasses.is_dataclass(method) else {}


def options_of(cls: type[Method] | type[Task]) -> dict[str, Any]:
    """The options of a method or a task with their defaults: fields that have one."""
    if not dataclasses.is_dataclass(cls):
        return {}
    return {f.name: f.default for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING}


def parse_sizes(texts: Iterable[str | float]) -> tuple[float, ...]:
    """Circuit sizes as shares: ``5%`` or ``0.05``; sorted, without duplicates.

    Raises:
        UsageError: a size is not a number, or not above 0 and at most 1.
    """
    sizes = set()
    for text in (str(text).strip() for text in texts):
        try:
            # 1.4 / 100 != 0.014, the key by which the circuit is looked up
            share = float(f"{text[:-1].strip()}e-2" if text.endswith("%") else text)
        except ValueError:
            raise UsageError(f"'{text}' is not a size: write a share as 5% or 0.05") from None
        if not 0 < share <= 1:
            percent = not text.endswith("%") and 1 < share <= 100
            hint = f"; did you mean '{text}%'?" if percent else ""
            raise UsageError(
                f"the size '{text}' is not above 0 and at most 1{hint} (write a share as 5% or 0.05)"
            )
        sizes.add(share)
    written = [f"{size:g}" for size in sizes]  # as in tables and file names
    if twin := next((text for text in written if written.count(text) > 1), None):
        raise UsageError(f"two sizes are both {twin} to six digits: give one of them")
    if not sizes:
        raise UsageError("no size is given: write for example --sizes 1%,5%,20%")
    return tuple(sorted(sizes))


def _made(cls: type[Chosen], name: str, options: str, *about: Any) -> Chosen:
    """A method or a task with the options as typed.

    Raises:
        UsageError: no such option or value.
    """
    fields, hints = options_of(cls), get_type_hints(cls)
    presets = getattr(cls, "presets", {})
    values: dict[str, Any] = {}
    for pair in filter(None, options.split(",")):
        option, equals, text = pair.partition("=")
        if option == "preset" and presets:
            if text not in presets:
                raise unknown(f"preset of {name}", text, presets)
            values = {**presets[text], **values}
            continue
        if option not in fields:
            raise unknown(f"option of {name}", option, fields)
        if not equals:
            raise UsageError(f"the option '{pair}' of {name} has no value: write {option}=VALUE")
        values[option] = _parse(name, option, text, hints[option])
    try:
        return cls(*about, **values)
    except TaskError as error:  # its message names the file
        raise UsageError(str(error)) from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: {error}") from error


def _parts(spec: str) -> list[str]:
    """The tasks that a text joins by +; an existing file with a + in its path is one task."""
    pieces, parts = spec.split("+"), list[str]()
    while pieces:
        starts = ["+".join(pieces[:n]) for n in range(1, len(pieces) + 1)]
        part = next((start for start in starts if _is_there(start)), starts[0])
        parts.append(part)
        pieces = pieces[1 + starts.index(part) :]
    return parts


def _is_there(spec: str) -> bool:
    file, _ = _file_and_rest(spec)
    return file is not None and os.path.isfile(file)  # False for a name that is too long


def _file_and_rest(spec: str) -> tuple[Path | None, str]:
    """The file that a text begins with, and what follows; None if it begins with a name."""
    name, colon, rest = spec.partition(":")
    is_file = "." in name or os.sep in name
    return (Path(os.path.expanduser(name)), colon + rest) if is_file else (None, "")


def _task_in_file(path: Path, name: str) -> type[Task]:
    module = imported(path, "a Task")
    found = {
        cls.name: cls
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, Task) and cls.__module__ == module.__name__
        if isinstance(vars(cls).get("name"), str) and not inspect.isabstract(cls)
    }
    if not name and len(found) == 1:
        (name,) = found
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise UsageError(
            f"{path} has no task '{name}' (it has: {known}): give it a subclass of Task with a name; "
            "to choose one of several, write FILE.py:NAME"
        )
    cls = found[name]
    for attribute, kind in (("description", str), ("citation", str), ("version", int)):
        if not isinstance(getattr(cls, attribute, None), kind):
            raise UsageError(
                f"{cls.__name__} in {path} has no {attribute}: give it one, of type {kind.__name__}"
            )
    if name in TASKS.names():
        raise UsageError(f"{path} defines a task named '{name}', {TAKEN}: rename it")
    return cls


def _method_class(name: str) -> type[Method]:
    if name.endswith(".py"):
        return _method_in_file(Path(os.path.expanduser(name)))
    method = METHODS.get(name)
    if method is None:
        raise unknown("method", name, METHODS.names())
    return method


def _method_in_file(path: Path) -> type[Method]:
    module = imported(path, "a Method")
    found = methods_in(module)
    if len(found) != 1:
        raise UsageError(f"{path} defines {len(found)} methods: give it one subclass of Method with a name")
    (cls,) = found.values()
    for attribute in ("description", "citation"):
        if not isinstance(getattr(cls, attribute, None), str):
            raise UsageError(f"{cls.__name__} in {path} has no {attribute}: give it one, a string")
    if cls.name in METHODS.names():
        raise UsageError(f"{path} defines a method named '{cls.name}', {TAKEN}: rename it")
    return cls


def _parse(owner: str, option: str, text: str, hint: Any) -> Any:
    if hint is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
    elif get_origin(hint) is Literal:
        if text in get_args(hint):
            return text
        raise unknown(f"value of {owner}'s option {option}", text, map(str, get_args(hint)))
    else:
        try:
            return hint(text)
        except (TypeError, ValueError):
            pass
    wanted = getattr(hint, "__name__", str(hint))
    raise UsageError(f"the option {option} of {owner} must be of type {wanted}, not '{text}'")


def option_text(value: Any) -> str:
    """A value as typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)
