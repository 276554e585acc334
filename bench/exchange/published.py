"""Circuits of GPT-2 small that people found by hand, as edges of our graph. No score is claimed for them.

``ioi`` is the circuit of indirect object identification (Wang et al. 2023, arXiv:2211.00593),
``greater_than`` that of later years (Hanna et al. 2023, arXiv:2305.00586). Both papers classify heads and
MLPs by what they do, and say which class feeds which at which token; the edges between the classes are those
of the canonical graphs of Conmy et al. 2023 (arXiv:2304.14997). Token positions are dropped, since an edge
here stands for all positions, so the circuits are larger than the papers' own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.names import unknown

PREFIX = "published:"
GPT2_SMALL = EdgeGraph(12, 12, 12)
IOI = {
    "previous token": ("2.2", "4.11"),
    "duplicate token": ("0.1", "0.10", "3.0"),
    "induction": ("5.5", "5.8", "5.9", "6.9"),
    "S-inhibition": ("7.3", "7.9", "8.6", "8.10"),
    "name mover": ("9.9", "9.6", "10.0"),
    "negative name mover": ("10.7", "11.10"),
    "backup name mover": ("9.0", "9.7", "10.1", "10.2", "10.6", "10.10", "11.2", "11.9"),
}
"""Heads by class, as in figure 2 of Wang et al."""
_MOVERS = ("name mover", "negative name mover", "backup name mover")
IOI_FEEDS = (
    ("embed", "previous token", "qkv"),
    ("embed", "duplicate token", "qkv"),
    ("embed", "S-inhibition", "q"),
    ("previous token", "induction", "kv"),
    ("duplicate token", "S-inhibition", "kv"),
    ("induction", "S-inhibition", "kv"),
    *(("embed", mover, "kv") for mover in _MOVERS),
    *(("S-inhibition", mover, "q") for mover in _MOVERS),
)
"""Which class feeds which class, and by which inputs."""
GREATER_THAN = {
    "year": ("0.3", "0.5"),
    "early": ("0.1",),
    "comparing": ("5.5", "6.1", "6.9", "7.10", "8.11", "9.1"),
}
"""Heads of Hanna et al.; `EARLY` and `LATE` are MLPs."""
EARLY, LATE = (0, 1, 2, 3), (8, 9, 10, 11)


def published(name: str) -> Circuit:
    """A circuit by its name, with or without the prefix ``published:``.

    Raises:
        UsageError: there is no circuit of that name.
    """
    found = name.removeprefix(PREFIX)
    if found not in CIRCUITS:
        raise unknown("published circuit", found, CIRCUITS)
    return CIRCUITS[found]()


def ioi() -> Circuit:
    """All MLPs, which the paper allows on any path, and the heads of `IOI`, fed as `IOI_FEEDS` says."""
    heads = [head for group in IOI.values() for head in group]
    edges = {
        *_into_mlps(["embed", *map(_head, heads)], range(12)),
        *_between_mlps(range(12)),
        "embed->logits",
    }
    edges |= {f"m{layer}->logits" for layer in range(12)}
    edges |= {f"m{layer}->{port}" for head in heads for layer in range(_layer(head)) for port in _ports(head)}
    for source, target, ports in IOI_FEEDS:
        senders = ["embed"] if source == "embed" else [_head(head) for head in IOI[source]]
        edges |= {
            f"{sender}->{port}" for sender in senders for head in IOI[target] for port in _ports(head, ports)
        }
    edges |= {f"{_head(head)}->logits" for mover in _MOVERS for head in IOI[mover]}
    return _circuit(edges)


def greater_than() -> Circuit:
    """Heads that find the start year, those that compare with it, and MLPs before and after.

    The paper leaves the queries of the comparing heads intact: here that takes all MLPs before them.
    """
    year, early, comparing = (GREATER_THAN[group] for group in ("year", "early", "comparing"))
    edges = {f"embed->{port}" for head in (*year, *early) for port in _ports(head)}
    edges |= {f"embed->m{layer}" for layer in EARLY}
    edges |= {*_into_mlps(map(_head, early), EARLY), *_into_mlps(map(_head, comparing), LATE)}
    feeders = [*map(_head, (*year, *early)), *(f"m{layer}" for layer in EARLY)]
    edges |= {f"{feeder}->{port}" for feeder in feeders for head in comparing for port in _ports(head)}
    edges |= {*_between_mlps(range(9)), *_between_mlps(LATE)}
    edges |= {f"m{layer}->{_head(head)}.q" for head in comparing for layer in range(_layer(head))}
    edges |= {f"{_head(head)}->logits" for head in comparing} | {f"m{layer}->logits" for layer in LATE}
    return _circuit(edges)


CIRCUITS = {"ioi": ioi, "greater_than": greater_than}


def _circuit(edges: Iterable[str]) -> Circuit:
    return Circuit.of(GPT2_SMALL, sorted(edges))


def _head(head: str) -> str:
    layer, number = head.split(".")
    return f"a{layer}.h{number}"


def _layer(head: str) -> int:
    return int(head.partition(".")[0])


def _ports(head: str, ports: str = "qkv") -> list[str]:
    return [f"{_head(head)}.{port}" for port in ports]


def _into_mlps(senders: Iterable[str], layers: Iterable[int]) -> Iterator[str]:
    """Edges into these layers' MLPs that are not before the sender; a head feeds its own layer's MLP."""
    wanted = list(layers)
    for sender in senders:
        first = 0 if sender == "embed" else int(sender[1:].partition(".")[0])
        yield from (f"{sender}->m{layer}" for layer in wanted if layer >= first)


def _between_mlps(layers: Iterable[int]) -> Iterator[str]:
    wanted = list(layers)
    yield from (f"m{one}->m{other}" for one in wanted for other in wanted if one < other)
