"""What scores vary with: components of variance by the method of moments."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

COMPONENTS = ("model", "data", "method", "template", "prompt", "rest_of_run", "rest_of_prompt")


def components(
    values: Float[np.ndarray, "model data method answer"], template: Int[np.ndarray, " answer"]
) -> dict[str, float]:
    """Variances of a score's parts, found by equating mean squares with their expectations.

    Every run (a training seed of the model, a data seed, a method seed) is scored on the same prompts, so

        value = mean + model + data + method + rest of run + template + prompt of template + rest of prompt,

    all of them random and crossed, prompts within their templates, templates of any number of prompts
    (Searle, Casella and McCulloch 1992, Variance Components, chapter 5). `rest_of_run` is the interaction of
    model, data seed and method seed in a run's mean, `rest_of_prompt` that of a run and a prompt.

    Unbiased, hence sometimes below 0 if a part is small: it was then not detected. NaN for a part with only
    one level, and for all if a value is unscored. In squares of the values' unit.

    Args:
        values: one per run and answer, such as log kl.
        template: of each answer.
    """
    runs, answers = values.mean(3), values.mean((0, 1, 2))
    n_runs, n = runs.size, len(answers)
    grand = float(values.mean())
    rest = values - runs[..., None] - answers + grand
    rest_of_prompt = _divided(float(np.square(rest).sum()), (n_runs - 1) * (n - 1))
    found = _of_runs(runs, grand)
    found["rest_of_run"] -= rest_of_prompt / n
    found |= _of_prompts(answers, template, rest_of_prompt / n_runs)
    found["rest_of_prompt"] = rest_of_prompt
    return {name: found[name] for name in COMPONENTS}


def _of_runs(runs: Float[np.ndarray, "model data method"], grand: float) -> dict[str, float]:
    """Of the three crossed factors: the mean square of each, minus that of the rest."""
    axes = dict(zip(("model", "data", "method"), range(3), strict=True))
    means = {name: runs.mean(tuple({0, 1, 2} - {axis}), keepdims=True) - grand for name, axis in axes.items()}
    left = runs - grand - sum(means.values())
    freedom = runs.size - 1 - sum(size - 1 for size in runs.shape)
    of_rest = _divided(float(np.square(left).sum()), freedom)
    found = {}
    for name, axis in axes.items():
        levels = runs.shape[axis]
        between = _divided(
            float(np.square(means[name]).sum()), levels - 1
        )  # of means over runs.size / levels
        found[name] = between - of_rest * levels / runs.size
    return {**found, "rest_of_run": of_rest}


def _of_prompts(
    answers: Float[np.ndarray, " answer"], template: Int[np.ndarray, " answer"], noise: float
) -> dict[str, float]:
    """Of templates, and of prompts within them, from means over runs that still contain some noise."""
    _, place, counts = np.unique(template, return_inverse=True, return_counts=True)
    n, groups = len(answers), len(counts)
    means = np.bincount(place, answers) / counts
    within = _divided(float(np.square(answers - means[place]).sum()), n - groups)
    between = _divided(float(counts @ np.square(means - answers.mean())), groups - 1)
    each = _divided(n - float(counts @ counts) / n, groups - 1)
    return {"template": _divided(between - within, each), "prompt": within - noise}


def _divided(amount: float, by: int | float) -> float:
    """The quotient; NaN if the divisor is 0."""
    return amount / by if by else float("nan")
