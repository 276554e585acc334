"""What a file may contain: plain data become a dataclass with strict types and bounds, or are refused.

Whatever a dataclass does not name is ignored, so that files of versions with more fields stay readable.
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
"""From 0 to 1; a sum of shares may be beyond by rounding."""
Amount = Annotated[float, Interval(ge=0, lt=float("inf"))]
"""Neither infinite nor NaN."""


def null_for_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: what cannot be said is null."""
    return {name: None if value != value else value for name, value in values.items()}


def read(kind: type[T], stored: Any) -> T:
    """Plain data, as JSON or YAML hold them, as the dataclass that they should be.

    They go by JSON: half a surrogate pair, which no file of text takes, is refused.

    Raises:
        ValueError: they are no such thing; one line names the field and the cause.
    """
    from pydantic import ValidationError

    try:
        found: T = _adapter(cast(Any, kind)).validate_json(json.dumps(stored), strict=True)
    except ValidationError as error:
        raise ValueError(_line(error)) from None
    except (TypeError, RecursionError) as error:  # a date of YAML; data within data without end
        raise ValueError(str(error)) from None
    return found


def meanings(cls: type) -> dict[str, str]:
    """The texts below a class's annotated fields, which Python itself forgets."""
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
    from pydantic import TypeAdapter  # takes a while, and not every command reads a file

    return TypeAdapter(kind)


def _line(error: Any) -> str:
    """The first of the faults that pydantic found."""
    first = error.errors(include_url=False)[0]
    told = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    told = told.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"{where} is missing"
    if first["type"] in ("json_invalid", "value_error"):
        return f"{where} {told}".strip()
    return f"{where} {told}, not {reprlib.repr(first['input'])}"
