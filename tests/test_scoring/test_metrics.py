"""Metrics by hand on small numbers, and against scipy."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap, entropy, kendalltau

from bench.scoring import measures, metrics
from bench.scoring.catalogue import METRICS
from bench.scoring.evaluate import RawOutputs, curve, score
from bench.scoring.measures import LOGIT_DIFF, NUMBER_DIFF, OUTPUT_DIFF, PROB_DIFF, Measure
from bench.scoring.metrics import Answers, Outputs, outputs_of

CANDIDATES = torch.tensor([[0, 1, 2], [3, 4, 0]])
CORRECT = torch.tensor([[True, False, False], [True, True, False]])
ANSWERS = Answers(CANDIDATES, CORRECT, torch.tensor([0, 1]))


def logits(seed: int, answers: int = 2) -> torch.Tensor:
    return torch.randn(answers, 6, generator=torch.Generator().manual_seed(seed)).double()


def test_outputs_against_scipy() -> None:
    """KL is summed over the vocabulary, in nats, full model first."""
    full, run = logits(0), logits(1)
    outputs = outputs_of(run, full, CANDIDATES)
    for i in range(2):
        expected = entropy(full[i].softmax(-1).numpy(), run[i].softmax(-1).numpy())
        assert float(outputs.kl[i]) == pytest.approx(expected)
        p, q = (x[i][CANDIDATES[i]].softmax(-1).numpy() for x in (full, run))
        among = metrics.kl_candidates(outputs_of(full, full, CANDIDATES), outputs)
        assert float(among[i]) == pytest.approx(entropy(p, q))
    assert outputs_of(full, full, CANDIDATES).kl.tolist() == [0, 0]


def test_differences_by_hand() -> None:
    run = outputs_of(logits(1), logits(0), CANDIDATES)
    raw = logits(1)
    ld = measures.logit_diff(run.candidate_logits, run.log_z, CORRECT)
    assert float(ld[0]) == pytest.approx(float(raw[0, 0] - (raw[0, 1] + raw[0, 2]) / 2))
    assert float(ld[1]) == pytest.approx(float((raw[1, 3] + raw[1, 4]) / 2 - raw[1, 0]))
    p = raw.softmax(-1)
    pd = measures.prob_diff(run.candidate_logits, run.log_z, CORRECT)
    assert float(pd[1]) == pytest.approx(float(p[1, 3] + p[1, 4] - p[1, 0]))


def test_accuracies() -> None:
    """accuracy looks at the whole vocabulary, choice_accuracy at the candidates alone."""
    run = logits(0)
    run[0, 5] = 99  # no candidate
    run[0, 0] = 9
    run[1, 4] = 99
    outputs = outputs_of(run, run, CANDIDATES)
    assert metrics.accuracy(outputs, ANSWERS).tolist() == [False, True]
    assert metrics.choice_accuracy(outputs, ANSWERS).tolist() == [1, 1]
    tied = outputs_of(torch.zeros(2, 6).double(), run, CANDIDATES)
    assert metrics.choice_accuracy(tied, ANSWERS).tolist() == pytest.approx([1 / 3, 2 / 3])
    assert metrics.choice_probability(tied, ANSWERS).tolist() == pytest.approx([1 / 3, 2 / 3])
    assert metrics.choice_probability(outputs, ANSWERS).tolist() == pytest.approx([1, 1], abs=1e-2)
    dead = outputs_of(torch.full((2, 6), torch.nan).double(), run, CANDIDATES)
    assert metrics.choice_accuracy(dead, ANSWERS).isnan().all()


def test_kendall_against_scipy() -> None:
    full, run = (outputs_of(logits(s), logits(0), CANDIDATES) for s in (0, 1))
    ours = metrics.kendall_tau(full, run)
    assert ours[0] == pytest.approx(kendalltau(full.candidate_logits[0], run.candidate_logits[0]).statistic)
    tied = torch.randint(5, (2, 3, 100), generator=torch.Generator().manual_seed(0)).double()
    x, y = (Outputs(t, t[:, 0], t[:, 0].long(), t[:, 0]) for t in tied)
    theirs = [kendalltau(a, b).statistic for a, b in zip(*tied, strict=True)]
    assert metrics.kendall_tau(x, y).tolist() == pytest.approx(theirs)


def test_recovered_share() -> None:
    """0 at the empty circuit, 1 at the full, not clipped beyond, NaN where the two hardly differ."""
    full, empty = torch.tensor([2.0, 4.0, 3.0]), torch.tensor([0.0, 1.0, 0.5])
    assert metrics.recovered_share(empty, full, empty) == 0
    assert metrics.recovered_share(full, full, empty) == 1
    assert metrics.recovered_share(full + 2.5, full, empty) == pytest.approx(2)
    assert metrics.removed_share(empty, full, empty) == 1
    assert metrics.recovered_share(full, empty, full) == 0, "the full model may be the worse one"
    assert metrics.recovered_share(empty, empty, full) == 1
    noise = torch.tensor([0.1, -0.1, 0.02])
    assert np.isnan(metrics.recovered_share(full, empty + noise, empty))
    assert np.isnan(metrics.recovered_share(full, empty, empty))
    assert np.isnan(metrics.recovered_share(full[:1], full[:1], empty[:1])), "of one answer nobody knows"


def test_areas_by_hand() -> None:
    """A circuit that is perfect from the start has cpr 0.999 and cmd 0; one that is dead, 0 and 0.999."""
    shares = metrics.CURVE_SHARES
    perfect, dead = metrics.areas(shares, [1.0] * 10), metrics.areas(shares, [0.0] * 10)
    assert perfect["cpr"] == pytest.approx(0.999)
    assert perfect["cmd"] == 0
    assert perfect["cpr_log"] == pytest.approx(1)
    assert dead["cpr"] == 0
    assert dead["cmd"] == pytest.approx(0.999)
    linear = metrics.areas(shares, list(shares))
    assert linear["cpr"] == pytest.approx((1 - 0.001**2) / 2)
    beyond = metrics.areas(shares, [1.5] * 5 + [0.5] * 5)
    assert beyond["cmd_log"] == pytest.approx(0.5, abs=0.05), "too much does not make up for too little"
    assert beyond["cmd"] == pytest.approx(0.4995, abs=0.05)
    assert np.isnan(metrics.areas(shares, [float("nan")] + [1.0] * 9)["cpr"])


def interval(values: np.ndarray, template: np.ndarray, resamples: int, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean of one column."""
    return metrics.interval(metrics.bootstrap_means(values[:, None], template, resamples, seed)[:, 0])


def test_bootstrap_with_one_template_is_scipys() -> None:
    rng = np.random.default_rng(0)
    values = rng.exponential(size=100)
    low, high = interval(values, np.zeros(100, int), resamples=20000)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=rng)
    assert low == pytest.approx(theirs.confidence_interval.low, rel=0.02)
    assert high == pytest.approx(theirs.confidence_interval.high, rel=0.02)


def test_bootstrap_sees_templates() -> None:
    """Examples that differ between templates alone carry no more than the templates do."""
    template = np.repeat(np.arange(10), 50)
    values = np.random.default_rng(0).normal(size=10)[template]
    low, high = interval(values, template, resamples=4000)
    means = values.reshape(10, 50)[:, 0]
    width = 2 * 1.96 * means.std() / 10**0.5
    assert high - low == pytest.approx(width, rel=0.1)


def test_a_template_weighs_by_its_examples() -> None:
    """One example of a template, nine of another: drawn are both, or either one twice."""
    template, values = np.array([5] + [2] * 9), np.array([[0.0]] + [[1.0]] * 9)
    means = metrics.bootstrap_means(values, template, resamples=400)[:, 0]
    assert sorted({float(mean) for mean in means}) == [0, 0.9, 1]
    assert (means == 0.9).mean() == pytest.approx(0.5, abs=0.1)


def test_bootstrap_covers_the_mean() -> None:
    """Over many data sets with template effects, about 95 % of the intervals hold the true mean."""
    rng = np.random.default_rng(1)
    template = np.repeat(np.arange(30), 7)
    hits = 0
    for i in range(200):
        values = rng.normal(size=30)[template] + rng.normal(size=210)
        low, high = interval(values, template, resamples=300, seed=i)
        hits += low <= 0 <= high
    assert 0.90 <= hits / 200 <= 0.99


def raw_outputs(names: tuple[str, ...], n: int = 12) -> RawOutputs:
    full = logits(99, n) + 3 * torch.nn.functional.one_hot(torch.zeros(n, dtype=torch.long), 6)
    candidates = torch.tensor([[0, 1, 2]]).expand(n, 3)
    runs = {name: outputs_of(logits(i, n), full, candidates) for i, name in enumerate(names)}
    answers = Answers(candidates, torch.tensor([[True, False, False]]).expand(n, 3), torch.arange(n) % 3)
    return RawOutputs({"full": outputs_of(full, full, candidates), **runs}, answers)


def test_score_of_full_and_empty() -> None:
    raw = raw_outputs(("empty", "c"))
    full = score(raw, "full", "empty", LOGIT_DIFF)
    assert full["kl"] == full["kl_low"] == full["kl_high"] == 0
    assert full["exact_match"] == full["faithfulness"] == full["complement_loss"] == 1
    empty = score(raw, "empty", "full", LOGIT_DIFF)
    assert empty["faithfulness"] == empty["complement_loss"] == 0
    assert empty["complement_kl"] == 0
    c = score(raw, "c", None, PROB_DIFF)
    for name in ("kl", "faithfulness"):
        assert c[f"{name}_low"] < c[name] < c[f"{name}_high"]
    assert "complement_kl" not in c
    assert "kendall_tau" in c
    assert c["chance"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("measure", [LOGIT_DIFF, PROB_DIFF, OUTPUT_DIFF, NUMBER_DIFF])
def test_one_prompt_is_no_certainty(measure: Measure) -> None:
    """Of one prompt there are means, but neither an interval nor a share: not even one of width 0."""
    raw = raw_outputs(("empty", "c", "rest"), 1)
    alone = score(raw, "c", "rest", measure)
    unsure = {name for name, value in alone.items() if np.isnan(value)}
    assert {"faithfulness", "complement_loss"} <= unsure
    assert unsure <= {"faithfulness", "complement_loss", "kl_low", "kl_high"}
    assert measure.of_numbers or {"kl_low", "kl_high"} <= unsure
    names = dict.fromkeys(metrics.CURVE_SHARES, "c")
    assert curve(raw, names, measure) == {}


@pytest.mark.parametrize("measure", [OUTPUT_DIFF, NUMBER_DIFF])
def test_positions_of_one_input_are_one_prompt(measure: Measure) -> None:
    """A program's answers are all positions of its inputs, whose number is their template."""
    raw = raw_outputs(("empty", "c"))
    answers = raw.answers
    several = score(raw, "c", None, measure)
    assert not np.isnan(several["faithfulness"])
    one = RawOutputs(
        raw.runs, Answers(answers.candidates, answers.correct, torch.zeros(12, dtype=torch.long))
    )
    alone = score(one, "c", None, measure)
    assert np.isnan(alone["faithfulness"])
    assert all(np.isnan(value) for name, value in alone.items() if name.endswith(("_low", "_high")))
    assert not np.isnan(score(one, "c", None, LOGIT_DIFF)["kl_low"]), "twelve prompts of one wording"


def test_two_prompts_that_agree_have_an_interval() -> None:
    raw = raw_outputs(("empty", "c"), 2)
    same = {name: Outputs(*(getattr(run, f.name)[:1].repeat_interleave(2, 0) for f in fields(Outputs)))
            for name, run in raw.runs.items()}  # fmt: skip
    scores = score(RawOutputs(same, raw.answers), "c", None, LOGIT_DIFF)
    assert scores["kl_low"] == pytest.approx(scores["kl"])
    assert scores["kl_high"] == pytest.approx(scores["kl"])


def test_raw_outputs_survive_storage() -> None:
    raw = raw_outputs(("empty", "size 0.05", "complement 0.05"))
    again = RawOutputs.from_tensors(raw.tensors())
    assert score(again, "size 0.05", "complement 0.05", LOGIT_DIFF) == score(
        raw, "size 0.05", "complement 0.05", LOGIT_DIFF
    )


def test_curve_needs_every_point() -> None:
    names = {share: f"curve {share:g}" for share in metrics.CURVE_SHARES}
    raw = raw_outputs(("empty", *names.values()))
    assert set(curve(raw, names, LOGIT_DIFF)) == {"cpr", "cmd", "cpr_log", "cmd_log"}
    assert curve(raw, {0.1: "curve 0.1"}, LOGIT_DIFF) == {}


def test_every_score_is_described() -> None:
    """No number reaches a table without its meaning."""
    described = {metric.name for metric in METRICS}
    assert set(score(raw_outputs(("empty",)), "empty", "full", PROB_DIFF)) <= described
    assert len(described) == len(METRICS)
    assert all(metric.description and metric.label for metric in METRICS)
