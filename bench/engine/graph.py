"""The computation graph of a decoder: what writes into the residual stream and what reads it.

A *sender* writes into the residual stream: the embedding, each attention head, each MLP.
A *receiver* reads it: the query, key and value inputs of each head, each MLP, the logits.
An *edge* ``sender -> receiver`` exists when the sender comes before the receiver. Only this module
spells and parses our node names.

It is not a graph of tensors or of token positions: an edge stands for one sender's contribution
to one receiver at every position (Conmy et al. 2023, arXiv:2304.14997, section 3).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from bench.schema import Count

Kind = Literal["embed", "head", "mlp", "logits"]
Port = Literal["q", "k", "v"]
KV = Literal["per_group", "per_head"]
"""How keys and values of grouped-query attention are counted: one per group, as the model computes them, or
one per query head, as in MIB."""

EMBEDDINGS = ("embed", "tok", "pos")
"""Names of embedding senders: token and position together, or each separately."""
_SPELLINGS = {
    "sender": re.compile(rf"(?P<embed>{'|'.join(EMBEDDINGS)})|a(?P<layer>\d+)\.h(?P<head>\d+)|m(?P<mlp>\d+)"),
    "receiver": re.compile(
        r"(?P<logits>logits)|a(?P<layer>\d+)\.h(?P<head>\d+)\.(?P<port>[qkv])|m(?P<mlp>\d+)"
    ),
}


@dataclass(frozen=True)
class Node:
    """One sender or receiver."""

    name: str
    """As users type it: ``embed``, ``a0.h3``, ``m0`` (senders); ``a0.h3.q``, ``m0``, ``logits``."""
    kind: Kind
    layer: int | None = None
    head: int | None = None
    """Head number; for k and v receivers of grouped-query attention, the KV head's number."""
    port: Port | None = None

    @property
    def block(self) -> str:
        """The name of what it is part of: the head's for q, k and v receivers, otherwise its own."""
        return _head_name(self.layer, self.head) if self.kind == "head" else self.name


@dataclass(frozen=True)
class EdgeGraph:
    """All edges of one model shape. Receivers are rows, senders are columns, in order of computation.

    The senders that a receiver reads are always a prefix of the columns (`widths`), because
    everything computed earlier stays in the residual stream; in a parallel block the MLP's prefix
    simply ends before the heads of its own layer.

    Raises:
        ValueError: the heads cannot be divided evenly among the KV heads.
    """

    n_layers: Count
    n_heads: Count
    n_kv_heads: Count
    parallel: bool = False
    """True when attention and MLP of a layer read the same residual stream (GPT-NeoX)."""
    split_embed: bool = False
    """True when token and position embedding are two senders, ``tok`` and ``pos``."""
    coupled_heads: bool = False
    """True when the heads of a layer share a norm of their outputs (Gemma-2's post-norm), so that each
    computes from the inputs of all."""

    def __post_init__(self) -> None:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"{self.n_heads} heads cannot share {self.n_kv_heads} KV heads evenly")

    @property
    def n_embed(self) -> int:
        """Number of embedding senders: 1, or 2 when token and position are separate."""
        return 2 if self.split_embed else 1

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of receivers and senders, without building them."""
        row = self.n_layers * (self.n_heads + 2 * self.n_kv_heads + 1)
        return row + 1, self.n_embed + self.n_layers * (self.n_heads + 1)

    @cached_property
    def senders(self) -> tuple[Node, ...]:
        """Columns of every edge matrix, in order of computation."""
        names = EMBEDDINGS[1:] if self.split_embed else EMBEDDINGS[:1]
        nodes = [Node(name, "embed") for name in names]
        for layer in range(self.n_layers):
            nodes += [Node(_head_name(layer, h), "head", layer, h) for h in range(self.n_heads)]
            nodes.append(Node(f"m{layer}", "mlp", layer))
        return tuple(nodes)

    @cached_property
    def receivers(self) -> tuple[Node, ...]:
        """Rows of every edge matrix, in order of computation; in a layer all q, then all k, then all v."""
        nodes: list[Node] = []
        for layer in range(self.n_layers):
            for port in get_args(Port):
                count = self.n_heads if port == "q" else self.n_kv_heads
                nodes += [
                    Node(f"{_head_name(layer, h)}.{port}", "head", layer, h, port) for h in range(count)
                ]
            nodes.append(Node(f"m{layer}", "mlp", layer))
        return (*nodes, Node("logits", "logits"))

    def head_columns(self, layer: int) -> slice:
        """The columns of a layer's heads; the next column is its MLP's."""
        start = self.n_embed + layer * (self.n_heads + 1)
        return slice(start, start + self.n_heads)

    @property
    def groups(self) -> list[slice]:
        """Columns of senders that are computed together: embeddings, a layer's heads, an MLP; in order."""
        heads = [self.head_columns(layer) for layer in range(self.n_layers)]
        layers = [part for each in heads for part in (each, slice(each.stop, each.stop + 1))]
        return [slice(0, self.n_embed), *layers]

    def attention_rows(self, layer: int) -> slice:
        """The rows of a layer's q, k and v receivers; the next row is its MLP's."""
        size = self.n_heads + 2 * self.n_kv_heads
        start = layer * (size + 1)
        return slice(start, start + size)

    @cached_property
    def widths(self) -> Int[Tensor, " receivers"]:
        """For each row, how many leading columns it reads."""
        widths = []
        for node in self.receivers:
            if node.layer is None:
                widths.append(len(self.senders))
                continue
            heads = self.head_columns(node.layer)
            after_heads = node.kind == "mlp" and not self.parallel
            widths.append(heads.stop if after_heads else heads.start)
        return torch.tensor(widths)

    @cached_property
    def exists(self) -> Bool[Tensor, "receivers senders"]:
        """True where an edge exists."""
        return torch.arange(len(self.senders)) < self.widths[:, None]

    @property
    def n_edges(self) -> int:
        """The number of edges; 32,491 for GPT-2 small, 32,936 with `split_embed`."""
        return int(self.widths.sum())

    @cached_property
    def owners(self) -> Int[Tensor, "receivers senders"]:
        """1 where the column's sender computes from the row's receiver (a head from its q, k, v).

        Under grouped-query attention several heads compute from one k or v receiver; coupled heads compute
        from every q, k and v of their layer. The row of ``logits`` is all zero: nothing computes from it.
        """
        owners = torch.zeros(len(self.receivers), len(self.senders), dtype=torch.long)
        column = {(n.kind, n.layer, n.head): i for i, n in enumerate(self.senders)}
        group = self.n_heads // self.n_kv_heads
        for row, node in enumerate(self.receivers):
            if node.kind == "mlp":
                owners[row, column["mlp", node.layer, None]] = 1
            elif node.kind == "head":
                assert node.head is not None
                heads = [node.head]
                if self.coupled_heads:
                    heads = list(range(self.n_heads))
                elif node.port != "q":
                    heads = list(range(node.head * group, (node.head + 1) * group))
                for head in heads:
                    owners[row, column["head", node.layer, head]] = 1
        return owners

    @cached_property
    def readers(self) -> Int[Tensor, "receivers senders"]:
        """`owners` as if heads were not coupled: 1 where the row's receiver belongs to the column's node."""
        return replace(self, coupled_heads=False).owners

    @property
    def shortest_path(self) -> int:
        """Edges on the shortest path from an embedding to the logits: a smaller circuit does nothing."""
        distance = torch.full((len(self.senders),), torch.inf)
        distance[: self.n_embed] = 0
        for exists, owned in zip(self.exists, self.owners.bool(), strict=True):
            reached = 1 + distance[exists].min() if exists.any() else torch.tensor(torch.inf)
            distance[owned] = distance[owned].minimum(reached)
        return int(reached)  # of the last row, the logits

    @cached_property
    def per_head(self) -> EdgeGraph:
        """The same with a key and a value input per query head; an equal graph if no heads share one."""
        return replace(self, n_kv_heads=self.n_heads)

    @cached_property
    def rows_per_head(self) -> Int[Tensor, " receivers"]:
        """For each row of `per_head`, the row of this graph that it stands for; ascending."""
        heads = torch.arange(self.n_heads)
        group = heads // (self.n_heads // self.n_kv_heads)
        size = self.n_heads + 2 * self.n_kv_heads
        layer = torch.cat([heads, self.n_heads + group, size - self.n_kv_heads + group, torch.tensor([size])])
        rows = (torch.arange(self.n_layers)[:, None] * (size + 1) + layer).flatten()
        return torch.cat([rows, torch.tensor([len(self.receivers) - 1])])

    @property
    def description(self) -> str:
        """How records describe the graph."""
        embed = "split" if self.split_embed else "joint"
        kv = "per_head" if self.n_kv_heads == self.n_heads else f"per_group_{self.n_kv_heads}"
        coupled = " heads=coupled" if self.coupled_heads else ""
        return f"edges={self.n_edges} embed={embed} kv={kv} parallel={str(self.parallel).lower()}{coupled}"

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {node.name: i for i, node in enumerate(self.senders)}

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {node.name: i for i, node in enumerate(self.receivers)}

    def edge_name(self, row: int, column: int) -> str:
        """An edge as text: ``a0.h3->m1``."""
        return f"{self.senders[column].name}->{self.receivers[row].name}"

    def parse_edge(self, text: str) -> tuple[int, int]:
        """The (row, column) of an edge given as text.

        Raises:
            ValueError: the text is not an edge, names a node that does not exist, or joins two nodes
                in the wrong order.
        """
        sender, receiver = _ends(text)
        column = _look_up(sender, self._columns, "sender")
        row = _look_up(receiver, self._rows, "receiver")
        if not self.exists[row, column]:
            raise ValueError(f"'{text}' is not an edge: {sender} is computed after {receiver} is read")
        return row, column


def edges_of_share(n_edges: int, share: float) -> int:
    """The number of edges in a share, from 0 to 1, of `n_edges`: int(share x edges), as MIB counts.

    Rounded to nine decimals first, so that 0.29 of 100 edges is 29 despite floating point.
    """
    return int(round(share * n_edges, 9))


def node_of(name: str, role: Literal["sender", "receiver"]) -> Node:
    """The node that a name spells, without looking it up in a graph.

    Raises:
        ValueError: no model has a node of that name in that role.
    """
    match = _SPELLINGS[role].fullmatch(name)
    if match is None:
        raise ValueError(
            f"'{name}' is not a {role}: senders are spelled like a0.h3 or m0, receivers like a0.h3.q or m0"
        )
    parts = match.groupdict()
    if parts["mlp"]:
        return Node(name, "mlp", int(parts["mlp"]))
    if parts["head"]:
        port: Any = parts.get("port")
        return Node(name, "head", int(parts["layer"]), int(parts["head"]), port)
    return Node(name, "embed" if role == "sender" else "logits")


def ends_of(edge: str) -> tuple[Node, Node]:
    """Sender and receiver of an edge given as text, without a graph: whether it exists is not checked.

    Raises:
        ValueError: the text is not an edge.
    """
    sender, receiver = _ends(edge)
    return node_of(sender, "sender"), node_of(receiver, "receiver")


def _ends(edge: str) -> tuple[str, str]:
    sender, arrow, receiver = (part.strip() for part in edge.partition("->"))
    if not arrow:
        raise ValueError(f"'{edge}' is not an edge: write it as sender->receiver, e.g. embed->m0")
    return sender, receiver


def _head_name(layer: int | None, head: int | None) -> str:
    return f"a{layer}.h{head}"


def _look_up(name: str, table: dict[str, int], role: str) -> int:
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise ValueError(f"'{name}' is not a {role} of this model{hint}")
