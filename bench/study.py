"""One model, one task, one ablation, both splits: runs a method and scores its circuits.

Notebooks use it directly; the jobs of an experiment and recovery on compiled programs are built on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Generator, Tensor

from bench.discovery.data import PROGRAM_TASK, Data, load_data
from bench.discovery.discover import cut, discover
from bench.discovery.problem import BenchProblem
from bench.engine.ablation import ABLATIONS, AblationName, Reference, make_reference
from bench.engine.circuit import Circuit
from bench.engine.graph import KV
from bench.engine.memory import memory_budget
from bench.errors import UsageError
from bench.models.load import program_of
from bench.names import as_method, parse_sizes, unknown
from bench.progress import Progressed, watched
from bench.scoring.evaluate import EMPTY, FULL, ONES, RawOutputs, run_circuits, score
from bench.scoring.knockouts import knock_out
from bench.scoring.rewired import rewired
from bench.scoring.tested import columns_of
from bench.store.record import Bos, EvaluatedSplit, Wordings
from methods.base import Batch, Discovery, Method

if TYPE_CHECKING:
    import pandas as pd

RANDOM, REWIRED = "random", "rewired"
"""Rows of null circuits: random connected ones, and ones with a fifth of their edges rewired."""


@dataclass(frozen=True, eq=False)
class Found(Mapping[float, Circuit]):
    """What a method found in a study: a circuit for each size requested, and what else the method
    returned."""

    circuits: Mapping[float, Circuit]
    discovery: Discovery
    """What the method returned, with its tensors on the host."""
    seconds: float
    """Time of discovery, including the caches that were filled for it."""
    unaided: Circuit | None
    """The circuit that the method settles on when no size is given."""

    def __getitem__(self, size: float) -> Circuit:
        return self.circuits[size]

    def __iter__(self) -> Iterator[float]:
        return iter(self.circuits)

    def __len__(self) -> int:
        return len(self.circuits)

    @property
    def scores(self) -> Tensor | None:
        """The method's ranking of edges, higher kept sooner; None where it has none."""
        return self.discovery.scores

    @property
    def trace(self) -> Mapping[str, Sequence[float]]:
        """Named series: losses, thresholds tried."""
        return self.discovery.trace


class Study:
    """One model, one task, one ablation: discovery prompts for methods, evaluation prompts for circuits.

    It works in this process and stores nothing. Nothing here keeps a method from changing the model or the
    prompts (`isolated` is False), so take the scores for a paper from `circuitmark run`.

    Args:
        model: ``embedded``, a folder, a GGUF file, a hub name, or ``tracr:PROGRAM``.
        task: a task's name or file, with options; leave it out for a compiled program, which brings its own.
        ablation: what removed edges carry when circuits are scored.
        discovery_ablation: what they carry in the method's problem; the same if left out.
        n_discovery: number of prompt pairs that a method sees.
        n_evaluation: number of prompt pairs on which circuits are scored.
        evaluation_seed: draws these pairs, independent of the other seeds: 0 those that everybody is scored
            on, another number fresh ones.
        split: the split that they come from: evaluation, or validation for choosing a method's options.
        data_seed: draws the discovery prompts.
        wordings: the wordings of the discovery prompts: all that methods may see, or one half of them.
        dtype: float32, float64 or bfloat16.
        split_embed: whether token and position embedding count as two senders.
        kv: how keys and values of grouped-query attention are counted: per group, or per query head.
        device: where the model runs.
        smaller: factor by which batches are made smaller than memory should allow.
        revision: for a hub's model: a branch, a tag or a commit; its main branch if left out.
        bos: whether prompts begin with the tokenizer's BOS: auto (as the tokenizer does by itself), yes or
            no.

    Raises:
        UsageError: an unknown task, ablation or the like; a revision of a model that is not a hub's.
        ModelError: the model is not available, or not supported.
        TaskError: its tokenizer does not support the task.
    """

    isolated = False
    """Whether methods run in a process apart from the one that scores them."""

    def __init__(
        self,
        model: str = "embedded",
        task: str | None = None,
        *,
        ablation: AblationName = "resample",
        discovery_ablation: AblationName | None = None,
        n_discovery: int = 200,
        n_evaluation: int = 200,
        evaluation_seed: int = 0,
        split: EvaluatedSplit = "evaluation",
        data_seed: int = 0,
        wordings: Wordings = "all",
        dtype: str = "float32",
        split_embed: bool = False,
        kv: KV = "per_group",
        device: str = "cpu",
        smaller: int = 1,
        revision: str = "",
        bos: Bos = "auto",
    ) -> None:
        data = load_data(
            model, _task_of(model, task), n_discovery=n_discovery, n_evaluation=n_evaluation,
            evaluation_seed=evaluation_seed, split=split, data_seed=data_seed, wordings=wordings,
            dtype=dtype, split_embed=split_embed, kv=kv, device=device, smaller=smaller,
            revision=revision, bos=bos,
        )  # fmt: skip
        self._set(data, ablation, discovery_ablation)

    def blind(self) -> Study:
        """The same study without the evaluation prompts, for the process of a method; it cannot score."""
        return Study.on(self.data.blind(), self.ablation, self.discovery_ablation)

    @classmethod
    def on(
        cls, data: Data, ablation: AblationName = "resample", discovery_ablation: AblationName | None = None
    ) -> Study:
        """A study of data that is already loaded.

        Args:
            data: a model and its prompts, as `load_data` returns them.
            ablation: what removed edges carry when circuits are scored.
            discovery_ablation: what they carry in the method's problem; the same if left out.

        Raises:
            UsageError: there is no such ablation.
        """
        study = cls.__new__(cls)
        study._set(data, ablation, discovery_ablation)
        return study

    def _set(self, data: Data, ablation: AblationName, discovery_ablation: AblationName | None) -> None:
        for name in (ablation, discovery_ablation or ablation):
            if name not in ABLATIONS:
                raise unknown("ablation", name, ABLATIONS)
        self.data = data
        self.model = data.model
        self.graph = data.model.graph
        self.ablation: AblationName = ablation
        self.discovery_ablation: AblationName = discovery_ablation or ablation

    def reference(self, ablation: AblationName, batches: Sequence[Batch] | None = None) -> Reference:
        """What removed edges carry; means are taken over the discovery prompts."""
        return make_reference(self.model, ablation, batches or self.data.discovery, self.data.one_length)

    def problem(
        self,
        sizes: Sequence[float | str] = (),
        *,
        unaided: bool = True,
        method_seed: int = 0,
        progress: Progressed | None = None,
        checkpoint: Path | None = None,
    ) -> BenchProblem:
        """What a method is given: never the evaluation prompts.

        Args:
            sizes: sizes of the circuits requested, as shares of edges: 0.05 or "5%".
            unaided: whether the circuit that a method settles on is wanted, even if the method needs
                further training for it.
            method_seed: seed of whatever the method draws.
            progress: called with how far the method is.
            checkpoint: a file in which a long discovery saves its state.
        """
        return BenchProblem(
            self.model, self.data.discovery, self.data.measure,
            lambda batches: self.reference(self.discovery_ablation, batches),
            parse_sizes(sizes) if sizes else (), method_seed, unaided=unaided,
            memory_budget=memory_budget(self.model.device), progress=progress, checkpoint=checkpoint,
        )  # fmt: skip

    def discover(
        self,
        method: str | Method | type[Method],
        sizes: Sequence[float | str] = (0.01, 0.02, 0.05, 0.1, 0.2),
        *,
        unaided: bool = True,
        method_seed: int = 0,
        progress: Progressed | None = None,
    ) -> Found:
        """Runs a method on the discovery prompts.

        Args:
            method: as typed (``eap_ig:steps=10``, ``my_method.py``), or a class or an instance of `Method`,
                which may be defined in a notebook's cell.
            sizes: sizes of the circuits requested, as shares of edges: 0.05 or "5%".
            unaided: whether the circuit that the method settles on is wanted, even if the method needs
                further training for it.
            method_seed: seed of whatever the method draws.
            progress: called with how far the method is; if left out, a bar is shown in a terminal or a
                notebook.

        Raises:
            UsageError: there is no such method or size.
            Declined: the method declines the problem.
            TypeError, ValueError: what it returned is not a valid discovery.
        """
        wanted = parse_sizes(sizes)
        with watched(progress) as told:
            problem = self.problem(wanted, unaided=unaided, method_seed=method_seed, progress=told)
            found, seconds = discover(as_method(method), problem)
        settled = None if found.unaided is None else Circuit(self.graph, found.unaided)
        return Found(cut(self.graph, found, wanted), found, seconds, settled)

    def outputs(
        self,
        circuits: Mapping[str, Circuit],
        *,
        reference: Reference | None = None,
        progress: Progressed | None = None,
    ) -> RawOutputs:
        """Raw outputs of circuits at every answer of the evaluation prompts, beside `full`, `empty` and
        `ones`.

        Args:
            circuits: by name, other than those three.
            reference: what removed edges carry; that of the study's ablation if left out.
            progress: called after each batch; if left out, no bar is shown.
        """
        asked = self.data.evaluation
        return run_circuits(self.model, asked.batches, asked.template, circuits,
                            reference or self.reference(self.ablation), progress, asked.held_out)  # fmt: skip

    def evaluate(
        self,
        circuits: Circuit | Mapping[Any, Circuit],
        *,
        random_draws: int = 20,
        rewire: bool = False,
        tests: bool = False,
        progress: Progressed | None = None,
    ) -> pd.DataFrame:
        """Scores circuits on the evaluation prompts.

        Each has a row; then follow the full model, the empty circuit, the mask of ones (the model run with
        every edge kept: the noise floor), and random connected circuits of each size.

        Args:
            circuits: one, or several by size or by name.
            random_draws: number of random circuits per size, 0 for none. Their row has their means and
                Student's 95 % intervals over the draws; other rows' intervals are bootstrapped over the
                prompts.
            rewire: whether to add, at the end, a row for each circuit with some of its edges rewired.
            tests: whether to add the columns of the tests of a circuit, except those against random circuits.
                For a small circuit this takes hundreds of runs on a few prompts.
            progress: called with how far it is; if left out, a bar is shown in a terminal or a notebook.

        Returns:
            A table whose columns `circuitmark list metrics` describes; `circuit` names the row's circuit.

        Raises:
            UsageError: a circuit belongs to another graph.
        """
        import pandas as pd

        named = circuits if isinstance(circuits, Mapping) else {"circuit": circuits}
        for name, circuit in named.items():
            if circuit.graph != self.graph:
                raise UsageError(
                    f"the circuit '{name}' belongs to another graph ({circuit.graph.description}); "
                    f"this study's is {self.graph.description}"
                )
        drawn = {n: self._random(n, random_draws) for n in dict.fromkeys(map(len, named.values()))}
        nulls = [rewired(each, Generator().manual_seed(0)) for each in named.values()] if rewire else []
        runs: dict[str, Circuit] = {}
        for i, circuit in enumerate(named.values()):
            runs |= {f"{i}": circuit, f"not {i}": circuit.complement()}
        for i, circuit in enumerate(nulls):
            runs |= {f"{REWIRED} {i}": circuit, f"not {REWIRED} {i}": circuit.complement()}
        for n, others in drawn.items():
            for i, circuit in enumerate(others):
                runs |= {f"{n} {i}": circuit, f"not {n} {i}": circuit.complement()}
        reference = self.reference(self.ablation)
        with watched(progress) as told:
            raw = self.outputs(runs, reference=reference, progress=told)
        tested = self._tests(raw, list(named.values()), reference) if tests else [{} for _ in named]

        def row(run: str, complement: str, circuit: Circuit) -> dict[str, int | float]:
            counts = {"edges_kept": len(circuit), "effective_edges": len(circuit.effective(self.ablation))}
            return {**counts, **score(raw, run, complement, self.data.measure)}

        rows: list[dict[str, Any]] = [
            {"circuit": name, **row(f"{i}", f"not {i}", circuit), **tested[i]}
            for i, (name, circuit) in enumerate(named.items())
        ]
        rows.append({"circuit": FULL, **row(FULL, EMPTY, Circuit.full(self.graph))})
        rows.append({"circuit": EMPTY, **row(EMPTY, FULL, Circuit.empty(self.graph))})
        rows.append({"circuit": ONES, **row(ONES, EMPTY, Circuit.full(self.graph))})
        for n, others in drawn.items():
            scored = pd.DataFrame([row(f"{n} {i}", f"not {n} {i}", c) for i, c in enumerate(others)])
            if len(scored):
                rows.append({"circuit": RANDOM, **_over_draws(scored)})
        for i, circuit in enumerate(nulls):
            rows.append({"circuit": REWIRED, **row(f"{REWIRED} {i}", f"not {REWIRED} {i}", circuit)})
        return pd.DataFrame(rows).assign(isolated=self.isolated)

    def _tests(
        self, raw: RawOutputs, circuits: Sequence[Circuit], reference: Reference
    ) -> list[dict[str, float | str]]:
        """Test columns of circuits, which the outputs know by number, in order."""
        measure = self.data.measure
        named = {f"{i}": circuit for i, circuit in enumerate(circuits)}
        knocked = knock_out(self.model, self.data.evaluation.batches, raw, named, reference, measure)
        return [
            columns_of(raw, i, f"not {i}", measure, knocked.get(i), len(circuit))
            for i, circuit in named.items()
        ]

    def _random(self, n_edges: int, draws: int) -> list[Circuit]:
        """Random connected circuits with this many edges; none if only one circuit has that size."""
        share = n_edges / self.graph.n_edges
        seeds = range(draws) if 0 < share < 1 else ()
        silent = lambda *_: None  # noqa: E731  # a bar for each would flicker
        return [
            self.discover("random_edges", (share,), method_seed=seed, progress=silent)[share]
            for seed in seeds
        ]


def _task_of(model: str, task: str | None) -> str:
    """The task to use.

    Raises:
        UsageError: a program was given a task, or another model none.
    """
    if program_of(model) is None:
        if task is None:
            raise UsageError(f"the model '{model}' needs a task: see circuitmark list tasks")
        return task
    if task not in (None, PROGRAM_TASK):
        raise UsageError(f"the model '{model}' brings its own task: leave '{task}' out")
    return PROGRAM_TASK


def _over_draws(scored: pd.DataFrame) -> dict[str, float]:
    """Means over random circuits; a score's interval becomes Student's over the draws."""
    from scipy.stats import t

    row = {str(name): float(mean) for name, mean in scored.mean().items()}
    reach = scored.sem() * (float(t.ppf(0.975, len(scored) - 1)) if len(scored) > 1 else float("nan"))
    for name in [name for name in row if f"{name}_low" in row]:
        row |= {f"{name}_low": row[name] - reach[name], f"{name}_high": row[name] + reach[name]}
    return row
