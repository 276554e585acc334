"""Reads plain data from files: it becomes a dataclass with strict types and bounds, or is refused.

Fields that the dataclass lacks are ignored, so that files of versions with more fields stay readable.
"""

from __future__ import annotations

import ast
import inspect
import json
import reprlib
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from annotated_types import Interval

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

Natural = Annotated[int, Interval(ge=0, lt=2**63)]
Count = Annotated[int, Interval(ge=1, lt=2**63)]
Seed = Annotated[int, Interval(ge=0, lt=2**32)]
Share = Annotated[float, Interval(ge=0, le=1 + 1e-9)]
"""From 0 to 1; rounding may carry a sum of shares beyond."""
Amount = Annotated[float, Interval(ge=0, lt=float("inf"))]
"""Neither negative, infinite nor NaN."""


def null_for_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces NaN, which JSON does not have, by null."""
    return {name: None if value != value else value for name, value in values.items()}


def read(kind: type[T], stored: Any) -> T:
    """Converts plain data, as read from JSON or YAML, to a dataclass.

    It is passed through JSON: half a surrogate pair, which no text file can hold, is refused.

    Raises:
        ValueError: the data does not fit; one line names the field and the cause.
    """
    from pydantic import ValidationError

    try:
        found: T = _adapter(cast(Any, kind)).validate_json(json.dumps(stored), strict=True)
    except ValidationError as error:
        raise ValueError(_line(error)) from None
    except (TypeError, RecursionError) as error:  # a YAML date; endless nesting
        raise ValueError(str(error)) from None
    return found


def meanings(cls: type) -> dict[str, str]:
    """The texts below a class's annotated fields, which Python itself discards."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    return {
        node.target.id: " ".join(str(below.value.value).split())
        for node, below in pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # slow to import, and not every command reads a file

    return TypeAdapter(kind)


def _line(error: Any) -> str:
    """The first error that pydantic found, in one line."""
    first = error.errors(include_url=False)[0]
    told = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    told = told.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"{where} is missing"
    if first["type"] in ("json_invalid", "value_error"):
        return f"{where} {told}".strip()
    return f"{where} {told}, not {reprlib.repr(first['input'])}"
