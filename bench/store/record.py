"""The record of a run, named once: keys, columns and groupings of tables derive from it.

Fields may be added, with a default, without a new `FORMAT`: older records stay readable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal

from bench.engine.ablation import AblationName

EvaluatedSplit = Literal["evaluation", "validation"]
FORMAT = 1
"""Of records; raised when a field changes its meaning."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What two circuits of a task share before one may stand beside the other, or beside full and empty."""

    model: str
    """As tables name it."""
    task: str
    ablation: AblationName
    """Under which circuits are scored."""
    split_embed: bool


@dataclass(frozen=True, kw_only=True)
class Dimensions(Setting):
    """What tells runs apart in a table."""

    discovery_ablation: AblationName
    """What the method was given."""
    method: str
    params: str
    n_discovery: int
    data_seed: int
    """Of the discovery prompts."""
    method_seed: int
    """Of whatever the method draws."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What all runs of a results folder have in common."""

    n_evaluation: int
    split: EvaluatedSplit
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Record(Dimensions, Evaluation):
    """All that a run says of itself, whatever became of it; its tensors are raw outputs and scores."""

    model_hash: str
    lineage: str
    """The same for runs that differ in their sizes alone."""
    task_version: int
    settings: Mapping[str, Any]
    """All options of the method."""
    sizes: Sequence[float]
    device: str
    threads: int
    engine: str
    created: str
    """When it was stored; later times sort later."""
    provenance: Mapping[str, Any]
    """Versions, commit, hardware: what a result should not depend on."""
    status: str
    """ok, failed, skipped or declined."""
    status_reason: str
    direction: str = "clean prompt, removed edges ablated"

    position_policy: str = ""
    """Where answers stand."""
    measure: str = ""
    """The difference metric of the task."""
    graph: str = ""
    n_edges: int = 0
    ablation_policy: str = ""
    """The ablation that circuits were scored under, and of a mean over what it was taken."""
    objective: str = ""
    selection: str = ""
    seconds: float | None = None
    cpu_seconds: float | None = None
    """Of discovery, as another process read its clock."""
    forward_equivalents: float | None = None
    forwards: int | None = None
    backwards: int | None = None
    tokens: int | None = None
    peak_memory_mb: float | None = None
    unaided_edges: int | None = None
    trace: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: str = ""
    """What a reader should know of a discovery that is sound."""
    repeated_prompts: int = 0
    """Evaluation prompts that repeat an earlier one."""
    circuits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By the name of their raw outputs: size, complement, counts."""
    task_code: str = ""
    """A hash of the task's code, as `model_hash` is of the model's files."""
    smaller: int = 1
    """Batches held so many times fewer prompts than memory should have allowed."""
    jobs: int = 1
    """That ran at a time."""
    format: int = FORMAT

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Record:
        """What `asdict` gave, by this version or one before; what this one does not know is left out.

        Raises:
            KeyError: a field without a default is missing.
        """
        known = {each.name for each in fields(cls)}
        for each in fields(cls):
            if each.name not in stored and each.default is each.default_factory is MISSING:
                raise KeyError(each.name)
        return cls(**{name: value for name, value in stored.items() if name in known})

    def row(self) -> dict[str, Any]:
        """What fits into the cells of a table, whose texts can be written as UTF-8."""
        told = asdict(self) | dict(self.provenance)
        cells = {name: value for name, value in told.items() if not isinstance(value, dict | list | tuple)}
        return {n: v.encode(errors="replace").decode() if isinstance(v, str) else v for n, v in cells.items()}


def names_of(record: type) -> tuple[str, ...]:
    """The fields of a record, in order."""
    return tuple(each.name for each in fields(record))


def told_apart_by(record: type, told: Any) -> tuple[Any, ...]:
    """Of something that has a record's fields, their values."""
    return tuple(getattr(told, name) for name in names_of(record))
