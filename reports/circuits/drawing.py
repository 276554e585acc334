"""Circuits drawn edge by edge: one, two on top of each other, or found ones beside the true one."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from textwrap import wrap
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch
from matplotlib.path import Path

from reports.circuits.layout import HEIGHT, PORTS, WIDTH, Layout, Point, box_of, lay_out
from reports.parts.circuit import Edge, Node
from reports.parts.numbers import plural
from reports.parts.style import GRID, INK, PAPER, styled

Kind = Literal["kept", "truth", "hit", "miss", "false", "second", "first", "both"]

COLUMNS = 4
"""Panels per row."""
MARGIN, NARROWEST = 0.28, 2.3
"""Margin around a panel's nodes; minimum width of a panel, so that its heading fits. Inches."""
TITLE, HEADING, LEGEND, LINE = 0.34, 0.34, 0.5, 0.17
"""Height of the figure's title, a panel's heading and the legend, and of each extra line. Inches."""


@dataclass(frozen=True)
class _Stroke:
    meaning: str
    colour: str
    dash: Any
    width: float


STROKES: dict[Kind, _Stroke] = {
    "kept": _Stroke("edge kept", "#0072b2", "-", 1.3),
    "truth": _Stroke("true edge", INK, "-", 1.3),
    "hit": _Stroke("hit: true and found", "#0072b2", "-", 2.1),
    "miss": _Stroke("miss: true, not found", INK, (0, (1.2, 2.2)), 1.1),
    "false": _Stroke("false: found, not true", "#d55e00", (0, (6, 2, 1.5, 2)), 1.6),
    "second": _Stroke("in the second alone", "#d55e00", (0, (6, 2, 1.5, 2)), 1.3),
    "first": _Stroke("in the first alone", "#009e73", (0, (1.2, 1.4)), 1.5),
    "both": _Stroke("in both", "#0072b2", "-", 1.6),
}
"""Edge styles: they differ in dash as well as colour, so that figures can be read in greyscale."""
NO_NAMES: Mapping[Kind, str] = {}


def compare(truth: Collection[Edge], found: Collection[Edge]) -> dict[Edge, Kind]:
    """Each edge of either circuit: hit (in both), miss (only true) or false (only found)."""
    kinds: dict[Edge, Kind] = {}
    for edge in _by_name({*truth, *found}):
        kinds[edge] = "false" if edge not in truth else "hit" if edge in found else "miss"
    return kinds


def counts(truth: Collection[Edge], found: Collection[Edge]) -> str:
    """`5 of 7 found, 2 false`."""
    kinds = list(compare(truth, found).values())
    return f"{kinds.count('hit')} of {len(set(truth))} found, {kinds.count('false')} false"


def draw_circuits(truth: Collection[Edge], found: Mapping[str, Collection[Edge]], title: str) -> Figure:
    """Draw the true circuit, then each circuit found with its hits, misses and false edges.

    Every panel has the same nodes in the same places,
    in order of computation from the bottom up; nodes without an edge in a panel are faint there.
    Each edge's artist is labelled with its kind and name (`hit tok->m0`).

    Args:
        truth: edges of the true circuit.
        found: edges of each circuit, by method.
        title: title of the whole figure.
    """
    layout = lay_out({edge for edges in (truth, *found.values()) for edge in edges})
    panels: list[tuple[str, str, dict[Edge, Kind]]] = [
        ("truth", plural(len(set(truth)), "edge"), dict.fromkeys(_by_name(truth), "truth"))
    ]
    panels += [(name, counts(truth, edges), compare(truth, edges)) for name, edges in found.items()]
    with styled():
        return _arrange(layout, panels, title)


def draw_circuit(edges: Collection[Edge], title: str) -> Figure:
    """One circuit, its nodes in order of computation from the bottom up."""
    panel = ("", plural(len(set(edges)), "edge"), dict[Edge, Kind](dict.fromkeys(_by_name(edges), "kept")))
    with styled():
        return _arrange(lay_out(set(edges)), [panel], title)


def draw_two(one: Collection[Edge], other: Collection[Edge], names: tuple[str, str], title: str) -> Figure:
    """Draw two circuits in one panel: edges in both, and edges in only one of them.

    Args:
        one: edges of the first circuit.
        other: edges of the second circuit.
        names: names of the two circuits, for the legend.
        title: title of the figure.
    """
    first, second = set(one), set(other)
    kinds: dict[Edge, Kind] = {
        edge: "both" if edge in first & second else "first" if edge in first else "second"
        for edge in _by_name(first | second)
    }
    told: dict[Kind, str] = {"first": f"in {names[0]} alone", "second": f"in {names[1]} alone"}
    count = ", ".join(
        f"{list(kinds.values()).count(kind):,} {told.get(kind, 'in both')}" for kind in ("both", *told)
    )
    with styled():
        return _arrange(lay_out(kinds), [("", count, kinds)], title, told)


def _by_name(edges: Collection[Edge]) -> list[Edge]:
    return sorted(edges, key=lambda edge: edge.name)


def _arrange(
    layout: Layout,
    panels: list[tuple[str, str, dict[Edge, Kind]]],
    title: str,
    meanings: Mapping[Kind, str] = NO_NAMES,
) -> Figure:
    """Panels in rows of `COLUMNS` under the title, with the legend at the bottom."""
    columns, rows = min(len(panels), COLUMNS), math.ceil(len(panels) / COLUMNS)
    width = max(layout.width + 2 * MARGIN, NARROWEST)
    names = [wrap(name, int(width * 11)) for name, _, _ in panels]
    titles = wrap(title, int(width * columns * 11))
    heading = HEADING + LINE * max(map(len, names))
    height = heading + layout.height + MARGIN
    total = TITLE + LINE * (len(titles) - 1) + rows * height + LEGEND
    figure = Figure(figsize=(width * columns, total))
    figure.text(MARGIN / 2 / figure.get_figwidth(), 1 - 0.12 / total, "\n".join(titles),
                va="top", weight="bold", fontsize=10.5)  # fmt: skip
    for i, (_, count, kinds) in enumerate(panels):
        column, row = i % columns, i // columns
        bottom = LEGEND + (rows - 1 - row) * height
        frame = (column / columns, bottom / total, 1 / columns, height / total)
        axes = figure.add_axes(frame)
        left = (width - layout.width) / 2
        axes.set(xlim=(-left, width - left), ylim=(-MARGIN / 2, height - MARGIN / 2))
        axes.axis("off")
        y = height - MARGIN / 2 - 0.14
        axes.text(MARGIN / 2 - left, y, "\n".join(names[i]), va="top", weight="bold")
        axes.text(MARGIN / 2 - left, y - LINE * len(names[i]), count, va="top", fontsize=8.5)
        _draw_panel(axes, layout, kinds)
    _legend(figure, {kind for _, _, kinds in panels for kind in kinds.values()}, meanings)
    return figure


def _draw_panel(axes: Axes, layout: Layout, kinds: Mapping[Edge, Kind]) -> None:
    """Draw nodes, and edges beneath them: false edges above misses, misses above hits."""
    touched = {box_of(node) for edge in kinds for node in (edge.sender, edge.receiver)}
    for node, place in layout.boxes.items():
        _draw_box(axes, node, place, node in touched)
    for edge, kind in kinds.items():
        stroke = STROKES[kind]
        axes.add_patch(PathPatch(
            _curve(layout.routes[edge]), fill=False, edgecolor=stroke.colour, linestyle=stroke.dash,
            linewidth=stroke.width, zorder=2 + 0.1 * list(STROKES).index(kind), label=f"{kind} {edge.name}",
            capstyle="butt",
        ))  # fmt: skip


def _draw_box(axes: Axes, node: Node, place: Point, touched: bool) -> None:
    """Draw a node as a rounded box with its name; a head has its three ports at the bottom."""
    x, y = place
    alpha = 1.0 if touched else 0.35
    axes.add_patch(FancyBboxPatch(
        (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.08",
        facecolor=PAPER, edgecolor=INK if touched else GRID, linewidth=0.9, zorder=3,
    ))  # fmt: skip
    is_head = node.kind == "head"
    axes.text(x, y + (0.065 if is_head else 0.0), node.name, ha="center", va="center", fontsize=8.5,
              alpha=alpha, zorder=4)  # fmt: skip
    for port, shift in PORTS.items() if is_head else ():
        axes.add_patch(Circle((x + shift, y - HEIGHT / 2), 0.028, facecolor=INK if touched else GRID,
                              edgecolor="none", zorder=4))  # fmt: skip
        axes.text(x + shift, y - HEIGHT / 2 + 0.1, port, ha="center", va="center", fontsize=6.5,
                  alpha=alpha, zorder=4)  # fmt: skip


def _curve(points: tuple[Point, ...]) -> Path:
    """A path through the points of a route: straight within rows, S-shaped between them."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for i, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        if i % 2:
            vertices.append((x1, y1))
            codes.append(Path.LINETO)
        else:
            middle = (y0 + y1) / 2
            vertices += [(x0, middle), (x1, middle), (x1, y1)]
            codes += [Path.CURVE4] * 3
    return Path(vertices, codes)


def _legend(figure: Figure, kinds: Collection[Kind], meanings: Mapping[Kind, str]) -> None:
    handles = [
        Line2D(
            [], [], color=s.colour, linestyle=s.dash, linewidth=s.width, label=meanings.get(kind, s.meaning)
        )
        for kind, s in STROKES.items()
        if kind in kinds
    ]
    columns = max(1, min(len(handles), int(figure.get_figwidth() / 2.15)))
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(MARGIN / 2 / figure.get_figwidth(), 0.08 / figure.get_figheight()),
        ncols=columns,
        fontsize=8.5,
        handlelength=3.2,
        borderpad=0.0,
        borderaxespad=0.0,
    )
