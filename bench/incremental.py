"""The masked forward, run again only past a touched receiver: what ACDC lives on.

A run stands at a set of kept edges and remembers every sender's output. Asked for the logits without a few
more edges of one receiver, it computes again only what those reach by kept edges, and only at the answers'
positions where nothing that is kept reads elsewhere. `MaskedModel.run` under the smaller mask is the slow
reference (`tests/test_incremental.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bench import blocks
from bench.masked_model import MaskedModel

NOWHERE, ANSWERS, EVERYWHERE = 0, 1, 2
"""Where a node's output is wanted: by nobody, at the answers' positions, at all positions."""


@dataclass
class _Read:
    """Inputs of some receivers as sums over what moves and what does not."""

    rows: list[int]
    everywhere: bool
    constant: Float[Tensor, "rows batch pos d_model"]
    """All that does not move: references, biases, and kept senders out of reach."""
    mixing: Float[Tensor, "rows slots"]
    """1 where the row keeps an edge from what moved so far."""


@dataclass
class _Stage:
    """Nodes of one layer that are computed together."""

    name: str
    """As weights are named: ``a3``, ``m3`` or ``logits``."""
    columns: list[int]
    everywhere: bool
    reads: list[_Read]
    """What moves: of an MLP or the logits one; of heads the queries', then the keys' and values'."""
    heads: Tensor | None = None
    """Which of the layer's."""
    still: tuple[Tensor, Tensor, Tensor] | None = None
    """Queries, keys and values of these heads, right where their inputs do not move."""


@dataclass
class _Plan:
    """What is computed again when the input of one receiver changes, in order."""

    row: int
    stages: list[_Stage] = field(default_factory=list)
    everywhere: list[int] = field(default_factory=list)
    """The senders that move and are wanted everywhere; each has a slot."""
    moved: list[int] = field(default_factory=list)
    """All senders that move; each has a slot for the answers' positions."""


class IncrementalRun:
    """One batch of prompts under a shrinking set of edges.

    It is not differentiable, and takes neither weight masks nor edge masks between 0 and 1. Where an example
    has several answers, or none, every position counts as an answer's.
    """

    def __init__(
        self,
        model: MaskedModel,
        tokens: Int[Tensor, "batch pos"],
        edges: Bool[Tensor, "receivers senders"],
        reference: Float[Tensor, "senders #batch #pos d_model"] | None,
        answers: tuple[Int[Tensor, " answer"], Int[Tensor, " answer"]],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> None:
        self.model, self.graph, self.arch = model, model.graph, model.architecture
        self.kept = edges.cpu() & self.graph.exists
        self._answers = answers
        self._examples = torch.arange(len(tokens), device=tokens.device)
        single = torch.equal(answers[0], self._examples)
        self._at = answers[1] if single else None
        self._delta = model.deltas(tokens, edges, reference, lengths)
        """What each sender writes, less its reference; right wherever it is wanted."""
        self._delta_at = self._pick(self._delta)
        self._reference = reference
        if reference is None:
            self._reference = self._delta.new_zeros(len(self._delta), 1, 1, 1)
        self._bias = model.attention_bias(tokens.shape[1], lengths)
        self._bases = self._sum_references()
        self._plan: _Plan | None = None
        self._chain: list[int] = []
        self._slots: tuple[Tensor, Tensor] | None = None  # what the last chain computed
        self._memory: dict[bool, Tensor] = {}

    @property
    def nbytes(self) -> int:
        """Bytes kept between chains."""
        return self._delta.nbytes + self._delta_at.nbytes + self._bases.nbytes

    @torch.no_grad()
    def without(self, row: int, columns: Sequence[int]) -> Float[Tensor, "chain answer vocab"]:
        """Logits without columns[:1], without columns[:2], ... of what a receiver reads."""
        masks = self.kept[row].repeat(len(columns), 1)
        for i, column in enumerate(columns):
            masks[i:, column] = False
        logits = self._evaluate(row, masks)
        self._chain = list(columns)
        return logits

    @torch.no_grad()
    def shrink(self, edges: Bool[Tensor, "receivers senders"]) -> bool:
        """Moves on to fewer edges; False, and nothing done, where a run from the start is less work.

        It costs nothing where the edges that go begin the chain that `without` was just asked for.
        """
        edges = edges.cpu()
        gone = self.kept & ~edges
        rows = gone.any(1).nonzero()[:, 0].tolist()
        if (edges & ~self.kept & self.graph.exists).any() or len(rows) > 1 + len(self.kept) // 8:
            return False
        for row in reversed(rows):  # an upper node first: below it, what fed it alone no longer matters
            self._remove(row, gone[row])
        return True

    def _remove(self, row: int, gone: Bool[Tensor, " senders"]) -> None:
        plan, variant = self._planned(row), int(gone.sum()) - 1
        mask = self.kept[row] & ~gone
        if plan.moved:
            if set(self._chain[: variant + 1]) != set(gone.nonzero()[:, 0].tolist()):
                self._evaluate(row, mask[None])
                variant = 0
            assert self._slots is not None
            everywhere, at = self._slots
            self._delta[plan.everywhere] = everywhere[:, variant]
            self._delta_at[plan.moved] = at[:, variant]
        self.kept[row] = mask
        self._chain = []

    def variants_within(self, row: int, nbytes: int) -> int:
        """How long a chain of removals takes about so many bytes; at least 1."""
        plan, (batch, pos, d) = self._planned(row), self._delta.shape[1:]
        at = 1 if self._at is not None else pos
        reads = [read for stage in plan.stages for read in stage.reads]
        widest = max(len(read.rows) * (pos if read.everywhere else at) for read in reads)
        slots = len(plan.everywhere) * pos + len(plan.moved) * at
        floats = batch * (d * (slots + 3 * widest) + 3 * pos * self.arch.d_mlp)
        floats += 4 * len(self._answers[0]) * self.arch.d_vocab
        return max(1, nbytes // (floats * self._delta.element_size()))

    # ---- running a plan

    def _evaluate(self, row: int, masks: Bool[Tensor, "chain senders"]) -> Float[Tensor, "chain answer vocab"]:
        plan, n = self._planned(row), len(masks)
        batch, pos, d = self._delta.shape[1:]
        whole = self._borrow(True, (len(plan.everywhere), n, batch, pos, d))
        at = whole
        if self._at is not None:
            at = self._borrow(False, (len(plan.moved), n, batch, 1, d))
        self._slots = whole, at
        done_whole, done = 0, 0
        for stage in plan.stages[:-1]:
            inputs = [self._read(read, plan.row, masks) for read in stage.reads]
            out = self._heads(stage, inputs, n) if stage.heads is not None else self._mlp(stage, inputs[0])
            out = out.view(len(stage.columns), n, batch, -1, d)
            here = self._reference_of(stage)
            slots = slice(done, done := done + len(stage.columns))
            if stage.everywhere:
                slots_whole = slice(done_whole, done_whole := done_whole + len(stage.columns))
                torch.sub(out, here, out=whole[slots_whole])
            if not stage.everywhere:
                torch.sub(out, here, out=at[slots])
            elif self._at is not None:
                at[slots] = self._pick(whole[slots_whole])
        (x,) = self._read(plan.stages[-1].reads[0], plan.row, masks).view(1, n, batch, -1, d)
        x = x[:, :, 0] if self._at is not None else x[:, self._answers[0], self._answers[1]]
        return blocks.logits(self.arch, self.model.weights, x)

    def _read(self, read: _Read, touched: int, masks: Tensor) -> Float[Tensor, "rows chain*batch pos d_model"]:
        n, slots = len(masks), self._slots
        assert slots is not None
        x = read.constant[:, None].repeat(1, n, 1, 1, 1)
        width = read.mixing.shape[1]
        if width and read.rows:
            x.view(len(x), -1).addmm_(read.mixing, slots[0 if read.everywhere else 1][:width].flatten(1))
        if touched in read.rows:
            x[read.rows.index(touched)] = self._sum(masks, touched, read.everywhere)
        return x.flatten(1, 2)

    def _heads(self, stage: _Stage, inputs: list[Tensor], n: int) -> Tensor:
        start = self.graph.attention_rows(int(stage.name[1:])).start
        assert stage.heads is not None
        assert stage.still is not None
        at = None if stage.everywhere or self._at is None else self._at.repeat(n)
        bias = None if self._bias is None else self._bias.repeat(n, 1, 1)
        whole = [part.repeat(1, n, 1, 1) for part in stage.still]
        order = blocks.ports(self.arch, stage.heads)
        for read, x, places in zip(stage.reads, inputs, (at, None), strict=True):
            rows = torch.tensor(read.rows, dtype=torch.long) - start
            if not len(rows):
                continue
            parts = blocks.project(self.arch, self.model.weights, stage.name, x, rows, places)
            for to, port, part in zip(whole, order, parts, strict=True):
                if len(part):
                    to[torch.isin(port, rows)] = part
        everyone = len(stage.heads) == self.arch.n_heads
        heads = None if everyone else stage.heads
        return blocks.attend(self.arch, self.model.weights, stage.name, *whole, heads, bias, at)

    def _mlp(self, stage: _Stage, x: Tensor) -> Tensor:
        return blocks.mlp(self.arch, self.model.weights, stage.name, x)

    # ---- planning: what moves, where it is wanted, and what stays

    def _planned(self, row: int) -> _Plan:
        if self._plan is None or self._plan.row != row:
            self._plan, self._chain = self._make_plan(row), []
        return self._plan

    def _make_plan(self, row: int) -> _Plan:
        graph, plan = self.graph, _Plan(row)
        wanted = self._wanted()
        layer = graph.receivers[row].layer
        for layer in range(graph.n_layers if layer is None else layer, graph.n_layers):
            self._plan_heads(plan, layer, wanted)
            mlp_row, mlp = graph.attention_rows(layer).stop, graph.head_columns(layer).stop
            if wanted[mlp] > NOWHERE and (row == mlp_row or self.kept[mlp_row, plan.moved].any()):
                everywhere = bool(wanted[mlp] == EVERYWHERE)
                self._add(plan, _Stage(f"m{layer}", [mlp], everywhere, [self._split(plan, [mlp_row], everywhere)]))
        logits = self._split(plan, [len(graph.receivers) - 1], self._at is None)
        plan.stages.append(_Stage("logits", [], self._at is None, [logits]))
        return plan

    def _plan_heads(self, plan: _Plan, layer: int, wanted: Tensor) -> None:
        rows, columns = self.graph.attention_rows(layer), self.graph.head_columns(layer)
        hit = self.kept[rows][:, plan.moved].any(1)
        if rows.start <= plan.row < rows.stop:
            hit[plan.row - rows.start] = True
        moves = (self.graph.owners[rows, columns][hit].sum(0) > 0) & (wanted[columns] > NOWHERE)
        if not moves.any():
            return
        everywhere = bool(wanted[columns].max() == EVERYWHERE)
        heads = moves.nonzero()[:, 0]
        q, k, v = blocks.ports(self.arch, heads)
        kv = torch.cat([k, v])
        at = None if everywhere else self._at
        reads, projected = [], []
        for port, here, places in ((q, everywhere, at), (kv, True, None)):
            every = (rows.start + port).tolist()
            x = self._constant(every, here, [])
            projected.append(blocks.project(self.arch, self.model.weights, f"a{layer}", x, port, places))
            reads.append(self._split(plan, (rows.start + port[hit[port]]).tolist(), here))
        still = (projected[0][0], *projected[1][1:])
        stage = _Stage(f"a{layer}", (columns.start + heads).tolist(), everywhere, reads, heads, still)
        self._add(plan, stage)

    def _add(self, plan: _Plan, stage: _Stage) -> None:
        plan.stages.append(stage)
        plan.moved += stage.columns
        plan.everywhere += stage.columns if stage.everywhere else []

    def _split(self, plan: _Plan, rows: list[int], everywhere: bool) -> _Read:
        moved = plan.everywhere if everywhere else plan.moved
        mixing = self.kept[rows][:, moved].to(self._delta)
        return _Read(rows, everywhere, self._constant(rows, everywhere, plan.moved), mixing)

    def _constant(self, rows: list[int], everywhere: bool, moved: list[int]) -> Tensor:
        masks = self.kept[rows]
        masks[:, moved] = False
        inputs = [self._sum(mask[None], row, everywhere) for mask, row in zip(masks, rows, strict=True)]
        return torch.cat(inputs) if inputs else self._delta[:0]

    def _sum(
        self, masks: Bool[Tensor, "some senders"], row: int, everywhere: bool
    ) -> Float[Tensor, "some batch pos d_model"]:
        """A receiver's input under some masks of its edges, all from remembered outputs."""
        base, delta = self._bases[self._level(row)], self._delta
        if not everywhere:
            base, delta = self._pick(base.expand(delta.shape[1:])), self._delta_at
        columns = masks.any(0).nonzero()[:, 0]
        picked = delta[columns.to(delta.device)].flatten(1)
        summed = masks[:, columns].to(delta) @ picked
        return summed.view(len(masks), *delta.shape[1:]) + base

    def _wanted(self) -> Int[Tensor, " senders"]:
        """Where each sender's output is wanted; the heads of a layer that are, all alike."""
        graph = self.graph
        senders = self.kept[-1] * (EVERYWHERE if self._at is None else ANSWERS)
        for layer in reversed(range(graph.n_layers)):
            rows, heads = graph.attention_rows(layer), graph.head_columns(layer)
            senders = torch.maximum(senders, self.kept[rows.stop] * senders[heads.stop])
            live = senders[heads] > NOWHERE
            if not live.any():
                continue
            if graph.coupled_heads:
                live[:] = True
            most = senders[heads].max()
            senders[heads] = live * most
            for port, part in zip("qkv", blocks.ports(self.arch, live.nonzero()[:, 0]), strict=True):
                read = self.kept[rows][part].any(0)
                senders = torch.maximum(senders, read * (most if port == "q" else EVERYWHERE))
        return senders

    # ---- references

    def _sum_references(self) -> Float[Tensor, "levels #batch #pos d_model"]:
        """The references and biases that every receiver reads: before each attention, each MLP, the logits."""
        assert self._reference is not None
        reference, graph = self._reference, self.graph
        total = reference[: graph.n_embed].sum(0)
        levels = []
        for layer in range(graph.n_layers):
            heads = graph.head_columns(layer)
            levels.append(total)
            after = total + reference[heads].sum(0) + self.model.weights[f"a{layer}.b_O"]
            levels.append(total if graph.parallel else after)
            total = after + reference[heads.stop]
        levels = [level.expand(*self._reference.shape[1:3], self.arch.d_model) for level in (*levels, total)]
        return torch.stack(levels)

    def _level(self, row: int) -> int:
        node = self.graph.receivers[row]
        return 2 * self.graph.n_layers if node.layer is None else 2 * node.layer + (node.kind == "mlp")

    def _reference_of(self, stage: _Stage) -> Tensor:
        assert self._reference is not None
        reference = self._reference[stage.columns]
        if not stage.everywhere and reference.shape[2] > 1:
            reference = self._pick(reference.expand(-1, len(self._examples), -1, -1))
        return reference[:, None]

    def _pick(self, x: Float[Tensor, "*any batch pos d_model"]) -> Float[Tensor, "*any batch there d_model"]:
        """The answers' positions."""
        if self._at is None:
            return x
        return x[..., self._examples, self._at, :][..., None, :]

    def _borrow(self, everywhere: bool, shape: tuple[int, ...]) -> Tensor:
        """Memory used again from chain to chain, since fresh pages are slow."""
        size = torch.Size(shape).numel()
        if everywhere not in self._memory or self._memory[everywhere].numel() < size:
            self._memory[everywhere] = self._delta.new_empty(size)
        return self._memory[everywhere][:size].view(shape)
