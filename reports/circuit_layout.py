"""Where the nodes and edges of circuits are drawn: a layered graph, read from the bottom up.

A row holds what is computed together: the embeddings, the heads of a layer, its MLP, the logits.
An edge that skips rows bends around the boxes between: in each row it has a place of its own (a
*bend*), as a box has, so that no edge runs through a box (Sugiyama et al. 1981). Lengths are inches.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reports.circuit_order import Item, Link, order_rows
from reports.circuit_places import spread_out

PITCH, WIDTH, HEIGHT = 0.86, 0.66, 0.4
"""From row to row; a box's sides."""
PORTS = {"q": -0.21, "k": 0.0, "v": 0.21}
"""Where a head's inputs are, from the middle of its box."""

_NODE = re.compile(r"(embed|tok|pos|logits)|m(\d+)|a(\d+)\.h(\d+)(?:\.([qkv]))?")
_EMBED = ("embed", "tok", "pos")
_LAST = 10**9

Point = tuple[float, float]


class Node(NamedTuple):
    """A node in order of computation: its row in the full model, its place there, name and port."""

    row: int
    place: int
    name: str
    port: str = ""


@dataclass(frozen=True)
class Layout:
    """The middle of each node's box, the points of each edge, and the size of the whole.

    An edge runs straight from an even point to the next (through a row) and swings from an odd one to
    the next (between two rows); it starts with a swing, so its first point is the sender's.
    """

    boxes: dict[str, Point]
    routes: dict[str, tuple[Point, ...]]
    width: float
    height: float


def read_edge(edge: str) -> tuple[Node, Node]:
    """Sender and receiver of an edge as text: `a0.h3->m1`, `tok->a1.h0.q`.

    ValueError: it is no edge, or the receiver is computed before the sender.
    """
    sender, arrow, receiver = edge.partition("->")
    one, two = _read_node(sender), _read_node(receiver)
    if not arrow or one is None or two is None or one.port or one.name == "logits" or two.name in _EMBED:
        raise ValueError(f"{edge!r} is no edge: write it as a0.h3->m1 or tok->a1.h0.q")
    if one.row >= two.row:
        raise ValueError(f"{edge!r} is no edge: {two.name} is not computed after {one.name}")
    return one, two


def _read_node(text: str) -> Node | None:
    match = _NODE.fullmatch(text)
    if not match:
        return None
    whole, mlp, layer, head, port = match.groups()
    if whole:
        return Node(_LAST, 0, whole) if whole == "logits" else Node(-1, _EMBED.index(whole), whole)
    if mlp:
        return Node(2 * int(mlp) + 1, 0, text)
    return Node(2 * int(layer), int(head), f"a{layer}.h{head}", port or "")


def lay_out(edges: Collection[str]) -> Layout:
    """Places for all nodes and edges; rows without a node are left out. The same edges, the same places.

    ValueError: as `read_edge`.
    """
    read = {edge: read_edge(edge) for edge in sorted(set(edges))}
    nodes = sorted({node._replace(port="") for pair in read.values() for node in pair})
    depth = {row: i for i, row in enumerate(sorted({node.row for node in nodes}))}
    boxes = {node.name: Item(depth[node.row], WIDTH / 2) for node in nodes}
    links = []
    for sender, receiver in read.values():
        last = boxes[sender.name]
        for row in range(depth[sender.row] + 1, depth[receiver.row]):
            links.append(Link(last, Item(row)))
            last = links[-1].upper
        links.append(Link(last, boxes[receiver.name], PORTS.get(receiver.port)))
    rows = order_rows([[box for box in boxes.values() if box.row == i] for i in range(len(depth))], links)
    spread_out(rows, links)
    return _measure(boxes, list(read), links, rows)


def _measure(
    boxes: dict[str, Item], edges: Sequence[str], links: Sequence[Link], rows: Sequence[Sequence[Item]]
) -> Layout:
    """From items with an x to points, the lower left corner of the whole at (0, 0)."""
    left = min((item.x - item.half for row in rows for item in row), default=0.0)
    right = max((item.x + item.half for row in rows for item in row), default=0.0)
    starts = _fan(boxes.values(), links, lower=True)
    ends = _fan(boxes.values(), links, lower=False)
    routes: dict[str, tuple[Point, ...]] = {}
    names, points = iter(edges), list[Point]()
    for link in links:
        bottom, top = (item.row * PITCH + HEIGHT / 2 for item in (link.lower, link.upper))
        points.append((link.lower.x + starts.get(link, 0.0) - left, bottom + HEIGHT / 2))
        points.append((link.upper.x + ends.get(link, 0.0) - left, top - HEIGHT / 2))
        if link.upper.is_box:
            routes[next(names)], points = tuple(points), []
    places = {name: (item.x - left, item.row * PITCH + HEIGHT / 2) for name, item in boxes.items()}
    return Layout(places, routes, right - left, max(0, len(rows) - 1) * PITCH + HEIGHT)


def _fan(boxes: Iterable[Item], links: Sequence[Link], lower: bool) -> dict[Link, float]:
    """How far from a box's middle its edges leave (`lower`: the box is their lower end) or arrive.

    Edges stand side by side, those to the left leave on the left; at a port of a head they almost meet.
    """
    shifts: dict[Link, float] = {}
    for box in boxes:
        groups: dict[float | None, list[Link]] = {}
        for link in links:
            if (link.lower if lower else link.upper) is box:
                groups.setdefault(None if lower else link.port, []).append(link)
        for port, fan in groups.items():
            fan.sort(key=lambda link: link.end if lower else link.lower.x)
            step, room = (0.09, WIDTH - 0.16) if port is None else (0.055, 0.1)
            step = min(step, room / max(1, len(fan) - 1))
            for i, link in enumerate(fan):
                shifts[link] = (port or 0.0) + step * (i - (len(fan) - 1) / 2)
    return shifts
