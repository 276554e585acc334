"""Expands an experiment into jobs, each with a key: a hash of all that determines its result."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Interval, MaxLen

from bench.discovery.data import PROGRAM_TASK, check_for_program, shared_prompts
from bench.engine.ablation import ABLATIONS, AblationName
from bench.engine.device import check_device
from bench.engine.graph import KV
from bench.errors import UsageError
from bench.models.load import find_identified, program_of, remember
from bench.names import (
    MethodSpec,
    TaskSpec,
    by_nodes,
    choose_method,
    choose_task,
    get_task,
    parse_sizes,
    unknown,
)  # fmt: skip
from bench.runs.config import mapping_of
from bench.schema import read
from bench.scoring.cells import BASELINE
from bench.store.keys import code_of, engine, key_of, readable
from bench.store.record import Bos, Dimensions, EvaluatedSplit, Evaluation, Wordings, check_choices
from bench.study import Study
from tasks.base import Task
from tasks.files.task import FileTask
from tasks.mixed import Mixed

DRAWS = 10
"""Most random draws that share their processes."""
Several = MaxLen(1000)
Draws = Annotated[int, Interval(ge=1, le=10_000)]
Prompts = Annotated[int, Interval(ge=1, le=1_000_000)]
"""Far more than anyone needs: a typing error is reported before a list of that length is built."""


@dataclass(frozen=True)
class Experiment:
    """What is to be run: the keys of a configuration file, and the options of `circuitmark run`."""

    model: str = "embedded"
    tasks: Annotated[tuple[str, ...], Several] = ("ioi", "gt", "gp")
    methods: Annotated[tuple[str, ...], Several] = ("random_edges", "eap", "eap_ig")
    sizes: Annotated[tuple[str, ...], Several] = ("0.27%", "0.4%", "0.6%", "0.93%", "1.4%", "2.11%")
    ablations: Annotated[tuple[AblationName, ...], Several] = ("resample",)
    """The ablations under which circuits are scored."""
    discovery_ablations: Annotated[tuple[AblationName, ...], Several] = ()
    """The ablations that methods are given; every circuit is then scored under all of `ablations`. Empty:
    each circuit is found under the ablation that it is scored under."""
    data_seeds: Draws = 1
    """Number of discovery sets; every method runs on each."""
    method_seeds: Draws = 1
    """Number of runs, on each discovery set, of a method that draws at random."""
    evaluation_seed: Annotated[int, Interval(ge=0, le=2**31)] = 0
    """Seed of the evaluation prompts: 0 draws those that everybody is scored on, another number fresh
    ones."""
    random_draws: Draws = 20
    """Number of random connected circuits of every size. Complements are compared with theirs, and with few
    draws, whether one holds an important edge is chance; the tests against random circuits need 20."""
    n_discovery: Annotated[tuple[Prompts, ...], Several] = (200,)
    """Number of prompt pairs that methods see; with several numbers methods run once for each, which shows
    what more data gives and costs."""
    granularity: Literal["edge", "node"] = "edge"
    """Whether methods that rank edges cut their circuits by edges or by nodes (`selection=nodes`)."""
    wordings: Annotated[tuple[Wordings, ...], Several] = ("all",)
    """Wordings of the discovery prompts: all that methods may see, or one half of them; halves show what
    depends on the wording."""
    unaided: bool = False
    """Whether a method that needs further training for its unaided circuit runs it."""
    circuit_tests: bool = True
    """Whether edges of circuits of at most 100 edges are knocked out, to test whether each is needed."""
    curves: bool = True
    """Whether methods that rank edges are also scored at every share of a curve, for the areas (`cpr`,
    `cmd`): up to twenty more circuits."""
    n_evaluation: Prompts = 200
    """Number of prompt pairs on which circuits are scored."""
    split: EvaluatedSplit = "evaluation"
    """The split on which circuits are scored. A method's defaults are chosen on validation, never on
    evaluation."""
    dtype: str = "float32"
    split_embed: bool = False
    """Whether token and position embedding count as two senders; in compiled programs they always do."""
    kv: KV = "per_group"
    """Whether keys and values of grouped-query attention count once per group, as the model computes them, or
    per query head, as MIB counts; a circuit can be converted if the heads of each group agree."""
    device: str = "cpu"
    revision: str = ""
    """For a hub's model: a branch, a tag or a commit; its main branch if empty."""
    bos: Bos = "auto"
    """Whether prompts begin with the tokenizer's BOS: auto (as the tokenizer does by itself), yes or no."""

    @classmethod
    def from_file(cls, path: Path) -> Experiment:
        """Reads a YAML file whose keys are this class's fields.

        Raises:
            UsageError: the file does not exist, is not a YAML mapping, or has an unknown key or a wrong
                value.
        """
        values = mapping_of(path)
        known = {f.name: f for f in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise unknown(f"key of {path}", name, known)
            if isinstance(default := known[name].default, tuple):
                entries = value if isinstance(value, list) else [value]
                of_texts = not default or isinstance(default[0], str)
                values[name] = [_text(entry) if of_texts else entry for entry in entries]
            if name == "bos" and isinstance(value, bool):
                values[name] = "yes" if value else "no"  # YAML reads the words so
        try:
            return read(cls, values)
        except ValueError as error:
            raise UsageError(f"the configuration {path}: {error}") from error

    def check(self, here: bool = True) -> None:
        """Refuses what cannot be run, before anything is run.

        Args:
            here: whether it runs on this machine, whose devices are then checked.

        Raises:
            UsageError: an unknown ablation or dtype, or a number out of bounds.
        """
        for ablation in (*self.ablations, *self.discovery_ablations):
            if ablation not in ABLATIONS:
                raise unknown("ablation", ablation, ABLATIONS)
        for wordings in self.wordings:
            check_choices(wordings=wordings)
        check_choices(dtype=self.dtype, kv=self.kv, split=self.split, bos=self.bos)
        try:
            read(Experiment, asdict(self))
        except ValueError as error:
            raise UsageError(str(error)) from error
        for name in ("tasks", "methods", "ablations", "n_discovery", "wordings"):
            if not getattr(self, name):
                raise UsageError(f"'{name}' is empty: leave it out for its default")
        if here:
            check_device(self.device)

    def jobs(self, here: bool = True) -> list[Job]:
        """All jobs, tasks outermost; random connected circuits are always among them.

        Args:
            here: whether they run on this machine.

        Raises:
            UsageError, ModelError: a name, an option or a size is wrong.
        """
        self.check(here)
        sizes = parse_sizes(self.sizes)
        methods = [choose_method(self._cut(text)) for text in dict.fromkeys(self.methods)]
        if not any(map(is_baseline, methods)):
            methods.insert(0, choose_method(BASELINE["method"]))
        named: dict[tuple[str, str], str] = {}
        for method in methods:
            twin = named.setdefault((method.name, method.params), method.text)
            if twin != method.text:
                raise UsageError(f"'{twin}' and '{method.text}' are the same method: name it once")
        tasks = [(task, task_code(task.text)) for task in self._tasks()]
        codes = {method.text: code_of(*method.files) for method in methods}
        folder, identity = find_identified(self.model, self.revision)
        evaluation = Evaluation(
            n_evaluation=self.n_evaluation, split=self.split, dtype=self.dtype,
            evaluation_seed=self.evaluation_seed, bos=self.bos,
        )  # fmt: skip
        return [
            Job(
                model=self.model, revision=self.revision, folder=folder, model_hash=identity,
                task=task, task_code=code, method=method, method_code=codes[method.text], sizes=sizes,
                unaided=self.unaided, evaluation=evaluation, device=self.device,
                circuit_tests=self.circuit_tests and method.name != BASELINE["method"],
                curves=self.curves,
                dimensions=Dimensions(
                    model=model_name(self.model), task=task.label, split_embed=self.split_embed,
                    kv=self.kv, ablation=ablation, discovery_ablation=found_under,
                    method=method.name, params=method.params, n_discovery=n_discovery,
                    data_seed=data_seed, method_seed=method_seed, wordings=wordings,
                ),
            )
            for task, code in tasks
            for i, n_discovery in enumerate(dict.fromkeys(self.n_discovery))
            for method in methods
            if i == 0 or not is_baseline(method)  # random circuits need no data
            for wordings in self._wordings(method)
            for data_seed in range(1 if is_baseline(method) else self.data_seeds)
            for method_seed in range(self._runs(method))
            for found_under, ablation in self._ablations(method)
        ]  # fmt: skip

    def _cut(self, text: str) -> str:
        """The text of a method at the experiment's granularity; random circuits are always of edges."""
        if self.granularity == "edge" or is_baseline(choose_method(text)):
            return text
        return by_nodes(text)

    def _wordings(self, method: MethodSpec) -> tuple[Wordings, ...]:
        return ("all",) if is_baseline(method) else tuple(dict.fromkeys(self.wordings))

    def _ablations(self, method: MethodSpec) -> list[tuple[AblationName, AblationName]]:
        """Pairs of an ablation given to a method and one that its circuits are scored under."""
        scored = tuple(dict.fromkeys(self.ablations))
        if is_baseline(method) or not self.discovery_ablations:
            return [(each, each) for each in scored]
        return [(given, each) for given in dict.fromkeys(self.discovery_ablations) for each in scored]

    def _runs(self, method: MethodSpec) -> int:
        """Number of its runs on each discovery set."""
        if is_baseline(method):
            return self.random_draws
        return self.method_seeds if method.stochastic else 1

    def _tasks(self) -> list[TaskSpec]:
        if program_of(self.model) is None:
            chosen: dict[str, TaskSpec] = {}
            for text in self.tasks:
                task = choose_task(text)
                if (other := chosen.setdefault(task.label, task)).text != task.text:
                    raise UsageError(
                        f"'{other.text}' and '{task.text}' are both named '{task.label}': rename one"
                    )
            return list(chosen.values())
        if self.tasks not in (Experiment.tasks, (PROGRAM_TASK,)):
            raise UsageError(f"the model '{self.model}' brings its own task: leave -t out")
        for wordings in self.wordings:
            check_for_program(
                self.model, split=self.split, wordings=wordings, bos=self.bos, device=self.device
            )
        return [TaskSpec(PROGRAM_TASK, PROGRAM_TASK, 1)]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One method on one task of one model with one seed."""

    model: str
    """As typed."""
    revision: str = ""
    folder: Path | None = None
    """Where its files are; a program has none."""
    model_hash: str
    task: TaskSpec
    task_code: str
    """A hash of its code and file, as `model_hash` is of the model's files; empty for a program, which that
    covers."""
    method: MethodSpec
    method_code: str
    sizes: tuple[float, ...]
    unaided: bool = False
    circuit_tests: bool = True
    curves: bool = True
    dimensions: Dimensions
    """What tells its run apart from others."""
    evaluation: Evaluation
    """What it shares with the other runs of its folder."""
    device: str = "cpu"

    def __str__(self) -> str:
        return self.stem

    def study(self, smaller: int = 1) -> Study:
        """The study that it runs on, in batches that are `smaller` times smaller.

        Raises:
            TaskError, ModelError, ProgramFailed: as `Study`.
        """
        told = self.dimensions
        self.remember_model()
        return Study(
            self.model, self.task.text, ablation=told.ablation, discovery_ablation=told.discovery_ablation,
            n_discovery=told.n_discovery, data_seed=told.data_seed, wordings=told.wordings,
            split_embed=told.split_embed, kv=told.kv, **asdict(self.evaluation), device=self.device,
            revision=self.revision, smaller=smaller,
        )  # fmt: skip

    def shared_prompts(self) -> int:
        """Number of its discovery prompts that are also in the sets of earlier data seeds."""
        told = self.dimensions
        if not told.data_seed:
            return 0
        return shared_prompts(
            self.model, self.task.text, told.n_discovery, told.data_seed, told.wordings,
            self.evaluation.dtype, self.device, self.revision,
        )  # fmt: skip

    def remember_model(self) -> None:
        """Tells this process where the model is, as found by the one that made the job."""
        if self.folder:
            remember(self.model, self.revision, self.folder)

    @cached_property
    def discovered(self) -> Job:
        """The job that finds its circuits: itself, or the one scored under the ablation that the method is
        given."""
        given = self.dimensions.discovery_ablation
        return replace(self, dimensions=replace(self.dimensions, ablation=given))

    @cached_property
    def lineage(self) -> str:
        """The key without sizes, unaided circuit, tests and curves: runs of one lineage can share a table."""
        return replace(self, sizes=(), unaided=False, circuit_tests=False, curves=True).key

    @cached_property
    def key(self) -> str:
        """A hash of all that determines the result; hardware, time and commit do not count."""
        told = asdict(self.dimensions) | {"model": self.model_hash}  # whatever its name
        if told["kv"] == "per_group":  # the only one in older versions, whose results are not stale
            del told["kv"]
        made_of = [engine(), self.task_code, self.method_code, self.method.settings]
        wanted = [self.sizes, self.unaided, self.circuit_tests]
        wanted += [] if self.curves else ["no curves"]  # older versions had curves: not stale
        return key_of([made_of, told, asdict(self.evaluation), wanted, self.device])

    @cached_property
    def stem(self) -> str:
        """The name of its files: readable, and unique by the key."""
        told = self.dimensions
        seeds = [f"data{told.data_seed}" if told.data_seed else "", f"seed{told.method_seed}"]
        seeds += [told.wordings] if told.wordings != "all" else []
        words = [told.model, told.task, told.method, told.params, *seeds]
        name = "-".join(re.sub(r"[^\w.]+", "_", word) for word in words if word)
        return f"{readable(name)}-{self.key}"


def bundles(jobs: Iterable[Job]) -> list[tuple[Job, ...]]:
    """Jobs grouped and ordered as they are run: first methods, deterministic ones before others, each
    discovery alone in its process, whatever ablations its circuits are scored under; then random draws,
    several of a task together, as one costs less than its processes do. Short ones are last, so that no core
    waits long for another.
    """
    drawn: dict[Dimensions, list[Job]] = {}
    found: dict[Dimensions, list[Job]] = {}
    for job in jobs:
        if is_baseline(job.method):
            drawn.setdefault(replace(job.dimensions, method_seed=0), []).append(job)
        else:
            found.setdefault(job.discovered.dimensions, []).append(job)
    alone = sorted(map(tuple, found.values()), key=lambda bundle: bundle[0].method.stochastic)
    together = [draws[i : i + DRAWS] for draws in drawn.values() for i in range(0, len(draws), DRAWS)]
    return [*alone, *map(tuple, together)]


def task_code(text: str) -> str:
    """A hash of a task's code, and of the file that its prompts come from; empty for a program's."""
    return "" if text == PROGRAM_TASK else _code(get_task(text))


def _code(task: Task) -> str:
    code = code_of(Path(inspect.getfile(type(task))))
    if isinstance(task, Mixed):
        return key_of([code, *map(_code, task.tasks)])
    return key_of([code, task.content]) if isinstance(task, FileTask) else code


def model_name(model: str) -> str:
    """A model's name in tables: of a folder, its last part."""
    path = Path(model)
    return path.resolve().name if path.is_dir() else model


def _text(entry: Any) -> Any:
    """A number as text, for fields that hold texts: a size may be written as 0.05."""
    return str(entry) if type(entry) in (int, float) else entry


def is_baseline(method: MethodSpec) -> bool:
    """Whether it is the random circuits that every other method is compared with."""
    return {"method": method.name, "params": method.params} == BASELINE
