"""Where the nodes and edges of circuits are drawn: a layered graph, read from the bottom up.

A row holds what is computed together: the embeddings, the heads of a layer, its MLP, the logits.
An edge that skips rows bends around the boxes in between: in each row it gets a slot of its own (a
*bend*), as a box does, so that no edge runs through a box (Sugiyama et al. 1981). Lengths are in inches.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from reports.circuits.order import Item, Link, order_rows
from reports.circuits.places import spread_out
from reports.parts.circuit import Edge, Node

PITCH, WIDTH, HEIGHT = 0.86, 0.66, 0.4
"""Distance between rows; width and height of a box."""
PORTS = {"q": -0.21, "k": 0.0, "v": 0.21}
"""Offsets of a head's inputs from the middle of its box."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """The middle of each node's box, the points of each edge, and the overall size.

    With points numbered from 1, an edge curves from an odd point to the next (between two rows) and runs
    straight from an even one to the next (through a row); its first point is the sender's.
    """

    boxes: dict[Node, Point]
    """Keyed by node, without its port."""
    routes: dict[Edge, tuple[Point, ...]]
    width: float
    height: float


def box_of(node: Node) -> Node:
    """The node that owns the box: for a port, its head."""
    return replace(node, port=None)


def lay_out(edges: Collection[Edge]) -> Layout:
    """Place all nodes and edges; rows without a node are left out. Equal edges give equal layouts."""
    ordered = sorted(set(edges), key=lambda edge: edge.name)
    nodes = sorted(
        {box_of(node) for edge in ordered for node in (edge.sender, edge.receiver)},
        key=lambda node: (node.row, node.head or 0, node.name),
    )
    depth = {row: i for i, row in enumerate(sorted({node.row for node in nodes}))}
    boxes = {node: Item(depth[node.row], WIDTH / 2) for node in nodes}
    links = []
    for edge in ordered:
        last = boxes[box_of(edge.sender)]
        for row in range(depth[edge.sender.row] + 1, depth[edge.receiver.row]):
            links.append(Link(last, Item(row)))
            last = links[-1].upper
        port = PORTS[edge.receiver.port] if edge.receiver.port else None
        links.append(Link(last, boxes[box_of(edge.receiver)], port))
    rows = order_rows([[box for box in boxes.values() if box.row == i] for i in range(len(depth))], links)
    spread_out(rows, links)
    return _measure(boxes, ordered, links, rows)


def _measure(
    boxes: dict[Node, Item], edges: Sequence[Edge], links: Sequence[Link], rows: Sequence[Sequence[Item]]
) -> Layout:
    """Turn items with an x into points, with the lower left corner of the drawing at (0, 0)."""
    left = min((item.x - item.half for row in rows for item in row), default=0.0)
    right = max((item.x + item.half for row in rows for item in row), default=0.0)
    starts = _fan(boxes.values(), links, lower=True)
    ends = _fan(boxes.values(), links, lower=False)
    routes: dict[Edge, tuple[Point, ...]] = {}
    routed, points = iter(edges), list[Point]()
    for link in links:
        bottom, top = (item.row * PITCH + HEIGHT / 2 for item in (link.lower, link.upper))
        points.append((link.lower.x + starts.get(link, 0.0) - left, bottom + HEIGHT / 2))
        points.append((link.upper.x + ends.get(link, 0.0) - left, top - HEIGHT / 2))
        if link.upper.is_box:
            routes[next(routed)], points = tuple(points), []
    places = {node: (item.x - left, item.row * PITCH + HEIGHT / 2) for node, item in boxes.items()}
    return Layout(places, routes, right - left, max(0, len(rows) - 1) * PITCH + HEIGHT)


def _fan(boxes: Iterable[Item], links: Sequence[Link], lower: bool) -> dict[Link, float]:
    """Offsets from a box's middle at which its edges leave (`lower`: the box is their lower end) or arrive.

    Edges are spread side by side, those that go left on the left; at a head's port they almost meet.
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
