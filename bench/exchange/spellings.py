"""How other programs spell our nodes; they all count keys and values per query head.

- ``mib``: the circuit track of MIB (Mueller et al. 2025, arXiv:2504.13151) and EAP-IG: ``input->a0.h3<q>``.
- ``autocircuit``: AutoCircuit (Miller et al. 2024): ``Resid Start->A0.3.Q``, ``MLP 0``, ``Resid End``.
- ``acdc``: ACDC (Conmy et al. 2023, arXiv:2304.14997) by TransformerLens's hooks and an index, as it prints
  its nodes: ``blocks.0.attn.hook_result[:, :, 3] -> blocks.1.hook_mlp_in[:]``.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.engine.graph import EdgeGraph, Node

OWN = "circuitmark"
LONGEST = 200
"""Most characters of an edge; no program's edges have half as many."""


@dataclass(frozen=True)
class Spelling:
    """Names with placeholders for a layer, a head and a port; ``last`` is the last layer."""

    embed: Mapping[str, str]
    head: str
    mlp: str
    port: str
    mlp_input: str
    logits: str

    def sender(self, node: Node) -> str:
        """A sender's name.

        Raises:
            ValueError: the program has no such node.
        """
        if node.kind == "embed":
            if node.name not in self.embed:
                raise ValueError(f"this format has no node '{node.name}': it has only one embedding")
            return self.embed[node.name]
        pattern = self.head if node.kind == "head" else self.mlp
        return pattern.format(layer=node.layer, head=node.head)

    def receiver(self, node: Node, graph: EdgeGraph) -> str:
        """A receiver's name."""
        if node.port is not None:
            return self.port.format(layer=node.layer, head=node.head, port=node.port, PORT=node.port.upper())
        pattern = self.logits if node.kind == "logits" else self.mlp_input
        return pattern.format(layer=node.layer, last=graph.n_layers - 1)


SPELLINGS = {
    "mib": Spelling(
        {"embed": "input"}, "a{layer}.h{head}", "m{layer}", "a{layer}.h{head}<{port}>", "m{layer}", "logits"
    ),
    "autocircuit": Spelling(
        {"embed": "Resid Start"}, "A{layer}.{head}", "MLP {layer}", "A{layer}.{head}.{PORT}", "MLP {layer}",
        "Resid End",
    ),
    "acdc": Spelling(
        {"embed": "blocks.0.hook_resid_pre[:]", "tok": "hook_embed[:]", "pos": "hook_pos_embed[:]"},
        "blocks.{layer}.attn.hook_result[:, :, {head}]", "blocks.{layer}.hook_mlp_out[:]",
        "blocks.{layer}.hook_{port}_input[:, :, {head}]", "blocks.{layer}.hook_mlp_in[:]",
        "blocks.{last}.hook_resid_post[:]",
    ),
}  # fmt: skip
_WITHIN = re.compile(r"blocks\.\d+\.(attn\.hook_(q|k|v|result)|hook_mlp_out)\[[^]]*\]")
"""Receivers of ACDC's edges within a head or an MLP; our graphs have no such edges."""


def is_within_a_node(edge: str) -> bool:
    """Whether an edge is one of ACDC's within a node, such as from a head's query to its output."""
    return _WITHIN.fullmatch(edge.partition("->")[2].strip()) is not None


def names_of(graph: EdgeGraph, spelling: str) -> tuple[list[str], list[str]]:
    """Senders and receivers of a graph, in order, as a program spells them.

    Raises:
        ValueError: the program has no name for one of them, or counts keys and values differently.
    """
    if spelling == OWN:
        return [node.name for node in graph.senders], [node.name for node in graph.receivers]
    if graph != graph.per_head:
        raise ValueError("this format counts keys and values per query head")
    kind = SPELLINGS[spelling]
    return list(map(kind.sender, graph.senders)), [kind.receiver(node, graph) for node in graph.receivers]


class Dictionary:
    """Looks up edges by the names that some programs give to a graph's nodes."""

    def __init__(self, graph: EdgeGraph, spellings: Iterable[str]) -> None:
        self.graph = graph
        self.senders: dict[str, int] = {}
        self.receivers: dict[str, int] = {}
        for spelling in spellings:
            senders, receivers = names_of(graph, spelling)
            self.senders |= {name: i for i, name in enumerate(senders)}
            self.receivers |= {name: i for i, name in enumerate(receivers)}
        self._widths = graph.widths.tolist()

    def sender(self, name: str) -> int:
        """The column of a sender.

        Raises:
            ValueError: it is not a sender of this graph.
        """
        return _found(name, self.senders, "sender")

    def edge(self, text: str) -> tuple[int, int]:
        """The (row, column) of an edge.

        Raises:
            ValueError: it is not an edge of this graph.
        """
        if len(text) > LONGEST:
            raise ValueError(f"an edge has at most {LONGEST} characters, not {len(text):,}")
        sender, arrow, receiver = (part.strip() for part in text.partition("->"))
        if not arrow:
            raise ValueError(f"{reprlib.repr(text)} is not an edge: write it as sender -> receiver")
        column = self.sender(sender)
        row = _found(receiver, self.receivers, "receiver")
        if column >= self._widths[row]:
            raise ValueError(f"'{text}' is not an edge: {sender} is computed after {receiver} is read")
        return row, column


def _found(name: str, table: Mapping[str, int], role: str) -> int:
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise ValueError(f"'{name[:LONGEST]}' is not a {role} of this model{hint}")
