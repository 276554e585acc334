"""The record of a run, named once: keys, columns and groupings of tables derive from it.

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
"""Of those that methods may see, the ones that a discovery set has."""
Bos = Literal["auto", "yes", "no"]
"""Whether prompts begin with the tokenizer's BOS: as it does by itself, always, or never. Not twice, ever."""
CHOICES: Mapping[str, Sequence[str]] = {
    "dtype": ("float32", "float64", "bfloat16"),
    "kv": get_args(KV),
    "split": get_args(EvaluatedSplit),
    "wordings": get_args(Wordings),
    "bos": get_args(Bos),
}
"""Settings that have a few values, by name."""
Status = Literal["ok", "failed", "skipped", "declined"]
FORMAT = 1
"""Of records; raised when a field changes its meaning."""
BENCHMARK = 2
"""Of prompts, splits and embedded models; raised when one of them changes. Scores of different versions never
stand in one table."""


NULL = "random_edges"
"""The method that draws circuits at random, beside which others are read."""


def check_choices(**chosen: str) -> None:
    """Holds settings to the values that there are.

    Args:
        chosen: by their names in `CHOICES`.

    Raises:
        UsageError: there is no such value.
    """
    for name, value in chosen.items():
        if value not in CHOICES[name]:
            raise unknown(name, value, CHOICES[name])


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What two circuits of a task share before one may stand beside the other, or beside full and empty."""

    model: str
    """As tables name it."""
    task: str
    """With its options, where they are not the defaults."""
    ablation: AblationName
    """Under which circuits are scored."""
    split_embed: bool
    """Whether token and position embeddings are two senders."""
    kv: KV = "per_group"
    """How keys and values of grouped-query attention are counted."""


@dataclass(frozen=True, kw_only=True)
class Dimensions(Setting):
    """What tells runs apart in a table."""

    discovery_ablation: AblationName
    """What the method was given."""
    method: str
    """Or `full`, `empty`, `ones`: the model, the circuit without edges, and a mask that keeps every edge."""
    params: str
    """Its options that are not the defaults."""
    n_discovery: Count
    """Prompts that the method was to be given."""
    data_seed: Seed
    """Of the discovery prompts."""
    method_seed: Seed
    """Of whatever the method draws."""
    wordings: Wordings = "all"
    """Of the discovery prompts."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What all runs of a results folder have in common."""

    n_evaluation: Count
    """Prompts that circuits were to be scored on."""
    split: EvaluatedSplit
    """Of which prompts: `validation` is for choosing settings."""
    dtype: str
    """Of the weights and activations."""
    evaluation_seed: Seed = 0
    """Of the evaluation prompts; 0 stands for those that everybody is scored on."""
    bos: Bos = "auto"
    """How prompts begin, of discovery as well: circuits of other positions do not compare."""


@dataclass(frozen=True, kw_only=True)
class Record(Dimensions, Evaluation):
    """All that a run says of itself, whatever became of it; its tensors are raw outputs and scores."""

    model_hash: str
    """Of the model's files."""
    lineage: str
    """The same for runs that differ in their sizes alone."""
    task_version: Natural
    """Raised when the task's prompts change."""
    benchmark: Natural = 1
    """The version of prompts, splits and embedded models: those of two do not compare."""
    settings: Mapping[str, Any]
    """All options of the method."""
    sizes: Sequence[Share]
    device: str
    """cpu, cuda and the like."""
    threads: Count
    """Of the job's process."""
    engine: str
    """A hash of the numbers that this version is held to (`golden.json`)."""
    created: str
    """When it was stored; later times sort later."""
    provenance: Mapping[str, Any]
    """Versions, commit, hardware: what a result should not depend on."""
    status: Status
    """What became of the job; a method declines what it cannot do."""
    status_reason: str
    """Why it is not ok."""
    direction: str = "clean prompt, removed edges ablated"
    """On which prompt circuits run."""
    position_policy: str = ""
    """Where answers stand."""
    prompt_start: str = ""
    """BOS, or what else evaluation prompts begin with."""
    measure: str = ""
    """The difference metric of the task."""
    graph: str = ""
    """Its edges, and how they are counted."""
    n_edges: Natural = 0
    """Of the graph."""
    shortest_path: Natural = 0
    """Edges from an embedding to the logits, at least; 0 in records of a version that did not count them."""
    ablation_policy: str = ""
    """The ablation that circuits were scored under, and of a mean over what it was taken."""
    objective: str = ""
    """What the method's scores are of, where it has several."""
    selection: str = ""
    """How circuits are made of its scores."""
    seconds: Amount | None = None
    cpu_seconds: Amount | None = None
    sized_cpu_seconds: Amount | None = None
    """Of discovery, as another process read its clock."""
    data_seconds: Amount | None = None
    """That drawing the discovery prompts took, before all else."""
    forward_equivalents: Amount | None = None
    forwards: Natural | None = None
    backwards: Natural | None = None
    tokens: Natural | None = None
    peak_memory_mb: Amount | None = None
    unaided_edges: Natural | None = None
    trace: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: str = ""
    """What a reader should know of a discovery that is sound."""
    discovery_prompts: Natural = 0
    """Prompts that the method was given."""
    evaluation_prompts: Natural = 0
    """That there were; a file may hold fewer than asked for. 0 where a version did not count them."""
    repeated_prompts: Natural = 0
    """Evaluation prompts that repeat an earlier one."""
    shared_prompts: Natural = 0
    """Discovery prompts that the sets of earlier data seeds hold as well."""
    circuits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By the name of their raw outputs: what `Kept` says."""
    task_code: str = ""
    """A hash of the task's code, as `model_hash` is of the model's files."""
    smaller: Count = 1
    """Batches held so many times fewer prompts than memory should have allowed."""
    jobs: Count = 1
    """That ran at a time."""
    format: Count = FORMAT
    """Of the record."""

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Record:
        """What `asdict` gave, by this version or one before; what this one does not know is left out.

        Raises:
            ValueError: a field without a default is missing, or one holds what it cannot; in one line.
        """
        record = read(cls, stored)
        kept = read(_Circuits, {"circuits": record.circuits}).circuits
        return replace(record, circuits={name: asdict(circuit) for name, circuit in kept.items()})

    def row(self) -> dict[str, Any]:
        """What fits into the cells of a table, whose texts can be written as UTF-8."""
        known = {name: self.provenance[name] for name in PROVENANCE if name in self.provenance}
        told = known | asdict(self)
        cells = {name: value for name, value in told.items() if not isinstance(value, dict | list | tuple)}
        return {n: v.encode(errors="replace").decode() if isinstance(v, str) else v for n, v in cells.items()}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a record says of each circuit of its run."""

    size_requested: Share
    """Share of the edges that was asked for."""
    complement: str | None
    """The name of its raw outputs; None for a point of the curve alone."""
    edges_kept: Natural
    edges_filled: Natural = 0
    """Of these, edges by the method's scores where it named fewer than asked for."""
    edges_rewired: Natural = 0
    """In its null: as many edges of the same kinds and layers take the place of others."""
    effective_edges: Natural
    edge_sparsity: Share
    nodes_kept: Natural
    weight_density: Share
    effective_weight_density: Share
    curve: str = ""
    """Of a point of a curve, the ranking that it is cut from: absolute, or signed."""
    hash: str | None = None
    """Of the circuit's file (`Circuit.digest`), so that another in its place is noticed."""


@dataclass(frozen=True)
class _Circuits:
    circuits: Mapping[str, Kept]


def names_of(record: type) -> tuple[str, ...]:
    """The fields of a record, in order."""
    return tuple(each.name for each in fields(record))


def told_apart_by(record: type, told: Any) -> tuple[Any, ...]:
    """Of something that has a record's fields, their values."""
    return tuple(getattr(told, name) for name in names_of(record))
