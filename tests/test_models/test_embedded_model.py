"""The shipped language model: an ordinary directory, small, and good at the tasks it is there for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.models.load import EMBEDDED, RETRAINED
from bench.models.train_embedded import trained_tasks
from tasks import Split, find_tasks

DIRECTORIES = {"embedded": EMBEDDED, **RETRAINED}
EVALUATED = 480


SELDOM = [pytest.param(name, marks=pytest.mark.every) for name in list(RETRAINED)[1:]]


@pytest.fixture(scope="module", params=["embedded", next(iter(RETRAINED)), *SELDOM])
def directory(request: pytest.FixtureRequest) -> Path:
    return DIRECTORIES[request.param]


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> Any:
    return AutoTokenizer.from_pretrained(directory)


@pytest.fixture(scope="module")
def model(directory: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(directory).eval()


@torch.no_grad()
def measured(model: Any, tokenizer: Any, name: str, split: Split, templates: range) -> tuple[float, float]:
    """Accuracy over the whole vocabulary, and p(correct) - p(wrong), on new prompts of some wordings."""
    examples = find_tasks()[name]().examples(tokenizer, split, EVALUATED, 0)
    examples = examples.take(np.flatnonzero(np.isin(examples.template, templates)))
    logits = model(torch.tensor(examples.clean)).logits
    accuracy = difference = 0.0
    for i, at in enumerate(examples.positions):
        p = logits[i, at].softmax(-1).numpy()
        correct = examples.candidates[i][examples.correct[i]]
        wrong = examples.candidates[i][~examples.correct[i]]
        accuracy += float(p.argmax() in correct) / len(examples)
        difference += float(p[correct].sum() - p[wrong].sum()) / len(examples)
    return accuracy, difference


@pytest.mark.parametrize(
    ("name", "least_difference"), [("ioi", 0.75), ("ioi_t1", 0.75), ("gp", 0.95), ("gt", 0.65)]
)
def test_it_does_the_tasks_on_prompts_it_has_not_seen(
    name: str, least_difference: float, directory: Path, model: Any, tokenizer: Any
) -> None:
    """As the model card says, which was measured when it was trained, on more examples."""
    card = (directory / "README.md").read_text()
    row = re.search(rf"\| {name} \| (.*) \| (.*) \| (.*) \|", card)
    assert row
    kinds: list[tuple[Split, range]] = [
        ("evaluation", range(12)),
        ("evaluation", range(12, 24)),
        ("untrained", range(24, 28)),
    ]
    for told, (split, templates) in zip(row.groups(), kinds, strict=True):
        if told == "-, -":
            assert name == "ioi_t1"
            continue
        accuracy, difference = measured(model, tokenizer, name, split, templates)
        if split == "evaluation":
            assert accuracy >= 0.99
            assert difference >= least_difference
        said = re.fullmatch(r"([\d.]+)%, (-?[\d.]+)", told)
        assert said
        assert float(said[1]) / 100 == pytest.approx(accuracy, abs=0.02)
        assert float(said[2]) == pytest.approx(difference, abs=0.03)


def test_all_have_one_tokenizer() -> None:
    assert len({(folder / "tokenizer.json").read_bytes() for folder in DIRECTORIES.values()}) == 1


def test_the_tokenizer_knows_every_word_of_the_tasks_and_loses_nothing() -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(EMBEDDED)
    for task in trained_tasks().values():
        for split in get_args(Split):
            examples = task().examples(tokenizer, split, 500, 0)
            for rows in (examples.clean, examples.corrupted):
                assert not (rows == tokenizer.unk_token_id).any()
    text = "Surely Mary will make a kind nurse, won't she"
    assert tokenizer.decode(tokenizer([text])["input_ids"][0]) == text
    assert tokenizer.tokenize("began in the year 1732")[-2:] == [" 17", "32"]


def test_the_directory_is_small_and_says_nothing_of_the_machine_it_came_from(directory: Path) -> None:
    files = sorted(path for path in directory.iterdir() if path.is_file())
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= {
        path.name for path in files
    }
    assert sum(path.stat().st_size for path in files) < 8_000_000
    config = json.loads((directory / "config.json").read_text())
    assert config["model_type"] == "gpt2"
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert config.get(key) is None or config[key] < config["vocab_size"]
    for path in files:
        if path.suffix in {".json", ".md"} and path.name != "tokenizer.json":
            assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work|usr|Users)\b", path.read_text()), (
                path.name
            )
