"""A grid of models, tasks, methods and seeds -> jobs, each with a key that says what determines it."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from bench.ablation import ABLATIONS, Ablation
from bench.device import check_device
from bench.errors import UsageError
from bench.leaderboard import BASELINE
from bench.models.load import model_hash, program_of
from bench.names import get_method, get_task, params_of, parse_sizes, settings_of, unknown

NUMERICS = 1
"""Version of everything in `bench` that determines numbers. A golden-value test fails when they move."""

LEAVES = ("methods.", "tasks.")
DTYPES = ("float32", "float64", "bfloat16")
EvaluatedSplit = Literal["evaluation", "validation"]
PROGRAM_TASK = "tracr"
"""The task that a compiled program brings along: to say at every position what the program says."""


@dataclass(frozen=True)
class Experiment:
    """What is to be run, as a configuration file or the command line says it."""

    model: str = "embedded"
    tasks: tuple[str, ...] = ("ioi_t1", "ioi", "gt", "gp")
    methods: tuple[str, ...] = ("random_edges", "eap", "eap_ig")
    sizes: tuple[str, ...] = ("1%", "2%", "5%", "10%", "20%")
    ablation: Ablation = "resample"
    discovery_ablation: Ablation | Literal[""] = ""
    """What methods are given, where it is another than the one that circuits are scored under."""
    seeds: int = 1
    random_draws: int = 10
    """Seeds of the random connected circuits, when these are more. Completeness is read beside their
    complements', and whether one of them holds the edge that matters is a toss of a coin."""
    n_discovery: tuple[int, ...] = (200,)
    """Several are so many runs, to see what more data gives and costs."""
    n_evaluation: int = 200
    split: EvaluatedSplit = "evaluation"
    """On which circuits are scored. A method's defaults are chosen on validation, never on evaluation."""
    dtype: str = "float32"
    split_embed: bool = False
    """Count token and position embedding as two senders; compiled programs always do."""
    device: str = "cpu"

    @classmethod
    def from_file(cls, path: Path) -> Experiment:
        """Reads a YAML file whose keys are this class's fields.

        Raises:
            UsageError: the file is not there, is no YAML mapping, or has an unknown key.
        """
        import yaml

        try:
            values = yaml.safe_load(path.read_text())
        except OSError as error:
            raise UsageError(f"cannot read the configuration {path}: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise UsageError(f"the configuration {path} is no YAML: {reason}") from error
        if not isinstance(values, dict):
            raise UsageError(f"the configuration {path} is no list of 'key: value' lines")
        known = {f.name: f for f in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise unknown(f"key of {path}", str(name), known)
            default = known[name].default
            if isinstance(default, tuple):
                if value is None:
                    raise UsageError(f"'{name}' in {path} has no value")
                values[name] = _entries(value, type(default[0]), f"'{name}' in {path}")
            elif type(value) is not type(default):
                raise UsageError(f"'{name}' in {path} takes a {type(default).__name__}, not '{value}'")
        return cls(**values)

    def check(self) -> None:
        """Refuses what cannot be run, before anything is.

        Raises:
            UsageError: an unknown ablation or dtype, or a number below 1.
        """
        if self.ablation not in ABLATIONS:
            raise unknown("ablation", self.ablation, ABLATIONS)
        if self.discovery_ablation not in ("", *ABLATIONS):
            raise unknown("discovery_ablation", self.discovery_ablation, ABLATIONS)
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        if self.split not in get_args(EvaluatedSplit):
            raise unknown("split", self.split, get_args(EvaluatedSplit))
        check_device(self.device)
        for name in ("tasks", "methods", "n_discovery"):
            if not getattr(self, name):
                raise UsageError(f"no {name} are named: leave '{name}' out for the default ones")
        for name in ("seeds", "random_draws", "n_evaluation"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        if min(self.n_discovery) < 1:
            raise UsageError(f"n_discovery must be at least 1, not {min(self.n_discovery)}")

    def jobs(self) -> list[Job]:
        """All jobs, tasks outermost; random connected circuits are always among them.

        Raises:
            UsageError, ModelError: a name, an option or a size is wrong.
        """
        self.check()
        sizes = parse_sizes(self.sizes)
        specs = list(dict.fromkeys(self.methods))
        if not any(_is_baseline(spec) for spec in specs):
            specs.insert(0, BASELINE["method"])
        named: dict[tuple[str, str], str] = {}
        for spec in specs:
            method = get_method(spec)
            twin = named.setdefault((method.name, params_of(method)), spec)
            if twin != spec:
                raise UsageError(f"'{twin}' and '{spec}' are the same method: name it once")
        tasks = self._tasks()
        identity = model_hash(self.model)
        return [
            Job(self.model, identity, task, spec, seed, sizes, self.ablation,
                self.discovery_ablation or self.ablation, n_discovery, self.n_evaluation, self.split,
                self.dtype, self.split_embed, self.device)
            for task in tasks
            for i, n_discovery in enumerate(dict.fromkeys(self.n_discovery))
            for spec in specs
            if i == 0 or not _is_baseline(spec)  # random circuits need no data
            for seed in range(max(self.seeds, self.random_draws) if _is_baseline(spec) else self.seeds)
        ]  # fmt: skip

    def _tasks(self) -> tuple[str, ...]:
        if program_of(self.model) is None:
            for task in self.tasks:
                get_task(task)
            return tuple(dict.fromkeys(self.tasks))
        if self.tasks not in (Experiment.tasks, (PROGRAM_TASK,)):
            raise UsageError(f"the model '{self.model}' brings its own task: leave -t out")
        if self.split != "evaluation":
            raise UsageError(f"the model '{self.model}' has no {self.split} split: leave 'split' out")
        return (PROGRAM_TASK,)


@dataclass(frozen=True)
class Job:
    """One method on one task of one model with one seed."""

    model: str
    model_hash: str
    task: str
    method: str
    """As typed: a name or a file, with options."""
    seed: int
    sizes: tuple[float, ...]
    ablation: Ablation
    discovery_ablation: Ablation
    n_discovery: int
    n_evaluation: int
    split: EvaluatedSplit
    dtype: str
    split_embed: bool
    device: str = "cpu"

    def __str__(self) -> str:
        return self.stem

    @property
    def lineage(self) -> str:
        """The key but for the sizes: runs of one lineage can stand in one table, whatever their sizes."""
        return replace(self, sizes=()).key()

    def key(self) -> str:
        """A hash of all that determines the result; hardware, time and commit do not belong to it."""
        method = get_method(self.method)
        task: list[Any] = [self.task]
        if self.task != PROGRAM_TASK:
            cls = type(get_task(self.task))
            task += [cls.version, sources(cls)]
        parts: Mapping[str, Any] = {
            "numerics": NUMERICS,
            "model": self.model_hash,
            "task": task,
            "method": [method.name, settings_of(method), sources(type(method))],
            "seed": self.seed,
            "sizes": self.sizes,
            "ablation": self.ablation,
            "examples": [self.n_discovery, self.n_evaluation],
            "dtype": self.dtype,
            "split_embed": self.split_embed,
            **({} if self.discovery_ablation == self.ablation else {"discovered": self.discovery_ablation}),
            **({} if self.split == "evaluation" else {"split": self.split}),
            **({} if self.device == "cpu" else {"device": self.device}),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def stem(self) -> str:
        """The name of its files: readable, and unique by the key."""
        method = get_method(self.method)
        words = [self.model_name, self.task, method.name, params_of(method), f"seed{self.seed}"]
        readable = "-".join(re.sub(r"[^\w.]+", "_", word) for word in words if word)
        return f"{readable}-{self.key()}"

    @property
    def model_name(self) -> str:
        """How tables name the model: a folder by its last part."""
        path = Path(self.model)
        return path.resolve().name if path.is_dir() else self.model


def sources(cls: type) -> str:
    """A hash of the file that defines a class and of what it imports from the leaves and from beside it."""
    waiting, seen = [Path(inspect.getfile(cls)).resolve()], set()
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += _imported_files(file)
    digest = hashlib.sha256()
    for file in sorted(seen, key=lambda file: file.name):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _imported_files(file: Path) -> list[Path]:
    """The files of our leaves, and those in the file's own folder, that it imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            stem = f"{node.module}." if node.module else ""
            names += [stem.rstrip("."), *(f"{stem}{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    home = Path(__file__).parent.parent
    candidates = [home / f"{name.replace('.', '/')}.py" for name in names if name.startswith(LEAVES)]
    candidates += [file.parent / f"{name.replace('.', '/')}.py" for name in names if name]
    return [path.resolve() for path in candidates if path.is_file()]


def _entries(value: Any, kind: type, name: str) -> tuple[Any, ...]:
    """One value, or a list of them, as a key of a configuration takes them."""
    values = value if isinstance(value, list) else [value]
    if kind is not str and any(type(each) is not kind for each in values):
        raise UsageError(f"{name} takes {kind.__name__}s, not '{value}'")
    return tuple(map(kind, values))


def _is_baseline(spec: str) -> bool:
    method = get_method(spec)
    return {"method": method.name, "params": params_of(method)} == BASELINE
