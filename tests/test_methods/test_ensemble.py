"""The ensemble: ranks by their definition, its cost, and going on after a kill in either part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from bench.engine.masked_model import MaskedModel
from bench.names import choose_method
from bench.scoring.measures import DIVERGENCE
from methods.base import Discovery
from methods.eap import EAP
from methods.eap_ig import EAPIG
from methods.ensemble import Ensemble, ranks_of
from methods.exact import Exact
from methods.learned_ranking import LearnedRanking
from problems import killed_at, problem

CLASSES = {"eap": EAP, "eap_ig": EAPIG}


def test_edges_that_tie_share_a_rank() -> None:
    scores = torch.tensor([[3.0, 1.0, 3.0], [0.0, 1.0, 9.0]])
    exists = torch.tensor([[True, True, True], [False, True, True]])
    ranks = ranks_of(scores, exists)
    assert ranks[exists].tolist() == [2.5, 4.5, 2.5, 4.5, 1]
    assert ranks[1, 0] == 0


@pytest.mark.parametrize(("combine", "how"), [("mean", np.mean), ("best", np.min), ("worst", np.max)])
def test_a_ranking_is_made_of_ranks(tiny: MaskedModel, combine: str, how: np.ufunc) -> None:
    """Of the parts' own; and it costs what they do."""
    p, parts = problem(tiny), []
    exists = p.graph.exists
    for each in CLASSES.values():
        found = each().discover(p).scores
        assert found is not None
        parts.append(rankdata(-found[exists].numpy()))
    together = problem(tiny)
    scores = Ensemble(methods="eap+eap_ig", combine=combine).discover(together).scores  # type: ignore[arg-type]
    assert scores is not None
    combined, mean = how(parts, axis=0), np.mean(parts, axis=0)
    expected = sorted(range(len(mean)), key=lambda i: (combined[i], mean[i]))
    order = scores[exists].argsort(descending=True, stable=True).tolist()
    assert [(combined[i], mean[i]) for i in order] == [(combined[i], mean[i]) for i in expected]
    assert together.counter == p.counter


def test_a_killed_ensemble_goes_on(
    tiny: MaskedModel, saves_at_every_call: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was: parts keep their checkpoints apart, and none is done twice."""
    method = Ensemble(methods="exact+learned_ranking+eap")
    monkeypatch.setattr(Ensemble, "uses", lambda _: [Exact(), LearnedRanking(steps=50), EAP()])

    undisturbed = problem(tiny, unaided=False)
    whole = method.discover(undisturbed)
    rows = int(undisturbed.graph.exists.any(1).sum())
    for call in (3, rows, rows + 5):
        path = tmp_path / f"{call}.safetensors"
        with pytest.raises(KeyboardInterrupt):
            killed_at(call, method, problem(tiny, unaided=False), path)
        p = problem(tiny, unaided=False)
        resumed = killed_at(0, method, p, path)
        assert resumed.scores is not None
        assert whole.scores is not None
        assert resumed.scores.equal(whole.scores)
        assert p.counter.backwards == undisturbed.counter.backwards


def test_a_part_that_declines_or_has_no_scores_is_named(
    tiny: MaskedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Ensemble(methods="eap+gim").skip(problem(tiny)) is None
    divergence = problem(tiny, measure=DIVERGENCE.name)
    assert Ensemble(methods="eap_ig+eap").skip(divergence) == f"eap declines: {EAP().skip(divergence)}"
    monkeypatch.setattr(EAP, "discover", lambda self, p: Discovery(unaided=p.graph.exists))
    with pytest.raises(ValueError, match="eap returns no scores here: leave it out of the ensemble"):
        Ensemble(methods="eap_ig+eap").discover(problem(tiny))


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("eap", "at least two different ones, joined by [+], not 'eap'"),
        ("eap+eap", "at least two different ones"),
        ("eap+ensemble", "an ensemble cannot be a member of one"),
        ("eap+epa", "'epa' is not one of circuitmark's methods: choose from acdc, "),
    ],
)
def test_what_makes_no_ensemble_is_said(methods: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ensemble(methods=methods)


def test_its_code_is_that_of_its_parts_too() -> None:
    files = {file.stem for file in choose_method("ensemble:methods=eap+learned_ranking").files}
    assert files == {"ensemble", "eap", "learned_ranking"}
    assert choose_method("ensemble:methods=eap+learned_ranking").stochastic
    assert not choose_method("ensemble:methods=eap+gim").stochastic
