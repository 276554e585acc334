"""What users type -> methods and tasks: ``eap``, ``eap_ig:steps=10,points=inputs``, ``my_method.py``."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bench.errors import UsageError
from bench.plugins import Shelf
from methods.base import Method, find_methods, methods_in
from tasks import find_tasks
from tasks.base import Task
from tracr_ground_truth.program import Program, find_programs

DIVIDED = ("bench", "methods", "reports")
"""Packages whose modules moved into rooms of theirs."""
MANY = 24
"""More names than that are counted, not told."""
TAKEN = "as circuitmark does, or a package beside it"


METHODS: Shelf[type[Method]] = Shelf(
    "method", find_methods, lambda thing: inspect.isclass(thing) and issubclass(thing, Method)
)
TASKS: Shelf[type[Task]] = Shelf(
    "task", lambda: (find_tasks(), {}), lambda thing: inspect.isclass(thing) and issubclass(thing, Task)
)
PROGRAMS: Shelf[Program] = Shelf("program", find_programs, lambda thing: isinstance(thing, Program))
"""Ours, and those of other packages."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not known, with the nearest one that is; it is returned, not raised.

    Args:
        kind: of what the name is, in the singular.
        name: as typed.
        known: names that there are.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    listed = ", ".join(known) if len(known) <= MANY else f"{len(known)}; see circuitmark list {kind}s"
    return UsageError(f"unknown {kind} '{name}'{hint} (known: {listed})")


@dataclass(frozen=True)
class MethodSpec:
    """A method as somebody chose it, in plain data, so that it travels; `get_method(text)` makes it."""

    text: str
    """As typed: a name or a file, with options."""
    name: str
    params: str
    """The options that differ from their defaults."""
    settings: Mapping[str, Any]
    """All options."""
    file: Path
    """That defines it."""
    stochastic: bool


def choose_method(text: str) -> MethodSpec:
    """What a text stands for.

    Raises:
        UsageError: as `get_method`.
    """
    method = get_method(text)
    file = Path(inspect.getfile(type(method))).resolve()
    return MethodSpec(text, method.name, params_of(method), settings_of(method), file, method.stochastic)


def by_nodes(text: str) -> str:
    """A method that cuts its circuits by nodes, as it is typed.

    Raises:
        UsageError: it does not; or as `get_method`.
    """
    method = get_method(text)
    if "nodes" not in get_args(get_type_hints(type(method)).get("selection")):
        raise UsageError(
            f"{method.name} names edges and has no option selection=nodes: leave it, or the granularity, out"
        )
    if getattr(method, "selection", "") == "nodes":
        return text
    chosen = dataclasses.replace(method, selection="nodes")  # type: ignore[type-var]
    return f"{text.partition(':')[0]}:{params_of(chosen)}"


def as_method(method: str | Method | type[Method]) -> Method:
    """The method that is meant: as `get_method` reads a text, or a class with its defaults, or itself.

    Raises:
        UsageError: as `get_method`; or a class cannot be made without arguments.
    """
    if isinstance(method, str):
        return get_method(method)
    if isinstance(method, Method):
        return method
    try:
        return method()
    except TypeError as error:
        raise UsageError(f"{method.__name__} is no method that can be run: {error}") from error


def get_task(name: str) -> Task:
    """The task of a name.

    Raises:
        UsageError: there is none, or it cannot be used.
    """
    task = TASKS.get(name)
    if task is None:
        raise unknown("task", name, TASKS.names())
    return task()


def get_method(spec: str) -> Method:
    """The method that a text stands for: NAME or FILE.py, then ``:option=value,...``.

    Raises:
        UsageError: no such method, file, option or value.
    """
    name, _, options = spec.partition(":")
    cls = _method_class(name)
    fields = options_of(cls)
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for pair in filter(None, options.split(",")):
        option, equals, text = pair.partition("=")
        if option not in fields:
            raise unknown(f"option of {cls.name}", option, fields)
        if not equals:
            raise UsageError(f"the option '{pair}' of {cls.name} has no value: write {option}=VALUE")
        values[option] = _parse(cls.name, option, text, hints[option])
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{cls.name}: {error}") from error


def get_program(spec: str) -> Program:
    """The Tracr program that a text stands for: NAME, FILE.py:FUNCTION, or FILE.py where it has but one.

    Raises:
        UsageError: there is none, Tracr is not installed, or it bears the name of one of ours.
    """
    file, _, function = spec.partition(":")
    if not file.endswith(".py"):
        program = PROGRAMS.get(spec)
        if program is not None:
            return program
        if missing := find_programs()[1]:
            raise UsageError(f"the program '{spec}' cannot be used: {next(iter(missing.values()))}")
        raise unknown("program", spec, PROGRAMS.names())
    path = Path(file).expanduser()
    found = {n: p for n, p in vars(_imported(path, "a program")).items() if isinstance(p, Program)}
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


def params_of(method: Method) -> str:
    """The options that differ from their defaults, as they are typed: ``kind=uniform``."""
    if not dataclasses.is_dataclass(method):
        return ""
    return ",".join(
        f"{f.name}={option_text(getattr(method, f.name))}"
        for f in dataclasses.fields(method)
        if getattr(method, f.name) != f.default
    )


def settings_of(method: Method) -> dict[str, Any]:
    """All options with their values, defaults too."""
    return dataclasses.asdict(method) if dataclasses.is_dataclass(method) else {}


def options_of(cls: type[Method]) -> dict[str, Any]:
    """A method's options with their defaults."""
    return {f.name: f.default for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}


def parse_sizes(texts: Iterable[str | float]) -> tuple[float, ...]:
    """Circuit sizes as shares: ``5%`` or ``0.05``; sorted, without repetition.

    Raises:
        UsageError: a size is no number, or not above 0 and at most 1.
    """
    sizes = set()
    for text in (str(text).strip() for text in texts):
        try:
            # 1.4 / 100 is not 0.014, by which the circuit is looked up
            share = float(f"{text[:-1].strip()}e-2" if text.endswith("%") else text)
        except ValueError:
            raise UsageError(f"'{text}' is no size: write a share as 5% or 0.05") from None
        if not 0 < share <= 1:
            percent = not text.endswith("%") and 1 < share <= 100
            hint = f"; did you mean '{text}%'?" if percent else ""
            raise UsageError(
                f"the size '{text}' is not above 0 and at most 1{hint} (write a share as 5% or 0.05)"
            )
        sizes.add(share)
    written = [f"{size:g}" for size in sizes]  # so tables and files tell them apart
    if twin := next((text for text in written if written.count(text) > 1), None):
        raise UsageError(f"two sizes are {twin} to six digits: give one of them")
    if not sizes:
        raise UsageError("no size is given: write for example --sizes 1%,5%,20%")
    return tuple(sorted(sizes))


def _method_class(name: str) -> type[Method]:
    if name.endswith(".py"):
        return _method_in_file(Path(name).expanduser())
    method = METHODS.get(name)
    if method is None:
        raise unknown("method", name, METHODS.names())
    return method


def _method_in_file(path: Path) -> type[Method]:
    module = _imported(path, "a Method")
    found = methods_in(module)
    if len(found) != 1:
        raise UsageError(
            f"{path} defines {len(found)} methods, not one: give it one subclass of Method with a name"
        )
    (cls,) = found.values()
    for attribute in ("description", "citation"):
        if not isinstance(getattr(cls, attribute, None), str):
            raise UsageError(f"{cls.__name__} in {path} has no {attribute}: give it one, a text")
    if cls.name in METHODS.names():
        raise UsageError(f"{path} defines a method named '{cls.name}', {TAKEN}: rename it")
    return cls


def _imported(path: Path, what: str) -> ModuleType:
    """The module of a user's file.

    Raises:
        UsageError: there is no such file, or importing it fails.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}: name a Python file that defines {what}")
    return _executed(path.resolve(), path.stat().st_mtime_ns, path)


@cache
def _executed(path: Path, modified: int, named: Path) -> ModuleType:
    """A user's file is executed once, and again when it has been `modified`."""
    spec = importlib.util.spec_from_file_location(f"circuitmark_plugin_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))  # it may import its neighbours
    folder = os.getcwd()
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if missing and (moved := _moved(missing)):
            raise UsageError(f"{named} imports {missing}, which is {moved} now: rename it there") from error
        raise UsageError(f"{named} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
        os.chdir(folder)  # where results go is no plugin's to say
    return module


def _moved(name: str) -> str | None:
    """Where a module of ours is now that once stood at the top of its room."""
    room, _, last = name.partition(".")
    if room not in DIVIDED or not last:
        return None
    package = importlib.import_module(room)
    found = pkgutil.walk_packages(package.__path__, f"{room}.")
    return next((m.name for m in found if m.name.rpartition(".")[2] == last), None)


def _parse(method: str, option: str, text: str, hint: Any) -> Any:
    if hint is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
    elif get_origin(hint) is Literal:
        if text in get_args(hint):
            return text
        raise unknown(f"value of {method}'s option {option}", text, map(str, get_args(hint)))
    else:
        try:
            return hint(text)
        except (TypeError, ValueError):
            pass
    wanted = getattr(hint, "__name__", str(hint))
    raise UsageError(f"the option {option} of {method} takes a {wanted}, not '{text}'")


def option_text(value: Any) -> str:
    """A value as it is typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)
