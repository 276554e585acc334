"""What a run is told by: named once, here; columns, groupings and keys derive from these records."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What two circuits of a task share before one may stand beside the other, or beside full and empty."""

    model: str
    """As tables name it."""
    task: str
    ablation: str
    """Under which circuits are scored."""
    split_embed: bool


@dataclass(frozen=True, kw_only=True)
class Dimensions(Setting):
    """What tells runs apart in a table."""

    discovery_ablation: str
    """What the method was given."""
    method: str
    params: str
    n_discovery: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What all runs of a results folder have in common."""

    n_evaluation: int
    split: str
    dtype: str


def names_of(record: type) -> tuple[str, ...]:
    """The fields of a record, in order."""
    return tuple(each.name for each in fields(record))
