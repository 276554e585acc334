"""The checks of a method that are made without running it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from bench.errors import UsageError
from bench.names import get_method, option_text, settings_of
from methods.base import Method


def options(adapter: str, method: Method) -> str:
    """Options are plain values, and keep their values when they are typed."""
    settings = settings_of(method)
    try:
        json.dumps(settings)
    except TypeError as error:
        return f"an option is not a plain value and cannot be stored: {error}"
    typed = ",".join(f"{name}={option_text(value)}" for name, value in settings.items())
    try:
        same = settings_of(get_method(f"{adapter.partition(':')[0]}:{typed}"))
    except UsageError as error:
        return f"its own values, typed as options, cannot be read: {error}"
    differ = [name for name, value in settings.items() if same[name] != value]
    return f"when typed, {differ[0]} becomes {same[differ[0]]!r}" if differ else ""


def citation(adapter: str, method: Method) -> str:
    """The citation is a BibTeX entry."""
    entries = method.citation.strip()
    if re.match(r"@\w+\s*\{\s*[^\s,{}]+\s*[,}]", entries) and entries.count("{") == entries.count("}"):
        return ""
    return "it is not a BibTeX entry such as @article{key, title={...}}"


OWN: Mapping[str, Callable[[str, Method], str]] = {check.__name__: check for check in (options, citation)}
