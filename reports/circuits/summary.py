"""Circuits too large to be drawn edge by edge: how many edges each head and MLP reads and writes."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from reports.circuits.layout import box_of
from reports.parts.circuit import Edge, Node
from reports.parts.numbers import plural
from reports.parts.style import INK, PAPER, styled

WRITTEN = 400
"""The largest panel, in cells, in which counts are written out."""
LABELS = 24
"""The most rows or columns of a panel that are all labelled; of more, only some are."""


def summarise(circuits: Mapping[str, Collection[Edge]], title: str) -> Figure:
    """Three panels per circuit: edges read by each head and MLP, edges written, edges from block to block.

    A block is the heads of a layer, or its MLP. For two circuits, a third row shows the edges in both.

    Args:
        circuits: each circuit's edges, by its name; panels have room for the layers and heads of all.
        title: title of the figure.
    """
    shown = {name: set(edges) for name, edges in circuits.items()}
    if len(shown) == 2:
        shown["in both"] = set.intersection(*shown.values())
    nodes = [node for edges in shown.values() for edge in edges for node in (edge.sender, edge.receiver)]
    layers = 1 + max((node.layer for node in nodes if node.layer is not None), default=0)
    heads = 1 + max((node.head for node in nodes if node.kind == "head" and node.head is not None), default=0)
    wide, high = max(2.6, 0.3 * (heads + 1)), max(2.2, 0.3 * layers)
    between = max(3.2, 0.16 * (2 * layers + 1))
    with styled():
        figure = Figure(
            figsize=(2 * wide + between + 1.2, len(shown) * (max(high, between) + 0.9) + 0.3),
            layout="constrained",
        )
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        grid = figure.add_gridspec(len(shown), 3, width_ratios=(wide, wide, between))
        for row, (name, edges) in enumerate(shown.items()):
            axes = [figure.add_subplot(grid[row, column]) for column in range(3)]
            read, written = (_by_node(edges, end, layers, heads) for end in ("receiver", "sender"))
            logits = sum(edge.receiver.kind == "logits" for edge in edges)
            embed = sum(edge.sender.kind == "embed" for edge in edges)
            head = f"{name}: {plural(len(edges), 'edge')}" if name else plural(len(edges), "edge")
            _nodes(axes[0], read, f"{head}\nread (by the logits: {logits:,})")
            _nodes(axes[1], written, f"\nwritten (by the embedding: {embed:,})")
            _blocks(axes[2], edges, layers)
        return figure


def _by_node(edges: Collection[Edge], end: str, layers: int, heads: int) -> np.ndarray:
    """Edge counts at one end of each head and, in the last column, each MLP: shape (layers, heads + 1)."""
    found = np.zeros((layers, heads + 1), int)
    ends = Counter(box_of(getattr(edge, end)) for edge in edges)
    for node, count in ends.items():
        if node.layer is not None:
            found[node.layer, heads if node.head is None else node.head] = count
    return found


def _nodes(axes: Axes, counts: np.ndarray, title: str) -> None:
    _cells(axes, counts)
    layers, heads = counts.shape[0], counts.shape[1] - 1
    _ticks(axes, [*map(str, range(heads)), "MLP"], list(map(str, range(layers))))
    axes.set(title=title, xlabel="head", ylabel="layer")


def _blocks(axes: Axes, edges: Collection[Edge], layers: int) -> None:
    """Edges between each pair of blocks: rows read, columns write."""
    counts = np.zeros((2 * layers + 1, 2 * layers + 1), int)
    for edge in edges:
        counts[_place(edge.receiver, layers) - 1, _place(edge.sender, layers)] += 1
    _cells(axes, counts)
    blocks = [name for layer in range(layers) for name in (f"a{layer}", f"m{layer}")]
    _ticks(axes, ["embed", *blocks], [*blocks, "logits"])
    axes.tick_params(axis="x", rotation=90)
    axes.set(title="\nfrom block to block", xlabel="written by", ylabel="read by")


def _place(node: Node, layers: int) -> int:
    """Index of its block, in order of computation: the embedding is 0, the logits are last."""
    if node.layer is None:
        return 0 if node.kind == "embed" else 2 * layers + 1
    return 1 + 2 * node.layer + (node.kind == "mlp")


def _cells(axes: Axes, counts: np.ndarray) -> None:
    """Counts as shades from the bottom up, written out where they fit."""
    most = max(1, int(counts.max()))
    shaded = np.ma.masked_equal(counts, 0)
    mesh = axes.pcolormesh(shaded, cmap="Blues", vmin=0, vmax=most, edgecolors=PAPER, linewidth=0.6)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    if counts.size > WRITTEN:
        axes.figure.colorbar(mesh, ax=axes, shrink=0.7, label="edges", ticks=MaxNLocator(6, integer=True))
        return
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = PAPER if count > 0.6 * most else INK
            axes.text(
                column + 0.5, row + 0.5, f"{count}", ha="center", va="center", fontsize=6.5, color=colour
            )


def _ticks(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    for axis, names in ((axes.xaxis, columns), (axes.yaxis, rows)):
        step = -(-len(names) // LABELS)
        axis.set_major_locator(FixedLocator([i + 0.5 for i in range(0, len(names), step)]))
        axis.set_major_formatter(FixedFormatter(names[::step]))
    axes.tick_params(labelsize=7, length=0)
