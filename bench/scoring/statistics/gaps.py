"""The headline: how far a circuit is from the model, as a share of how far the empty circuit is."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int

FLOOR = 0.01
"""Share of the empty circuit's KL below which there is nothing left to gain."""
LOG_FLOOR = math.log(FLOOR)
ABOVE_FLOOR = LOG_FLOOR + 1e-9
"""What is not higher is at the floor: a mean of values there may miss it by rounding."""


def recovered(
    kl: Float[np.ndarray, "answer row"], empty: Float[np.ndarray, " answer #row"]
) -> Float[np.ndarray, " row"]:
    """1 - mean kl / mean kl of the empty circuit; higher is better.

    1 is the model, 0 the empty circuit, below 0 worse than that; NaN if the empty circuit's mean is 0.

    Args:
        kl: of the circuits.
        empty: of the empty circuit at the same answers, a column for each row or one for all.
    """
    found: Float[np.ndarray, " row"] = 1 - _share(kl.mean(0), empty.mean(0))
    return found


def template_log_gaps(
    kl: Float[np.ndarray, "answer row"],
    empty: Float[np.ndarray, " answer #row"],
    template: Int[np.ndarray, " answer"],
) -> Float[np.ndarray, "template row"]:
    """y_g = log max(mean kl / mean kl of the empty circuit, 0.01) of each template; lower is better.

    NaN if the empty circuit's mean is 0.

    Args:
        kl: of the circuits.
        empty: of the empty circuit at the same answers, a column for each row or one for all.
        template: of each answer; rows of the result are in the order of their numbers.
    """
    groups = [template == number for number in np.unique(template)]
    shares = np.stack([_share(kl[here].mean(0), empty[here].mean(0)) for here in groups])
    gaps: Float[np.ndarray, "template row"] = np.log(np.maximum(shares, FLOOR))
    return gaps


def _share(kl: np.ndarray, empty: np.ndarray) -> np.ndarray:
    return kl / np.where(empty > 0, empty, np.nan)
