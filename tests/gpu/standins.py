"""Stand-ins for two packages of annotations, so that the core runs where nothing but torch and numpy is."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any


class _Annotation:
    """``Float[Tensor, "a b"]`` is Tensor."""

    def __class_getitem__(cls, item: Any) -> Any:
        return item[0]


class _Interval:
    """Takes whatever bounds are given."""

    def __init__(self, **bounds: object) -> None:
        self.bounds = bounds


class _StandIn(ModuleType):
    """Whatever public name is asked of it is one and the same thing."""

    def __init__(self, name: str, thing: object) -> None:
        super().__init__(name)
        self._thing = thing

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._thing


def stand_in() -> list[str]:
    """Puts a stand-in in the place of each package that is missing; returns their names."""
    things = {"jaxtyping": _Annotation, "annotated_types": _Interval}
    missing = [name for name in things if name not in sys.modules and not importlib.util.find_spec(name)]
    for name in missing:
        sys.modules[name] = _StandIn(name, things[name])
    return missing
