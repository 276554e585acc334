"""The record of a run, defined once: keys, columns and groupings of tables derive from it.

Fields may be added, with a default, without a new `FORMAT`: older records stay readable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from bench.engine.ablation import AblationName
from bench.engine.graph import KV
from bench.names import unknown
from bench.schema import Amount, Count, Natural, Seed, Share, read
from bench.store.provenance import PROVENANCE

EvaluatedSplit = Literal["evaluation", "validation"]
Wordings = Literal["all", "first half", "second half"]
"""The wordings of a discovery set: all that methods may see, or one half of them."""
Bos = Literal["auto", "yes", "no"]
"""Whether prompts begin with the tokenizer's BOS: as it does by itself, always, or never; never with two."""
CHOICES: Mapping[str, Sequence[str]] = {
    "dtype": ("float32", "float64", "bfloat16"),
    "kv": get_args(KV),
    "split": get_args(EvaluatedSplit),
    "wordings": get_args(Wordings),
    "bos": get_args(Bos),
}
"""The values of settings that have only a few, by name."""
Status = Literal["ok", "failed", "skipped", "declined"]
FORMAT = 1
"""Version of records; raised when a field changes its meaning."""
BENCHMARK = 2
"""Version of prompts, splits and embedded models; raised when one of them changes. Scores of different
versions are never in one table."""


NULL = "random_edges"
"""The method that draws circuits at random, with which others are compared."""


def check_choices(**chosen: str) -> None:
    """Refuses values that a setting does not have.

    Args:
        chosen: by their names in `CHOICES`.

    Raises:
        UsageError: a setting has no such value.
    """
    for name, value in chosen.items():
        if value not in CHOICES[name]:
            raise unknown(name, value, CHOICES[name])


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What two circuits must have in common to be compared with each other, or with full and empty."""

    model: str
    """Name of the model in tables."""
    task: str
    """Name of the task, with the options that are not the defaults."""
    ablation: AblationName
    """The ablation under which circuits are scored."""
    split_embed: bool
    """Whether token and position embeddings are two senders."""
    kv: KV = "per_group"
    """How keys and values of grouped-query attention are counted."""


@dataclass(frozen=True, kw_only=True)
class Dimensions(Setting):
    """What tells runs apart in a table."""

    discovery_ablation: AblationName
    """The ablation that the method was given."""
    method: str
    """Name of the method; or `full`, `empty`, `ones`: the model, the circuit without edges, and a mask that
    keeps every edge."""
    params: str
    """The method's options that are not the defaults."""
    n_discovery: Count
    """Number of prompts that the method was to be given."""
    data_seed: Seed
    """Seed of the discovery prompts."""
    method_seed: Seed
    """Seed of whatever the method draws."""
    wordings: Wordings = "all"
    """Wordings of the discovery prompts."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What all runs of a results folder have in common."""

    n_evaluation: Count
    """Number of prompts that circuits were to be scored on."""
    split: EvaluatedSplit
    """Split on which circuits are scored; `validation` is for choosing settings."""
    dtype: str
    """Data type of the weights and activations."""
    evaluation_seed: Seed = 0
    """Seed of the evaluation prompts; 0 draws those that everybody is scored on."""
    bos: Bos = "auto"
    """Whether prompts begin with BOS, in discovery too; circuits at other positions cannot be compared."""


@dataclass(frozen=True, kw_only=True)
class Record(Dimensions, Evaluation):
    """All that a run says about itself, whatever its outcome; its tensors are raw outputs and scores."""

    model_hash: str
    """A hash of the model's files."""
    lineage: str
    """A hash that is the same for runs that differ only in their sizes."""
    task_version: Natural
    """Version of the task, raised when its prompts change."""
    benchmark: Natural = 1
    """Version of prompts, splits and embedded models; scores of two versions cannot be compared."""
    settings: Mapping[str, Any]
    """All options of the method."""
    sizes: Sequence[Share]
    device: str
    """The device that the job ran on: cpu, cuda and the like."""
    threads: Count
    """Threads of the job's process."""
    engine: str
    """A hash of the numbers that this version of the engine must return (`golden.json`)."""
    created: str
    """When it was stored; later times sort later."""
    provenance: Mapping[str, Any]
    """Versions, commit, hardware: what a result should not depend on."""
    status: Status
    """What became of the job; a method declines what it cannot do."""
    status_reason: str
    """Why the status is not ok."""
    direction: str = "clean prompt, removed edges ablated"
    """The prompt that circuits run on, and what is ablated."""
    position_policy: str = ""
    """The positions at which answers are read."""
    prompt_start: str = ""
    """What evaluation prompts begin with: BOS or not."""
    measure: str = ""
    """The difference metric of the task."""
    graph: str = ""
    """Number of edges of the model's graph, and how they are counted."""
    n_edges: Natural = 0
    """Number of edges of the graph."""
    shortest_path: Natural = 0
    """Edges on the shortest path from an embedding to the logits; 0 in records of versions that did not count
    them."""
    ablation_policy: str = ""
    """The ablation that circuits were scored under and, for a mean, what it was taken over."""
    objective: str = ""
    """What the method's scores measure, if it can use several objectives."""
    selection: str = ""
    """How circuits are cut from the method's scores."""
    seconds: Amount | None = None
    cpu_seconds: Amount | None = None
    sized_cpu_seconds: Amount | None = None
    """All three are of discovery, measured by another process."""
    data_seconds: Amount | None = None
    """Time of drawing the discovery prompts, before the method begins."""
    forward_equivalents: Amount | None = None
    forwards: Natural | None = None
    backwards: Natural | None = None
    tokens: Natural | None = None
    peak_memory_mb: Amount | None = None
    unaided_edges: Natural | None = None
    trace: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: str = ""
    """What a reader should know of a discovery that is valid."""
    discovery_prompts: Natural = 0
    """Number of prompts that the method was given."""
    evaluation_prompts: Natural = 0
    """Number of evaluation prompts, which may be fewer than requested; 0 in records of versions that did not
    count them."""
    repeated_prompts: Natural = 0
    """Number of evaluation prompts that repeat an earlier one."""
    shared_prompts: Natural = 0
    """Number of discovery prompts that are also in the sets of earlier data seeds."""
    circuits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By the name of their raw outputs: what `Kept` says."""
    task_code: str = ""
    """A hash of the task's code and of its file."""
    smaller: Count = 1
    """The factor by which batches were made smaller because memory ran out."""
    jobs: Count = 1
    """Number of jobs that ran at a time."""
    format: Count = FORMAT
    """Format of the record."""

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Record:
        """Reads what `asdict` returned in this version or an earlier one; unknown fields are left out.

        Raises:
            ValueError: a field without a default is missing, or one has a wrong value; in one line.
        """
        record = read(cls, stored)
        kept = read(_Circuits, {"circuits": record.circuits}).circuits
        return replace(record, circuits={name: asdict(circuit) for name, circuit in kept.items()})

    def row(self) -> dict[str, Any]:
        """The fields that fit into cells of a table, with texts that can be written as UTF-8."""
        known = {name: self.provenance[name] for name in PROVENANCE if name in self.provenance}
        told = known | asdict(self)
        cells = {name: value for name, value in told.items() if not isinstance(value, dict | list | tuple)}
        return {n: v.encode(errors="replace").decode() if isinstance(v, str) else v for n, v in cells.items()}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a record says about each circuit of its run."""

    size_requested: Share
    """Share of the edges that was requested."""
    complement: str | None
    """Name of the complement's raw outputs; none for a point that is only on the curve."""
    edges_kept: Natural
    edges_filled: Natural = 0
    """Of these, edges added by the method's scores where it named fewer than requested."""
    edges_rewired: Natural = 0
    """Of these, edges that its null lacks: each is replaced by another one of the same kinds and layers."""
    effective_edges: Natural
    edge_sparsity: Share
    nodes_kept: Natural
    weight_density: Share
    effective_weight_density: Share
    curve: str = ""
    """For a point of a curve, the ranking that it is cut from: absolute or signed."""
    hash: str | None = None
    """A hash of the circuit (`Circuit.digest`), so that another one in its place is noticed."""


@dataclass(frozen=True)
class _Circuits:
    circuits: Mapping[str, Kept]


def names_of(record: type) -> tuple[str, ...]:
    """The fields of a record, in order."""
    return tuple(each.name for each in fields(record))


def told_apart_by(record: type, told: Any) -> tuple[Any, ...]:
    """The values of a record's fields in `told`."""
    return tuple(getattr(told, name) for name in names_of(record))
