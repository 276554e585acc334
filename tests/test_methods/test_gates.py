"""Gates: their distribution in closed form, by counting, and by finite differences of expectations."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from methods.training.gates import CHUNK, LogisticNoise, hard_concrete, log_open, straight_through

LOG_ALPHAS = torch.linspace(-5, 5, 11, dtype=torch.float64)
NOISE = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
"""Every quantile once: a mean over it is an integral."""


def test_gates_are_in_the_unit_interval_and_reach_both_ends() -> None:
    gates = hard_concrete(torch.zeros_like(NOISE), NOISE)
    assert float(gates.min()) == 0
    assert float(gates.max()) == 1
    assert 0.1 < float(((gates > 0) & (gates < 1)).double().mean()) < 0.9


def test_open_probability_is_the_share_of_open_samples() -> None:
    for log_alpha in LOG_ALPHAS:
        open_share = (hard_concrete(log_alpha.expand_as(NOISE), NOISE) > 0).double().mean()
        assert float(log_open(log_alpha).exp()) == pytest.approx(float(open_share), abs=2e-5)


def test_open_probability_as_the_paper_has_it() -> None:
    """sigmoid(log alpha - beta log(-low / high)), Louizos et al. 2018, equation 12."""
    expected = torch.sigmoid(LOG_ALPHAS - 2 / 3 * math.log(0.1 / 1.1))
    torch.testing.assert_close(log_open(LOG_ALPHAS).exp(), expected)


@pytest.mark.parametrize("function", [lambda z: z, torch.square, lambda z: (3 * z).sin()])
def test_gradient_is_that_of_the_expectation(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """What samples' gradients average to, against finite differences of the average."""

    def expectation(log_alpha: torch.Tensor) -> torch.Tensor:
        return function(hard_concrete(log_alpha.expand_as(NOISE), NOISE)).mean()

    for value in LOG_ALPHAS:
        log_alpha = value.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(expectation(log_alpha), log_alpha)
        difference = (expectation(value + 1e-3) - expectation(value - 1e-3)) / 2e-3
        assert float(gradient) == pytest.approx(float(difference), abs=1e-5)


def test_noise_at_its_ends_is_no_infinity() -> None:
    log_alpha = torch.tensor([-3.0, 3.0], requires_grad=True)
    gates = hard_concrete(log_alpha, torch.tensor([0.0, 1.0]))
    assert gates.tolist() == [0, 1]
    gates.sum().backward()
    assert log_alpha.grad is not None
    assert log_alpha.grad.isfinite().all()


# ---- straight-through gates


def test_straight_through_gates_are_open_as_often_as_the_logits_say() -> None:
    noise = torch.logit(NOISE)
    for logit in LOG_ALPHAS:
        gates = straight_through(logit.expand_as(noise), noise, 0.3)
        assert set(gates.unique().tolist()) <= {0.0, 1.0}
        assert gates.mean().item() == pytest.approx(torch.sigmoid(logit).item(), abs=2e-5)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 2.5])
def test_the_backward_pass_is_the_soft_gates(temperature: float) -> None:
    """Under the same noise, by finite differences; more entries than a chunk, in a shape of its own."""
    random = torch.Generator().manual_seed(0)
    logits, direction = torch.randn(2, 3, CHUNK // 2 + 7, generator=random, dtype=torch.float64)
    noise = torch.logit(torch.rand(logits.shape, generator=random, dtype=torch.float64))

    def soft(logits: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid((logits + noise) / temperature)

    leaf = logits.clone().requires_grad_()
    (straight_through(leaf, noise, temperature) * direction).sum().backward()
    expected = (soft(logits + 1e-5) - soft(logits - 1e-5)) / 2e-5 * direction
    torch.testing.assert_close(leaf.grad, expected, rtol=1e-6, atol=1e-8)


def test_soft_gates_are_what_the_gradient_is_of() -> None:
    logits = torch.tensor([-1.0, 0.5, 3.0, -torch.inf], dtype=torch.float64)
    noise = torch.tensor([0.3, -0.7, 0.0, 1.0], dtype=torch.float64)
    soft, hard = (straight_through(logits, noise, 0.5, hard=kind) for kind in (False, True))
    torch.testing.assert_close(soft, torch.sigmoid((logits + noise) / 0.5))
    assert hard.equal((soft > 0.5).double())
    assert logits.tolist() == [-1.0, 0.5, 3.0, -math.inf]
    once, again = (logits.clone().requires_grad_() for _ in range(2))
    straight_through(once, noise, 0.5, lambda: 0.3, hard=False).prod().backward()
    torch.sigmoid((again + noise) / 0.5).prod().add(0.3 * torch.sigmoid(again).sum()).backward()
    torch.testing.assert_close(once.grad, again.grad)


def test_the_backward_pass_adds_the_prices() -> None:
    """Of price times the probability of being open; a gate that does not exist has none."""
    logits = torch.tensor([-1.0, 0.5, 3.0, -torch.inf], dtype=torch.float64, requires_grad=True)
    price = 0.0  # what counts is the price when the backward pass runs
    samples = straight_through(logits, torch.zeros(4, dtype=torch.float64), 1.0, lambda: price)
    price = 0.3
    (0 * samples).sum().backward()
    open_ = torch.sigmoid(logits.detach())
    torch.testing.assert_close(logits.grad, 0.3 * open_ * (1 - open_))


def test_gradients_of_any_layout() -> None:
    logits = torch.zeros(4, 6, requires_grad=True)
    pull = torch.arange(24.0).view(6, 4).T
    straight_through(logits, torch.zeros(4, 6), 1.0).mul(pull).sum().backward()
    torch.testing.assert_close(logits.grad, pull / 4)
    turned = torch.full((6, 4), 5.0).T
    assert straight_through(turned, torch.zeros(4, 6), 1.0).eq(1).all()


def test_windows_of_logistic_noise() -> None:
    noise = LogisticNoise(1000, torch.Generator().manual_seed(0))
    windows = torch.stack([noise.window(torch.Size((20, 50))).flatten() for _ in range(50)])
    assert len(windows[:, 0].unique()) > 45
    assert (windows > 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert windows.std().item() == pytest.approx(math.pi / math.sqrt(3), rel=0.05)  # the logistic's
