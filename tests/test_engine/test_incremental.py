"""Incremental runs against the whole masked forward: every logit, on every shape, in any order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bench.engine.ablation import ABLATIONS, AblationName
from bench.engine.graph import EdgeGraph
from bench.engine.incremental import IncrementalRun
from bench.engine.masked_model import MaskedModel
from bench.engine.plan import ANSWERS, EVERYWHERE, where_wanted
from bench.models.bridge import masked_model
from bench.models.tiny import decoder
from decoders import GROUPED
from tiny_models import TRACR, close, random_model, seeded

SHAPES = ("GPT2", "Llama", "Llama per head", "GPTNeoX", "Gemma2", "Qwen3", "compiled")
"""Learned positions; grouped keys and values, per group and per head; parallel blocks; heads coupled by
a post-norm, soft caps; normed queries; attention both ways with token and position apart."""
EXAMPLES = torch.arange(4)
LENGTHS = torch.tensor([6, 4, 5, 3])
ONE_EACH = (EXAMPLES, LENGTHS - 1)
ANY = (torch.tensor([0, 0, 2, 3]), torch.tensor([1, 2, 1, 2]))
"""Two answers of one example, none of another."""


def make(kind: str) -> MaskedModel:
    if kind == "compiled":
        return random_model(TRACR)
    if kind.endswith(" per head"):
        return make(kind.removesuffix(" per head")).with_kv_per_head()
    options: dict[str, dict[str, Any]] = {
        "Llama": GROUPED,
        "GPTNeoX": {"use_parallel_residual": True},
        "Gemma2": {**GROUPED, "head_dim": 8},
        "Qwen3": {**GROUPED, "head_dim": 8},
    }
    return masked_model(decoder(kind, **options.get(kind, {})))


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest) -> MaskedModel:
    return make(request.param)


def prompts(model: MaskedModel) -> tuple[Tensor, Tensor]:
    shape = (2, len(EXAMPLES), int(LENGTHS.max()))
    clean, corrupted = torch.randint(model.architecture.d_vocab, shape, generator=seeded("prompts"))
    return clean, corrupted


def reference_of(model: MaskedModel, ablation: AblationName) -> Tensor | None:
    if ablation == "zero":
        return None
    senders = model.senders(prompts(model)[1], LENGTHS)
    return senders if ablation == "resample" else senders.mean((1, 2), keepdim=True)


class Twin:
    """An incremental run and the kept edges that it should stand at."""

    def __init__(
        self, model: MaskedModel, kept: Tensor, ablation: AblationName, answers: tuple[Tensor, Tensor]
    ):
        self.model, self.kept, self.answers = model, kept.clone(), answers
        self.clean, self.reference = prompts(model)[0], reference_of(model, ablation)
        self.run = IncrementalRun(model, self.clean, kept, self.reference, answers, LENGTHS)

    def slow(self, row: int, columns: list[int]) -> Tensor:
        kept = self.kept.to(self.model.dtype)
        kept[row, columns] = 0
        return self.model.run(self.clean, kept, self.reference, answers=self.answers, lengths=LENGTHS)

    def check(self, row: int, columns: list[int], start: int = 0) -> None:
        fast = self.run.without(row, columns, start)
        assert len(fast) == len(columns) - start
        for i, logits in enumerate(fast):
            close(logits, self.slow(row, columns[: start + i + 1]))

    def shrink(self, row: int, columns: list[int]) -> None:
        self.kept[row, columns] = False
        assert self.run.shrink(self.kept)


def some_columns(kept: Tensor, row: int, n: int, generator: torch.Generator) -> list[int]:
    columns = kept[row].nonzero()[:, 0]
    picked: list[int] = columns[torch.randperm(len(columns), generator=generator)][:n].tolist()
    return picked


@pytest.mark.parametrize("answers", [ONE_EACH, ANY], ids=["one_each", "any"])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_as_the_masked_forward_from_the_logits_back(
    model: MaskedModel, ablation: AblationName, answers: tuple[Tensor, Tensor]
) -> None:
    """Receivers last to first, as ACDC prunes: every row meets what the ones before left behind."""
    generator = seeded("back")
    twin = Twin(model, model.graph.exists, ablation, answers)
    for row in reversed(range(len(model.graph.receivers))):
        for _ in range(2):
            columns = some_columns(twin.kept, row, 3, generator)
            if columns:
                twin.check(row, columns)
                n = int(torch.randint(len(columns) + 1, (), generator=generator))
                twin.shrink(row, columns[:n])


@pytest.mark.parametrize("answers", [ONE_EACH, ANY], ids=["one_each", "any"])
def test_as_the_masked_forward_in_any_order(model: MaskedModel, answers: tuple[Tensor, Tensor]) -> None:
    """From a random circuit, receivers at random; removals not asked for before, of two rows at once."""
    generator = seeded("any")
    exists = model.graph.exists
    kept = (torch.rand(exists.shape, generator=generator) < 0.5) & exists
    twin = Twin(model, kept, "resample", answers)
    for row in torch.randint(len(exists), (25,), generator=generator).tolist():
        columns = some_columns(twin.kept, row, 3, generator)
        if columns:
            twin.check(row, columns, start=len(columns) - 1)
            other = (row + 3) % len(exists)
            twin.kept[other, some_columns(twin.kept, other, 1, generator)] = False
            twin.shrink(row, columns[:1] if row % 2 else columns)


def test_the_end_of_a_chain_knows_its_beginning() -> None:
    """A chain too long for the memory comes in pieces; each leaves out what the ones before did."""
    model = make("GPT2")
    twin = Twin(model, model.graph.exists, "resample", ONE_EACH)
    row, columns = len(model.graph.receivers) - 1, [7, 3, 5, 0, 1]
    for start in (2, 4):
        twin.check(row, columns, start)
    twin.shrink(row, columns[:3])  # decided by a piece that is no longer remembered
    twin.check(row - 1, [4, 2])


def test_refuses_to_grow() -> None:
    model = make("GPT2")
    kept = model.graph.exists.clone()
    kept[3, 0] = False
    run = IncrementalRun(model, prompts(model)[0], kept, None, ONE_EACH)
    assert not run.shrink(model.graph.exists)
    assert not run.shrink(torch.zeros_like(kept)), "so many rows at once are run anew"


@pytest.mark.parametrize("kind", SHAPES)
def test_what_does_not_lead_to_the_logits_is_wanted_nowhere(kind: str) -> None:
    graph = make(kind).graph
    for share in (0.1, 0.3, 1.0):
        kept = (torch.rand(graph.exists.shape, generator=seeded(kind)) < share) & graph.exists
        wanted = where_wanted(graph, kept, everywhere=False)
        assert set(wanted.nonzero()[:, 0].tolist()) == reached(graph, kept)
        assert where_wanted(graph, kept, everywhere=True).bool().equal(wanted.bool())
    assert wanted[-1] == ANSWERS, "only the logits read the last MLP"
    assert wanted[0] == EVERYWHERE, "every key and value reads the embedding"
    assert not where_wanted(graph, torch.zeros_like(kept), everywhere=False).any()


@pytest.mark.parametrize("kind", SHAPES)
def test_a_query_is_read_at_the_answers_a_key_or_value_everywhere(kind: str) -> None:
    """Of each receiver of the last layer, the only one that reads the embedding."""
    graph = make(kind).graph
    heads, rows = graph.head_columns(graph.n_layers - 1), graph.attention_rows(graph.n_layers - 1)
    for row in range(rows.start, rows.stop + 1):
        kept = torch.zeros_like(graph.exists)
        kept[-1, heads.start : heads.stop + 1] = True
        kept[row, 0] = True
        wanted = where_wanted(graph, kept, everywhere=False)
        everywhere = graph.receivers[row].port in ("k", "v")
        assert wanted[0] == (EVERYWHERE if everywhere else ANSWERS), graph.receivers[row].name


def reached(graph: EdgeGraph, kept: Tensor) -> set[int]:
    """The senders from which kept edges lead to the logits; the heads of a coupled layer go together."""
    found: set[int] = set(kept[-1].nonzero()[:, 0].tolist())
    while True:
        rows = graph.owners[:, sorted(found)].any(1)
        more = found | set(kept[rows].any(0).nonzero()[:, 0].tolist())
        if graph.coupled_heads:
            for layer in range(graph.n_layers):
                heads = set(range(graph.head_columns(layer).start, graph.head_columns(layer).stop))
                more |= heads if heads & more else set()
        if more == found:
            return found
        found = more
