"""Whether the order of two methods depends on the ablation that circuits are scored under."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from bench.scoring.comparison.compare import Pair
from bench.scoring.statistics.paired import LEVEL

Kind = Literal["found as scored", "found alike"]


@dataclass(frozen=True)
class Turnover:
    """Two methods in one cell under two ablations, whether or not their order differs.

    *Found as scored*: each circuit is found under the ablation that it is scored under. *Found alike*: the
    same circuits are scored under both.
    """

    kind: Kind
    one: Pair
    other: Pair

    @property
    def turns(self) -> bool | None:
        """Whether the differences have opposite signs, both intervals excluding 0 after Holm's adjustment.

        None if one of the cells does not rank methods, or has no p: then nothing could have turned.
        """
        pairs = (self.one, self.other)
        if not all(pair.ranks for pair in pairs) or any(pair.p_holm != pair.p_holm for pair in pairs):
            return None
        clear = all(pair.p_holm < LEVEL for pair in pairs)
        return clear and self.opposite

    @property
    def opposite(self) -> bool:
        """Whether the differences have opposite signs, by chance or not."""
        return self.one.difference.value * self.other.difference.value < 0

    def to_json(self) -> dict[str, Any]:
        """For other programs; includes how often two data seeds under one ablation disagree in sign."""
        place, (a, b) = self.one.place, self.one.methods
        told: dict[str, Any] = {
            "model": place.model, "behaviour": place.behaviour, "graph": place.graph, "pruned": place.pruned,
            "size": self.one.size, "a": a, "b": b, "kind": self.kind, "turns": self.turns,
            "opposite": self.opposite,
        }  # fmt: skip
        for name, pair in (("one", self.one), ("other", self.other)):
            of_pair = pair.to_json()
            kept = ("ablation", "found_under", "difference", "low", "high", "p_holm", "seed_flips", "verdict")
            told[name] = {key: of_pair[key] for key in kept}
        return told


def turnovers(pairs: Iterable[Pair]) -> list[Turnover]:
    """One for every two ablations that the same two methods were scored under, in the order of the pairs.

    Args:
        pairs: as `compare` returns them.
    """
    scored: dict[Any, list[Pair]] = defaultdict(list)
    for pair in pairs:
        place = pair.place
        cell = (place.model, place.behaviour, place.graph, place.pruned, pair.size, pair.methods)
        if pair.found_under == place.ablation:
            scored["found as scored", cell].append(pair)
        if pair.found_under:
            scored["found alike", (*cell, pair.found_under)].append(pair)
    return [
        Turnover(kind, one, other)
        for (kind, _), group in scored.items()
        for one, other in combinations(group, 2)
    ]
