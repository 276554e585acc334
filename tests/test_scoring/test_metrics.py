"""Metrics by hand on small numbers, and against scipy."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.stats import entropy, kendalltau

from bench.scoring import measures, metrics
from bench.scoring.catalogue import METRICS
from bench.scoring.evaluate import ABSOLUTE, SIGNED, RawOutputs, curves, score, unsaid
from bench.scoring.measures import LOGIT_DIFF, NUMBER_DIFF, OUTPUT_DIFF, PROB_DIFF, Measure
from bench.scoring.metrics import Answers, Outputs, outputs_of
from bench.scoring.statistics.gaps import template_log_gaps
from bench.scoring.statistics.intervals import of_kl

CANDIDATES = torch.tensor([[0, 1, 2], [3, 4, 0]])
CORRECT = torch.tensor([[True, False, False], [True, True, False]])
ANSWERS = Answers(CANDIDATES, CORRECT, torch.tensor([0, 1]), torch.zeros(2).bool())


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
    perfect, dead = (
        metrics.areas(shares, [1.0] * 10, [1.0] * 10),
        metrics.areas(shares, [0.0] * 10, [0.0] * 10),
    )
    assert perfect["cpr"] == pytest.approx(0.999)
    assert perfect["cmd"] == 0
    assert perfect["cpr_log"] == pytest.approx(1)
    assert dead["cpr"] == 0
    assert dead["cmd"] == pytest.approx(0.999)
    linear = metrics.areas(shares, list(shares), [0.0] * 5 + [1.0] * 5)
    assert linear["cpr"] == pytest.approx((1 - 0.001**2) / 2)
    assert linear["acc_auc"] == pytest.approx(math.log(1 / (0.02 * 0.05) ** 0.5) / math.log(1000))
    assert perfect["acc_auc"] == pytest.approx(1)
    assert dead["acc_auc"] == 0
    beyond = metrics.areas(shares, [1.5] * 5 + [0.5] * 5, [0.0] * 10)
    assert beyond["cmd_log"] == pytest.approx(0.5, abs=0.05), "too much does not make up for too little"
    assert beyond["cmd"] == pytest.approx(0.4995, abs=0.05)
    assert np.isnan(metrics.areas(shares, [float("nan")] + [1.0] * 9, [0.0] * 10)["cpr"])


def raw_outputs(names: tuple[str, ...], n: int = 24, templates: int = 3) -> RawOutputs:
    full = logits(99, n) + 3 * torch.nn.functional.one_hot(torch.zeros(n, dtype=torch.long), 6)
    candidates = torch.tensor([[0, 1, 2]]).expand(n, 3)
    runs = {name: outputs_of(logits(i, n), full, candidates) for i, name in enumerate(names)}
    template, correct = torch.arange(n) % templates, torch.tensor([[True, False, False]]).expand(n, 3)
    answers = Answers(candidates, correct, template, 2 * template >= templates)
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


ENDS = {f"{name}_{end}" for name in ("kl", "recovered", "log_gap") for end in ("low", "high")}


@pytest.mark.parametrize("measure", [LOGIT_DIFF, PROB_DIFF, OUTPUT_DIFF, NUMBER_DIFF])
def test_one_prompt_is_no_certainty(measure: Measure) -> None:
    """Of one prompt there are means, but neither an interval nor a share: not even one of width 0."""
    raw = raw_outputs(("empty", "c", "rest"), 1)
    alone = score(raw, "c", "rest", measure)
    unsure = {name for name, value in alone.items() if np.isnan(value)}
    assert {"faithfulness", "complement_loss"} <= unsure
    assert unsure <= {"faithfulness", "complement_loss", *ENDS}
    assert measure.of_numbers or unsure >= ENDS
    names = dict.fromkeys(metrics.CURVE_SHARES, "c")
    assert curves(raw, names, {}, measure) == {}


@pytest.mark.parametrize("measure", [OUTPUT_DIFF, NUMBER_DIFF])
def test_positions_of_one_input_are_one_prompt(measure: Measure) -> None:
    """A program's answers are all positions of its inputs, whose number is their template."""
    raw = raw_outputs(("empty", "c"))
    answers = raw.answers
    several = score(raw, "c", None, measure)
    assert not np.isnan(several["faithfulness"])
    one = RawOutputs(raw.runs, replace(answers, template=torch.zeros(24, dtype=torch.long)))
    alone = score(one, "c", None, measure)
    assert np.isnan(alone["faithfulness"])
    assert all(np.isnan(value) for name, value in alone.items() if name.endswith(("_low", "_high")))
    assert not np.isnan(score(one, "c", None, LOGIT_DIFF)["kl_low"]), "24 prompts of one wording"


def test_prompts_that_agree_have_an_interval() -> None:
    raw = raw_outputs(("empty", "c"))
    same = {name: Outputs(*(getattr(run, f.name)[:1].repeat_interleave(24, 0) for f in fields(Outputs)))
            for name, run in raw.runs.items()}  # fmt: skip
    scores = score(RawOutputs(same, raw.answers), "c", None, LOGIT_DIFF)
    assert scores["kl_low"] == pytest.approx(scores["kl"])
    assert scores["kl_high"] == pytest.approx(scores["kl"])


def test_the_headline_and_what_may_be_said_of_it() -> None:
    """Of these prompts, and of new templates: the very numbers of `statistics`."""
    raw = raw_outputs(("empty", "c"), 192, 24)
    found, told = score(raw, "c", None, LOGIT_DIFF), unsaid(raw.answers)
    kl, empty = (raw.runs[name].kl.double().numpy()[:, None] for name in ("c", "empty"))
    assert found["recovered"] == pytest.approx(1 - kl.mean() / empty.mean())
    template = raw.answers.template.numpy()
    assert found["log_gap"] == pytest.approx(template_log_gaps(kl, empty, template).mean(0)[0])
    for name, statistic in of_kl(kl, empty, template).items():
        assert (found[f"{name}_low"], found[f"{name}_high"]) == (statistic.low[0], statistic.high[0])
    new = template >= 12
    gaps = template_log_gaps(kl[new], empty[new], template[new])[:, 0]
    reach = stats.t.ppf(0.975, 11) * stats.sem(gaps)
    assert found["log_gap_new"] == pytest.approx(gaps.mean())
    assert found["log_gap_new_high"] == pytest.approx(gaps.mean() + reach)
    assert found["recovered_new_low"] == pytest.approx(1 - math.exp(gaps.mean() + reach))
    assert found["recovered_new_low"] < found["recovered_new"] < found["recovered_new_high"]
    assert told == {"these_prompts": "", "new_templates": ""}


@pytest.mark.parametrize(
    ("n", "templates", "these", "new"),
    [
        (
            184,
            24,
            "at least 8 prompts per template are needed, not 7",
            "at least 8 prompts per template are needed, not 7",
        ),
        (144, 18, "", "at least 10 templates are needed, not 9"),
        (16, 1, "", "at least 10 templates are needed, not 0"),
    ],
)
def test_what_is_not_to_be_had_is_told(n: int, templates: int, these: str, new: str) -> None:
    raw = raw_outputs(("empty", "c"), n, templates)
    raw = replace(raw, answers=replace(raw.answers, held_out=raw.answers.held_out & (templates > 1)))
    assert unsaid(raw.answers) == {"these_prompts": these, "new_templates": new}
    found = score(raw, "c", None, LOGIT_DIFF)
    assert np.isnan(found["recovered_low"]) == bool(these)
    assert np.isnan(found.get("recovered_new_low", np.nan)) == bool(new)
    assert not np.isnan(found["recovered"])


def test_raw_outputs_survive_storage() -> None:
    raw = raw_outputs(("empty", "size 0.05", "complement 0.05"), 192, 24)
    again = RawOutputs.from_tensors(raw.tensors())
    assert score(again, "size 0.05", "complement 0.05", LOGIT_DIFF) == score(
        raw, "size 0.05", "complement 0.05", LOGIT_DIFF
    )


def test_older_raw_outputs_have_no_new_templates() -> None:
    tensors = raw_outputs(("empty", "c"), 192, 24).tensors()
    del tensors["answers.held_out"]
    older = RawOutputs.from_tensors(tensors)
    assert not older.answers.held_out.any()
    assert "recovered_new" not in score(older, "c", None, LOGIT_DIFF)


def test_curve_needs_every_point() -> None:
    names = {share: f"curve {share:g}" for share in metrics.CURVE_SHARES}
    raw = raw_outputs(("empty", *names.values()))
    assert set(curves(raw, names, {}, LOGIT_DIFF)) == {"cpr", "cmd", "cpr_log", "cmd_log", "acc_auc"}
    assert curves(raw, {0.1: "curve 0.1"}, {}, LOGIT_DIFF) == {}


def test_cpr_is_of_the_signed_ranking_and_cmd_of_the_absolute_one() -> None:
    absolute, signed = ({s: f"{which} {s:g}" for s in metrics.CURVE_SHARES} for which in (ABSOLUTE, SIGNED))
    raw = raw_outputs(("empty", *absolute.values(), *signed.values()))
    both = curves(raw, absolute, signed, LOGIT_DIFF)
    of_absolute, of_signed = curves(raw, absolute, {}, LOGIT_DIFF), curves(raw, signed, {}, LOGIT_DIFF)
    assert both == {n: (of_absolute if n.startswith("cmd") else of_signed)[n] for n in both}
    assert of_absolute["cpr"] != of_signed["cpr"]
    full = Outputs(*(getattr(raw.runs["full"], f.name) for f in fields(Outputs)))
    perfect = RawOutputs({**raw.runs, **dict.fromkeys(absolute.values(), full)}, raw.answers)
    assert curves(perfect, absolute, {}, LOGIT_DIFF)["cmd"] == pytest.approx(0, abs=1e-9)


def test_every_score_is_described() -> None:
    """No number reaches a table without its meaning."""
    described = {metric.name for metric in METRICS}
    assert set(score(raw_outputs(("empty",)), "empty", "full", PROB_DIFF)) <= described
    assert len(described) == len(METRICS)
    assert all(metric.description and metric.label for metric in METRICS)
