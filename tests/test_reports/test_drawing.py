"""Drawings of circuits: every edge in the right stroke, no edge through a box, the same bytes each time."""

import os
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch

from bench.engine.graph import EdgeGraph, ends_of, node_of
from bench.exchange.drawn import drawn_edge
from reports.circuits.drawing import STROKES, compare, counts, draw_circuits
from reports.circuits.layout import HEIGHT, PORTS, WIDTH, box_of, lay_out
from reports.circuits.order import Item, Link, _crossings
from reports.parts import svg
from reports.parts.circuit import Edge

TRUTH_NAMES = [
    "tok->m0", "m0->a1.h0.v", "tok->a1.h0.q", "pos->a1.h0.q", "tok->a1.h0.k", "pos->a1.h0.k", "a1.h0->logits",
]  # fmt: skip
FALSE_NAMES = ["tok->a0.h0.v", "a0.h0->m0", "m0->logits"]


def drawn(*names: str) -> list[Edge]:
    return [drawn_edge(name) for name in names]


TRUTH, FALSE = drawn(*TRUTH_NAMES), drawn(*FALSE_NAMES)
FOUND = [*TRUTH[:5], *FALSE]


def wiring(layers: int, heads: int, edges: int, seed: int) -> list[Edge]:
    """Random edges of a model of so many layers and heads."""
    rng = random.Random(seed)
    rows = [["tok", "pos"]]
    for layer in range(layers):
        rows += [[f"a{layer}.h{head}" for head in range(heads)], [f"m{layer}"]]
    rows.append(["logits"])
    found: set[str] = set()
    while len(found) < edges:
        low, high = sorted(rng.sample(range(len(rows)), 2))
        receiver = rng.choice(rows[high])
        port = "." + rng.choice("qkv") if receiver.startswith("a") else ""
        found.add(f"{rng.choice(rows[low])}->{receiver}{port}")
    return drawn(*sorted(found))


def edges_of(figure: Figure, panel: int) -> dict[str, list[str]]:
    """A panel's edges by kind, as its artists are labelled."""
    kinds: dict[str, list[str]] = {}
    for patch in figure.axes[panel].patches:
        if isinstance(patch, PathPatch):
            kind, edge = str(patch.get_label()).split(" ")
            kinds.setdefault(kind, []).append(edge)
    return kinds


def texts_of(figure: Figure, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts]


def test_hits_misses_and_false_edges() -> None:
    figure = draw_circuits(TRUTH, {"eap": FOUND, "nothing": []}, "x_proportion")
    assert len(figure.axes) == 3
    assert edges_of(figure, 0) == {"truth": sorted(TRUTH_NAMES)}
    assert edges_of(figure, 1) == {
        "hit": sorted(TRUTH_NAMES[:5]), "miss": sorted(TRUTH_NAMES[5:]), "false": sorted(FALSE_NAMES)
    }  # fmt: skip
    assert edges_of(figure, 2) == {"miss": sorted(TRUTH_NAMES)}
    assert {"truth", "7 edges"} <= set(texts_of(figure, 0))
    assert {"eap", "5 of 7 found, 3 false"} <= set(texts_of(figure, 1))
    assert "0 of 7 found, 0 false" in texts_of(figure, 2)


def test_counts() -> None:
    one, other = drawn("tok->m0", "pos->m0")
    assert counts([one, one], [one]) == "1 of 1 found, 0 false"
    assert counts([], [one]) == "0 of 0 found, 1 false"
    assert compare([one], [other]) == {one: "miss", other: "false"}


def test_kinds_differ_in_stroke_and_colour() -> None:
    found = [STROKES[kind] for kind in ("hit", "miss", "false")]
    assert len({str(stroke.dash) for stroke in found}) == len({stroke.colour for stroke in found}) == 3
    figure = draw_circuits(TRUTH, {"eap": TRUTH}, "")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["true edge", "hit: true and found"]


def test_panels_share_their_places() -> None:
    figure = draw_circuits(TRUTH, {"eap": FOUND}, "")
    boxes = [
        [patch.get_bbox().bounds for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
        for axes in figure.axes
    ]
    assert boxes[0] == boxes[1]
    assert len(boxes[0]) == 6  # tok, pos, a0.h0, m0, a1.h0, logits
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


@pytest.mark.parametrize(
    ("layers", "heads", "edges", "seed"),
    [(1, 1, 2, 0), (2, 1, 12, 1), (3, 3, 24, 2), (10, 1, 40, 3), (10, 4, 40, 4)],
)
def test_no_edge_runs_through_a_box(layers: int, heads: int, edges: int, seed: int) -> None:
    wires = wiring(layers, heads, edges, seed)
    figure = draw_circuits(wires, {}, "")
    boxes = np.array(list(lay_out(wires).boxes.values()))
    for patch in figure.axes[0].patches:
        if isinstance(patch, PathPatch):
            pieces: Any = patch.get_path().iter_bezier()  # its stub says that it gives curves alone
            curves = [curve for curve, _ in pieces]
            points = np.concatenate([curve(np.linspace(0, 1, 50)) for curve in curves if curve.degree])
            inside = np.abs(points[:, None] - boxes) < np.array([WIDTH / 2, HEIGHT / 2]) - 1e-6
            assert not inside.all(-1).any(), patch.get_label()
    sides = np.abs(boxes[:, None] - boxes) < np.array([WIDTH, HEIGHT])
    assert sides.all(-1).sum() == len(boxes)  # each overlaps with itself alone


def test_edges_start_and_end_at_their_nodes() -> None:
    layout = lay_out(TRUTH)
    for edge, points in layout.routes.items():
        (x0, y0), (x1, y1) = layout.boxes[box_of(edge.sender)], layout.boxes[box_of(edge.receiver)]
        port = edge.receiver.port or ""
        assert y1 > y0
        assert points[0] == pytest.approx((x0, y0 + HEIGHT / 2), abs=WIDTH / 2)
        assert points[0][1] == pytest.approx(y0 + HEIGHT / 2)
        assert points[-1][1] == pytest.approx(y1 - HEIGHT / 2)
        assert abs(points[-1][0] - x1 - PORTS.get(port, 0.0)) < (0.06 if port else WIDTH / 2)


def test_rows_without_a_node_are_left_out_and_order_is_that_of_computation() -> None:
    names = ["tok->a7.h10.q", "pos->a7.h2.k", "a7.h2->m7", "m7->a10.h0.v", "a10.h0->logits"]
    boxes = {node.name: place for node, place in lay_out(drawn(*names)).boxes.items()}
    heights = sorted({y for _, y in boxes.values()})
    assert [boxes[name][1] for name in ("tok", "a7.h2", "m7", "a10.h0", "logits")] == heights
    assert boxes["a7.h2"][0] < boxes["a7.h10"][0]
    assert boxes["tok"][0] < boxes["pos"][0]


@pytest.mark.parametrize("name", ["m1->m0", "m0->m0", "a0.h1->a0.h0.q"])
def test_what_is_no_edge_of_any_model(name: str) -> None:
    with pytest.raises(ValueError, match="is not an edge"):
        drawn_edge(name)


@pytest.mark.parametrize(
    "name", ["tok", "tok->", "tok->x", "logits->m0", "m0->tok", "a0.h0.q->m0", "m0->a1.h0", "->", "m->m1"]
)
def test_what_no_edge_is_spelled_like(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not an? (edge|sender|receiver)"):
        ends_of(name)


def test_names_are_parsed_as_graphs_spell_them() -> None:
    for split in (False, True):
        graph = EdgeGraph(2, 4, 2, split_embed=split)
        for row, column in graph.exists.nonzero().tolist():
            ends = graph.senders[column], graph.receivers[row]
            assert ends_of(graph.edge_name(row, column)) == ends
            edge = drawn_edge(graph.edge_name(row, column))
            assert (edge.sender.name, edge.receiver.port) == (ends[0].name, ends[1].port)
    with pytest.raises(ValueError, match=r"'a0\.h0' is not a receiver"):
        node_of("a0.h0", "receiver")


def test_no_edges_at_all_and_strange_names() -> None:
    figure = draw_circuits(
        [], {"<$x$> & a name so long that one line cannot hold it (steps=5)": []}, "$t$ " * 40
    )
    assert b"&lt;$x$&gt;" in svg.render(figure, "svg")


def test_same_circuits_same_bytes() -> None:
    """In whatever order edges come, and whatever seed Python hashes text with."""
    code = (
        "import sys; from bench.exchange.drawn import drawn_edge; from reports.parts import svg;"
        "from reports.circuits.drawing import draw_circuits;"
        f"truth, false = ([drawn_edge(e) for e in names] for names in ({TRUTH_NAMES}, {FALSE_NAMES}));"
        "figure = draw_circuits(set(truth), {'eap': {*truth[:5], *false}}, 'x');"
        "sys.stdout.buffer.write(svg.render(figure, 'svg'))"
    )
    mine = svg.render(draw_circuits(TRUTH[::-1], {"eap": FOUND[::-1]}, "x"), "svg")
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
        assert done.stdout == mine


@pytest.mark.parametrize(("layers", "heads", "edges"), [(3, 3, 24), (10, 4, 60)])
def test_crossings_are_counted_pair_by_pair(layers: int, heads: int, edges: int) -> None:
    rng = random.Random(edges)
    boxes = (
        [Item(0, 0.3, rng.random()) for _ in range(heads)],
        [Item(1, 0.3, rng.random()) for _ in range(layers)],
    )
    links = [
        Link(rng.choice(boxes[0]), rng.choice(boxes[1]), rng.choice([None, -0.2, 0.2])) for _ in range(edges)
    ]
    crossed = [
        (a.lower.x < b.lower.x) != (a.end < b.end)
        for i, a in enumerate(links)
        for b in links[:i]
        if a.lower.x != b.lower.x and a.end != b.end
    ]
    assert 0 < sum(crossed) == _crossings(links)
