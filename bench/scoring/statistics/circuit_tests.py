"""Is a circuit what it should be? Tests after Shi et al. 2024, "Hypothesis testing the circuit hypothesis in
LLMs" (arXiv:2410.13032).

The null hypothesis of equivalence, independence and minimality is an ideal circuit: a small p says that this
one is not. That of sufficiency and partial necessity is a random circuit: a small p says that this one is
better.

Here the unit of equivalence is a template, or an input of a compiled program, and not a prompt, as prompts of
a template are not independent draws; ties count half on either side; and the last two are permutation tests,
since against the 90 % quantile of the paper twenty random circuits could never reject anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from bench.scoring.statistics.gaps import FLOOR
from bench.scoring.statistics.paired import LEVEL, holm
from bench.scoring.statistics.student import NONE, too_few_templates

EITHER_WAY = 0.1
"""How far from one half P(circuit ahead of the model) may be if they are equivalent."""
MOSTLY = 0.9
"""How often removing a needed edge costs more than removing a random added one."""
FEWEST_DRAWS = 20
"""Random circuits below which no p is under 5 %."""
ROUNDING = 1e-6
"""Relative difference up to which values are equal."""
AT_A_TIME = 2**20
"""Entries of permuted kernels in memory at a time."""


@dataclass(frozen=True)
class Tested:
    """The value of a test and its p, or the reason why there is none."""

    value: float
    p: float
    reason: str = ""

    @classmethod
    def not_to_be_had(cls, reason: str) -> Tested:
        """No test, for a reason."""
        return cls(NONE, NONE, reason)


def equivalence(difference: Float[np.ndarray, " unit"], tie: float) -> Tested:
    """Whether the circuit is ahead of the model about as often as behind.

    Rejected if P(ahead) is further than `EITHER_WAY` from one half: a two-sided sign test whose p is taken at
    the border.

    Args:
        difference: the circuit's metric minus the model's.
        tie: a difference that is no larger is a tie.

    Returns:
        The share of units in which the circuit is ahead, ties counting half.
    """
    from scipy.stats import binom

    n = len(difference)
    if reason := too_few_templates(n) or _unscored(difference):
        return Tested.not_to_be_had(reason)
    ahead = float(_ahead(difference, tie).sum())
    beyond = abs(ahead - n / 2)
    border = 0.5 + EITHER_WAY
    p = binom.sf(np.ceil(n / 2 + beyond) - 1, n, border) + binom.cdf(np.floor(n / 2 - beyond), n, border)
    return Tested(ahead / n, min(1.0, float(p)))


def independence(
    model: Float[np.ndarray, "unit feature"],
    complement: Float[np.ndarray, "unit other"],
    stratum: Int[np.ndarray, " unit"],
    draws: int = 499,
    seed: int = 0,
) -> Tested:
    """Whether the complement's outputs are independent of the model's.

    Rejected if the Hilbert-Schmidt independence criterion (Gretton et al. 2007; Gaussian kernels, median
    distances) is larger than after permutations within strata. Only pairs within a stratum count, so that
    differences between strata are not taken for dependence. A complement that varies by less than 1 % of what
    the model does counts as constant.

    Args:
        model: its outputs, by unit.
        complement: likewise.
        stratum: of each unit, its template or the like; within one, units differ only by chance.
        draws: number of permutations.
        seed: of the permutations.

    Returns:
        The criterion divided by its largest value, from 0 to 1.
    """
    groups = [np.flatnonzero(stratum == each) for each in np.unique(stratum)]
    groups = [group for group in groups if len(group) > 1]
    units = sum(map(len, groups))
    if units < 2 * FEWEST_DRAWS:
        return Tested.not_to_be_had(
            f"at least {2 * FEWEST_DRAWS} prompts that share a template are needed, not {units}"
        )
    if reason := _unscored(model, complement):
        return Tested.not_to_be_had(reason)
    ours, theirs = ([_distances(side[group]) for group in groups] for side in (model, complement))
    width = _width(ours)
    kernels = [_centred(_kernel(each, width)) for each in ours]
    width = _width(theirs, FLOOR**2 * width)
    others = [_centred(_kernel(each, width)) for each in theirs]
    rng = np.random.default_rng(seed)
    pairs = list(zip(kernels, others, strict=True))
    seen = sum(float((k * other).sum()) for k, other in pairs)
    drawn = np.sum([_permuted(k, other, draws, rng) for k, other in pairs], axis=0)
    ends = [sum(float(np.square(k).sum()) for k in side) for side in (kernels, others)]
    most = float(np.sqrt(np.prod(ends)))
    above = float(_ahead(drawn - seen, ROUNDING * ends[0]).sum())
    return Tested(seen / most if most > 0 else 0.0, (1 + above) / (1 + draws))


def minimality(
    cost: Float[np.ndarray, " edge"], added: Float[np.ndarray, " draw"], tie: float
) -> tuple[Tested, Float[np.ndarray, " edge"]]:
    """Whether every edge is needed.

    An edge is rejected if its removal costs more than that of a random added edge less often than `MOSTLY`:
    one binomial test per edge, adjusted for their number (Holm).

    Args:
        cost: of removing each edge from the circuit.
        added: of removing one edge of a random path that was added to the circuit, path by path.
        tie: a difference that is no larger is a tie.

    Returns:
        The share of edges rejected at 5 %, with the smallest adjusted p; and each edge's adjusted p.
    """
    from scipy.stats import binom

    reason = _unscored(cost, added) if len(cost) else "no edge"
    if len(added) < FEWEST_DRAWS:
        reason = f"at least {FEWEST_DRAWS} random paths are needed, not {len(added)}"
    if reason:
        return Tested.not_to_be_had(reason), np.full(len(cost), np.nan)
    above = _ahead(cost[:, None] - added, tie).sum(1)
    adjusted = holm(binom.cdf(np.floor(above), len(added), MOSTLY))
    return Tested(float((adjusted < LEVEL).mean()), float(adjusted.min())), adjusted


def beside_random(own: float, others: Float[np.ndarray, " draw"]) -> Tested:
    """Whether a circuit is better than random ones: sufficiency, by its distance to the model, and partial
    necessity, by its complement's distance to the empty circuit.

    Args:
        own: its distance; lower is better.
        others: the same of random circuits of its size; differences by rounding are ties.

    Returns:
        The share of random circuits that are worse, and as p the rank of this one among all of them.
    """
    if len(others) < FEWEST_DRAWS:
        few = f"at least {FEWEST_DRAWS} random circuits of the same size are needed, not {len(others)}"
        return Tested.not_to_be_had(few)
    if reason := _unscored(others, np.array([own])):
        return Tested.not_to_be_had(reason)
    tie = ROUNDING * float(np.abs([own, *others]).max())
    worse = float(_ahead(others - own, tie).mean())
    return Tested(worse, (1 + (1 - worse) * len(others)) / (1 + len(others)))


def _unscored(*values: np.ndarray) -> str:
    """The reason if one is not finite."""
    return "" if all(np.isfinite(each).all() for each in values) else "unscored"


def _ahead(difference: np.ndarray, tie: float) -> np.ndarray:
    """1 if it is above 0, 0 if it is below, one half if it is a tie."""
    return np.where(np.abs(difference) <= tie, 0.5, (difference > 0).astype(float))


def _distances(values: Float[np.ndarray, "unit feature"]) -> Float[np.ndarray, "unit unit"]:
    """Squared distances."""
    found: Float[np.ndarray, "unit unit"] = np.square(values[:, None] - values[None]).sum(-1)
    return found


def _width(distances: list[np.ndarray], nothing: float = 0.0) -> float:
    """The median distance of units that differ by more than `nothing` and rounding; 0 if none do."""
    pairs = np.concatenate([each[np.triu_indices(len(each), 1)] for each in distances])
    apart = pairs[pairs > max(nothing, ROUNDING**2 * float(pairs.max()))]
    return float(np.median(apart)) if len(apart) else 0.0


def _kernel(distance: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-distance / (2 * width)) if width > 0 else np.ones_like(distance)


def _centred(kernel: np.ndarray) -> np.ndarray:
    centred: np.ndarray = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
    return centred


def _permuted(
    centred: np.ndarray, other: np.ndarray, draws: int, rng: np.random.Generator
) -> Float[np.ndarray, " draw"]:
    """The criterion of a stratum after each permutation."""
    n = len(other)

    def parts() -> Iterator[np.ndarray]:
        size = max(1, AT_A_TIME // n**2)
        for start in range(0, draws, size):
            order = rng.permuted(np.tile(np.arange(n), (min(size, draws - start), 1)), axis=1)
            yield np.einsum("ij,dij->d", centred, other[order[:, :, None], order[:, None, :]])

    return np.concatenate(list(parts()))
