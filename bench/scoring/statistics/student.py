"""Means over templates and over seeds with Student's t: what can be said beyond the prompts at hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

FEWEST_PROMPTS = 8
"""Prompts of a template below which its mean is too rough to use."""
FEWEST_TEMPLATES = 10
"""Templates below which nothing is said about new templates."""
FEWEST_SEEDS = 3
"""Data seeds below which their scatter says too little; each is shown instead."""
NONE = float("nan")
ROUNDING = 1e-12
"""A standard error below this share of the values is rounding, and is 0."""


@dataclass(frozen=True)
class Interval:
    """Two ends and what they are about, or the reason why there are none."""

    low: float
    high: float
    over: str
    """What varies from draw to draw: "these prompts", "new templates", and so on."""
    reason: str = ""
    """Empty if there is an interval; otherwise both ends are NaN."""


@dataclass(frozen=True)
class Mean:
    """A mean, its standard error and the degrees of freedom of Student's t."""

    value: float
    standard_error: float
    freedom: float
    over: str
    """What varies from draw to draw."""
    reason: str = ""
    """Why there is no p; empty where there is one."""

    def interval(self) -> Interval:
        """The 95 % confidence interval of the population's mean, in the mean's unit."""
        from scipy.special import stdtrit

        if self.standard_error == 0:
            return Interval(self.value, self.value, self.over)
        reach = float(stdtrit(self.freedom, 0.975)) * self.standard_error
        return Interval(self.value - reach, self.value + reach, self.over, self.reason)

    def p_above(self, bound: float) -> float:
        """One-sided p of "it is no more than the bound": small if the mean is far above.

        NaN if there is no standard error, or if it is 0.

        Args:
            bound: in the mean's unit.
        """
        from scipy.special import stdtr

        if self.standard_error == 0:
            return NONE
        return float(stdtr(self.freedom, (bound - self.value) / self.standard_error))

    def p_below(self, bound: float) -> float:
        """One-sided p of "it is no less than the bound", as `p_above`.

        Args:
            bound: in the mean's unit.
        """
        return replace(self, value=-self.value).p_above(-bound)

    def p(self) -> float:
        """Two-sided p of "it is 0", NaN as `p_above`."""
        return 2 * min(self.p_above(0.0), self.p_below(0.0))

    def without(self, reason: str) -> Mean:
        """The same value and no standard error, for a reason."""
        return replace(self, standard_error=NONE, freedom=NONE, reason=reason)


def over_templates(
    values: Float[np.ndarray, " template"], fewest_prompts: int, over: str = "new templates"
) -> Mean:
    """The mean over templates as an estimate for all templates: "new templates".

    Student's t on one value per template (that of its prompts), G - 1 degrees of freedom. It estimates the
    mean over all templates of the value that as many prompts of each have on average. The ends of log_gaps
    become those of `recovered` by 1 - exp(y), with low and high swapped: that of the typical template (1
    minus the geometric mean of the templates' shares of the empty circuit's KL), at most 0.99, and not a mean
    over prompts.

    Args:
        values: of each template; for "new templates", of those that no method saw.
        fewest_prompts: number of prompts of the smallest template.
        over: what varies from draw to draw.
    """
    mean = Mean(_mean(values), NONE, NONE, over)
    variance = float(values.var(ddof=1)) / len(values) if len(values) > 1 else NONE
    return _with_error(mean, values, variance, len(values) - 1.0, fewest_prompts)


def over_seeds(values: Float[np.ndarray, "seed template"], fewest_prompts: int) -> Mean:
    """The mean over data seeds and templates as an estimate for all of both: the hierarchical interval.

    Every seed is scored on the same prompts, so the two are crossed: value = mean + seed + template + rest;
    prompts are nested in templates, and their scatter is in that of the templates. The variance is

        s_D^2 / D + s_G^2 / G - s^2 / (D G),

    s_D of the seeds' means over templates, s_G of the templates' means over seeds, s of what neither
    explains: each of the first two terms contains the rest once, so their sum contains it twice. It is no
    less than either of them, and its degrees of freedom are Satterthwaite's (1946, Biometrics Bulletin 2). It
    errs on the safe side if the rest outweighs both.

    Args:
        values: log_gap, or a difference of two methods', by data seed and template.
        fewest_prompts: number of prompts of the smallest template.
    """
    seeds, templates = values.shape
    mean = Mean(_mean(values), NONE, NONE, "new data seeds and templates")
    if seeds < FEWEST_SEEDS:
        return mean.without(f"at least {FEWEST_SEEDS} data seeds are needed, not {seeds}")
    of_seeds, of_templates = values.mean(1), values.mean(0)
    rest = values - of_seeds[:, None] - of_templates + mean.value
    both = (seeds - 1) * (templates - 1)
    parts = np.array(
        [
            of_seeds.var(ddof=1) / seeds,
            of_templates.var(ddof=1) / templates,
            np.square(rest).sum() / both / values.size,
        ]
    )
    variance = float(max(parts[0] + parts[1] - parts[2], parts[0], parts[1]))
    spread = float((parts**2 / [seeds - 1, templates - 1, both]).sum())
    return _with_error(mean, values, variance, variance**2 / spread if spread else NONE, fewest_prompts)


def too_few_templates(templates: int) -> str:
    """Why nothing is said about other templates; empty if there are enough."""
    enough = templates >= FEWEST_TEMPLATES
    return "" if enough else f"at least {FEWEST_TEMPLATES} templates are needed, not {templates}"


def too_few_prompts(fewest: int) -> str:
    """Why nothing is said if a template has so few; empty if there are enough."""
    enough = fewest >= FEWEST_PROMPTS
    return "" if enough else f"at least {FEWEST_PROMPTS} prompts per template are needed, not {fewest}"


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else NONE


def _with_error(mean: Mean, values: np.ndarray, variance: float, freedom: float, fewest_prompts: int) -> Mean:
    """The standard error and its degrees of freedom, or why there are none."""
    if reason := too_few_templates(values.shape[-1]) or too_few_prompts(fewest_prompts):
        return mean.without(reason)
    if not np.isfinite(values).all():
        return mean.without("unscored")
    error = variance**0.5
    if error <= ROUNDING * float(np.abs(values).max()):
        return replace(mean, standard_error=0.0, reason="a standard error of 0")
    return replace(mean, standard_error=error, freedom=freedom)
