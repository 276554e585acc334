"""The masked forward, recomputed only downstream of a touched receiver: what makes ACDC fast.

A run holds a set of kept edges and remembers every sender's output. For the logits without a few more edges
into one receiver, it recomputes only what those reach along kept edges, and only at the answers' positions
unless a kept edge reads the others. `MaskedModel.run` under the smaller mask is the slow reference
(`tests/test_engine/test_incremental.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bench.engine import blocks
from bench.engine.masked_model import MaskedModel
from bench.engine.plan import EVERYWHERE, NOWHERE, Plan, Port, Read, Stage, where_wanted


class IncrementalRun:
    """One batch of prompts under a shrinking set of edges.

    It is not differentiable, and takes neither weight masks nor fractional edge masks. If an example has
    several answers or none, every position counts as an answer's.
    """

    def __init__(
        self,
        model: MaskedModel,
        tokens: Int[Tensor, "batch pos"],
        edges: Bool[Tensor, "receivers senders"],
        reference: Float[Tensor, " senders #batch #pos d_model"] | None,
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
        """Each sender's output minus its reference; valid only where it is wanted."""
        self._delta_at = self._pick(self._delta)
        none = self._delta.new_zeros(len(self._delta), 1, 1, 1)
        self._reference = none if reference is None else reference
        self._bias = model.attention_bias(tokens.shape[1], lengths)
        self._bases = self._sum_references()
        self._plan: Plan | None = None
        self._chain: list[int] = []
        self._start = 0
        self._slots: tuple[Tensor, Tensor] | None = None  # what the last chain computed
        self._projected: dict[tuple[int, bool], Tensor] = {}
        """Queries, keys and values that do not move, by row and whether at all positions."""
        self._memory: dict[str, Tensor] = {}

    @property
    def nbytes(self) -> int:
        """Bytes held between chains."""
        held = [self._delta, self._delta_at, self._bases, *self._memory.values(), *self._projected.values()]
        for stage in self._plan.stages if self._plan else ():
            held += [read.constant for read in stage.reads] + [port.still for port in stage.ports]
        return sum(tensor.nbytes for tensor in held)

    @torch.no_grad()
    def without(
        self, row: int, columns: Sequence[int], start: int = 0
    ) -> Float[Tensor, "chain answer vocab"]:
        """Logits after removing columns[: start + 1], columns[: start + 2], ... from a receiver's input.

        The run's own edges stay; `shrink` removes them.

        Args:
            row: the receiver's row.
            columns: senders of kept edges, in order of removal.
            start: how many of them are removed in every variant; each of the others makes one variant.
        """
        plan = self._planned(row)
        x, delta = self._touched(plan), self._delta if plan.touched_everywhere else self._delta_at
        if start:
            x = x - delta[list(columns[:start])].sum(0)
        inputs = self._borrow("touched", (len(columns) - start, *x.shape))
        for i, column in enumerate(columns[start:]):
            x = torch.sub(x, delta[column], out=inputs[i])
        logits = self._evaluate(plan, inputs)
        self._chain, self._start = list(columns), start
        return logits

    @torch.no_grad()
    def without_each(self, row: int, columns: Sequence[int]) -> Float[Tensor, "column answer vocab"]:
        """Logits after removing each of some columns from a receiver's input, one at a time.

        Args:
            row: the receiver's row.
            columns: senders of kept edges.
        """
        plan = self._planned(row)
        x, delta = self._touched(plan), self._delta if plan.touched_everywhere else self._delta_at
        inputs = self._borrow("touched", (len(columns), *x.shape))
        for i, column in enumerate(columns):
            torch.sub(x, delta[column], out=inputs[i])
        self._chain = []
        return self._evaluate(plan, inputs)

    @torch.no_grad()
    def shrink(self, edges: Bool[Tensor, "receivers senders"]) -> bool:
        """Shrinks to fewer edges; False, with nothing done, if some are new or a fresh run is less work.

        It costs nothing if the removed edges are the first of the chain that `without` just computed.
        """
        edges = edges.cpu()
        gone = self.kept & ~edges
        rows = gone.any(1).nonzero()[:, 0].tolist()
        if (edges & ~self.kept & self.graph.exists).any() or len(rows) > 1 + len(self.kept) // 8:
            return False
        for row in reversed(rows):  # later nodes first: what fed only them no longer matters
            self._remove(row, gone[row])
        return True

    def _remove(self, row: int, gone: Bool[Tensor, " senders"]) -> None:
        plan, columns = self._planned(row), gone.nonzero()[:, 0].tolist()
        delta = self._delta if plan.touched_everywhere else self._delta_at
        plan.touched = self._touched(plan) - delta[columns].sum(0)
        self.kept[row] &= ~gone
        if plan.moved:
            variant = len(columns) - 1 - self._start
            if variant < 0 or set(self._chain[: len(columns)]) != set(columns):
                self._evaluate(plan, plan.touched[None])
                variant = 0
            assert self._slots is not None
            everywhere, at = self._slots
            self._delta[plan.everywhere] = everywhere[:, variant]
            self._delta_at[plan.moved] = at[:, variant]
            for moved in (row for stage in plan.stages for read in stage.reads for row in read.rows):
                self._projected.pop((moved, True), None)
                self._projected.pop((moved, False), None)
        self._chain = []

    def variants_within(self, row: int, nbytes: int) -> int:
        """How many removals at once take about `nbytes` bytes; at least 1."""
        plan, (batch, pos, d) = self._planned(row), self._delta.shape[1:]
        at = 1 if self._at is not None else pos
        reads = [read for stage in plan.stages for read in stage.reads]
        widest = max(len(read.rows) * (pos if read.everywhere else at) for read in reads)
        slots = len(plan.everywhere) * pos + len(plan.moved) * at
        floats = batch * (d * (slots + 3 * widest) + 3 * pos * self.arch.d_mlp)
        floats += 4 * len(self._answers[0]) * self.arch.d_vocab
        return max(1, nbytes // (floats * self._delta.element_size()))

    # ---- running a plan

    def _evaluate(
        self, plan: Plan, inputs: Float[Tensor, "chain batch pos d_model"]
    ) -> Float[Tensor, "chain answer vocab"]:
        """Runs a plan for some inputs of its receiver; fills the slots."""
        n, (batch, pos, d) = len(inputs), self._delta.shape[1:]
        whole = self._borrow("everywhere", (len(plan.everywhere), n, batch, pos, d))
        at = whole
        if self._at is not None:
            at = self._borrow("answers", (len(plan.moved), n, batch, 1, d))
        self._slots = whole, at
        done_whole, done = 0, 0
        for stage in plan.stages:
            reads = [self._read(read, plan.row, inputs) for read in stage.reads]
            if stage.name == "logits":
                break
            if stage.heads is None:
                out = blocks.mlp(self.arch, self.model.weights, stage.name, reads[0])
            else:
                out = self._heads(stage, reads, n)
            out = out.view(len(stage.columns), n, batch, -1, d)
            slots = slice(done, done := done + len(stage.columns))
            if stage.everywhere:
                slots_whole = slice(done_whole, done_whole := done_whole + len(stage.columns))
                torch.sub(out, self._reference_of(stage), out=whole[slots_whole])
            if not stage.everywhere:
                torch.sub(out, self._reference_of(stage), out=at[slots])
            elif self._at is not None:
                at[slots] = self._pick(whole[slots_whole])
        x = reads[0].view(n, batch, -1, d)
        x = x[:, :, 0] if self._at is not None else x[:, self._answers[0], self._answers[1]]
        return blocks.logits(self.arch, self.model.weights, x)

    def _read(self, read: Read, touched: int, inputs: Tensor) -> Float[Tensor, "rows run pos d_model"]:
        n, slots = len(inputs), self._slots
        assert slots is not None
        if read.rows == [touched]:
            return inputs[None].flatten(1, 2)
        x = read.constant[:, None].repeat(1, n, 1, 1, 1)
        width = read.mixing.shape[1]
        if width and read.rows:
            x.view(len(x), -1).addmm_(read.mixing, slots[0 if read.everywhere else 1][:width].flatten(1))
        if touched in read.rows:
            x[read.rows.index(touched)] = inputs
        return x.flatten(1, 2)

    def _heads(self, stage: Stage, reads: list[Tensor], n: int) -> Tensor:
        assert stage.heads is not None
        at = None if stage.everywhere or self._at is None else self._at.repeat(n)
        bias = None if self._bias is None else self._bias.repeat(n, 1, 1)
        projected = []
        for x, ports, places in zip(reads, (stage.ports[:1], stage.ports[1:]), (at, None), strict=True):
            rows = torch.cat([port.rows[port.moving] for port in ports])
            parts: Sequence[Tensor] = [x] * 3
            if len(rows):
                parts = blocks.project(self.arch, self.model.weights, stage.name, x, rows, places)
            for port, part in zip(ports, parts[:1] if len(ports) == 1 else parts[1:], strict=True):
                _, batch, pos, d_head = port.still.shape
                whole = port.still.new_empty(len(port.rows), n * batch, pos, d_head)
                if len(port.still):
                    whole[~port.moving] = port.still.repeat(1, n, 1, 1)
                if port.moving.any():
                    whole[port.moving] = part
                projected.append(whole)
        heads = None if len(stage.heads) == self.arch.n_heads else stage.heads
        q, k, v = projected
        return blocks.attend(self.arch, self.model.weights, stage.name, q, k, v, heads, bias, at)

    def _touched(self, plan: Plan) -> Float[Tensor, "batch pos d_model"]:
        if plan.touched is None:
            plan.touched = self._sum(self.kept[plan.row][None], plan.row, plan.touched_everywhere)[0]
        return plan.touched

    # ---- planning: what moves, where it is wanted, and what stays

    def _planned(self, row: int) -> Plan:
        if self._plan is None or self._plan.row != row:
            self._plan, self._chain = self._make_plan(row), []
        return self._plan

    def _make_plan(self, row: int) -> Plan:
        graph, plan = self.graph, Plan(row)
        wanted = where_wanted(graph, self.kept, everywhere=self._at is None)
        first = graph.receivers[row].layer
        for layer in range(graph.n_layers if first is None else first, graph.n_layers):
            self._plan_heads(plan, layer, wanted)
            mlp_row, mlp = graph.attention_rows(layer).stop, graph.head_columns(layer).stop
            if wanted[mlp] > NOWHERE and (row == mlp_row or self.kept[mlp_row, plan.moved].any()):
                everywhere = bool(wanted[mlp] == EVERYWHERE)
                self._add(
                    plan, Stage(f"m{layer}", [mlp], everywhere, [self._split(plan, [mlp_row], everywhere)])
                )
        last = self._split(plan, [len(graph.receivers) - 1], self._at is None)
        self._add(plan, Stage("logits", [], self._at is None, [last]))
        return plan

    def _plan_heads(self, plan: Plan, layer: int, wanted: Tensor) -> None:
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
        ports = [
            self._port(layer, q, hit[q], everywhere),
            *(self._port(layer, x, hit[x], True) for x in (k, v)),
        ]
        kv = torch.cat([k[hit[k]], v[hit[v]]])
        reads = [
            self._split(plan, (rows.start + moving).tolist(), here)
            for moving, here in ((q[hit[q]], everywhere), (kv, True))
        ]
        names = (columns.start + heads).tolist()
        self._add(plan, Stage(f"a{layer}", names, everywhere, reads, heads=heads, ports=ports))

    def _port(self, layer: int, rows: Tensor, moving: Tensor, everywhere: bool) -> Port:
        """A port of some heads; rows that do not move are projected once and remembered."""
        start, still = self.graph.attention_rows(layer).start, rows[~moving].tolist()
        new = [row for row in still if (start + row, everywhere) not in self._projected]
        if new:
            x = self._constant([start + row for row in new], everywhere, [])
            at = None if everywhere else self._at
            parts = blocks.project(self.arch, self.model.weights, f"a{layer}", x, torch.tensor(new), at)
            (part,) = (part for part in parts if len(part))
            self._projected |= {(start + row, everywhere): one for row, one in zip(new, part, strict=True)}
        known = [self._projected[start + row, everywhere] for row in still]
        pos = self._delta.shape[2] if everywhere else 1
        none = self._delta.new_empty(0, len(self._examples), pos, self.arch.d_head)
        return Port(rows, moving, torch.stack(known) if known else none)

    def _add(self, plan: Plan, stage: Stage) -> None:
        plan.stages.append(stage)
        plan.moved += stage.columns
        plan.everywhere += stage.columns if stage.everywhere else []

    def _split(self, plan: Plan, rows: list[int], everywhere: bool) -> Read:
        moved = plan.everywhere if everywhere else plan.moved
        if plan.row in rows:
            plan.touched_everywhere = everywhere
            distinct = rows
        else:  # rows with the same edges share one input
            distinct = rows[:1] if bool((self.kept[rows] == self.kept[rows[:1]]).all()) else rows
        mixing = self.kept[distinct][:, moved].to(self._delta)
        return Read(rows, everywhere, self._constant(distinct, everywhere, plan.moved), mixing)

    def _constant(self, rows: list[int], everywhere: bool, moved: list[int]) -> Tensor:
        """The part of the inputs of one block's rows that does not move; rows of equal masks share a sum."""
        if not rows:
            return self._delta[:0]
        masks = self.kept[rows]
        masks[:, moved] = False
        different, which = masks.unique(dim=0, return_inverse=True)
        return self._sum(different, rows[0], everywhere)[which]

    def _sum(
        self, masks: Bool[Tensor, "some senders"], row: int, everywhere: bool
    ) -> Float[Tensor, "some batch pos d_model"]:
        """A receiver's input under some masks of its edges, from remembered outputs."""
        base, delta = self._bases[self._level(row)], self._delta
        if not everywhere:
            base, delta = self._pick(base.expand(delta.shape[1:])), self._delta_at
        columns = masks.any(0).nonzero()[:, 0]
        if len(columns) == int(columns[-1:].sum()) + 1:  # a prefix: nothing to gather
            picked = delta[: len(columns)]
        else:
            picked = delta[columns.to(delta.device)]
        summed = masks[:, columns].to(delta) @ picked.flatten(1)
        return summed.view(len(masks), *delta.shape[1:]) + base

    # ---- references

    def _sum_references(self) -> Float[Tensor, " levels #batch #pos d_model"]:
        """Sums of the references and biases that receivers read: at each attention, each MLP, the logits."""
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

    def _reference_of(self, stage: Stage) -> Float[Tensor, "nodes 1 #batch #pos d_model"]:
        if stage.reference is None:
            reference = self._reference[stage.columns]
            if not stage.everywhere and reference.shape[2] > 1:
                reference = self._pick(reference.expand(-1, len(self._examples), -1, -1))
            stage.reference = reference[:, None]
        return stage.reference

    def _pick(self, x: Float[Tensor, "*any batch pos d_model"]) -> Float[Tensor, "*any batch there d_model"]:
        """x at the answers' positions."""
        if self._at is None:
            return x
        return x[..., self._examples, self._at, :][..., None, :]

    def _borrow(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Memory reused from chain to chain, since fresh pages are slow."""
        size = torch.Size(shape).numel()
        if name not in self._memory or self._memory[name].numel() < size:
            self._memory[name] = self._delta.new_empty(size)
        return self._memory[name][:size].view(shape)
