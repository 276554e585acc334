"""The shipped language model: an ordinary directory, small, and good at the tasks it is there for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import bench.models
from tasks import find_tasks

DIRECTORY = Path(bench.models.__file__).parent / "embedded"
EVALUATED = 500


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(DIRECTORY)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(DIRECTORY).eval()


@torch.no_grad()
def measured(model: Any, tokenizer: Any, name: str) -> tuple[float, float]:
    """Accuracy over the whole vocabulary, and p(correct) - p(wrong), on the evaluation split."""
    examples = find_tasks()[name]().examples(tokenizer, "evaluation", EVALUATED, 0)
    logits = model(torch.from_numpy(examples.clean)).logits
    accuracy = difference = 0.0
    for i, at in enumerate(examples.positions):
        p = logits[i, at].softmax(-1).numpy()
        correct = examples.candidates[i][examples.correct[i]]
        wrong = examples.candidates[i][~examples.correct[i]]
        accuracy += float(p.argmax() in correct) / EVALUATED
        difference += float(p[correct].sum() - p[wrong].sum()) / EVALUATED
    return accuracy, difference


@pytest.mark.parametrize(
    ("name", "least_accuracy", "least_difference"),
    [("ioi", 0.99, 0.75), ("ioi_t1", 0.99, 0.75), ("gp", 0.99, 0.95), ("gt", 0.99, 0.65)],
)
def test_it_does_the_tasks_on_prompts_it_has_not_seen(
    name: str, least_accuracy: float, least_difference: float, model: Any, tokenizer: Any
) -> None:
    accuracy, difference = measured(model, tokenizer, name)
    assert accuracy >= least_accuracy
    assert difference >= least_difference
    # The model card says what was measured when it was trained, on more examples.
    row = re.search(rf"\| {name} \| ([\d.]+)% \| ([\d.]+) \|", (DIRECTORY / "README.md").read_text())
    assert row
    assert float(row[1]) / 100 == pytest.approx(accuracy, abs=0.02)
    assert float(row[2]) == pytest.approx(difference, abs=0.03)


def test_the_tokenizer_knows_every_word_of_the_tasks_and_loses_nothing(tokenizer: Any) -> None:
    for task in find_tasks().values():
        examples = task().examples(tokenizer, "discovery", 500, 0)
        for rows in (examples.clean, examples.corrupted):
            assert not (rows == tokenizer.unk_token_id).any()
    text = "Surely Mary will make a kind nurse, won't she"
    assert tokenizer.decode(tokenizer([text])["input_ids"][0]) == text
    assert tokenizer.tokenize("began in the year 1732")[-2:] == [" 17", "32"]


def test_the_directory_is_small_and_says_nothing_of_the_machine_it_came_from(model: Any) -> None:
    files = sorted(path for path in DIRECTORY.iterdir() if path.is_file())
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= {
        path.name for path in files
    }
    assert sum(path.stat().st_size for path in files) < 8_000_000
    config = json.loads((DIRECTORY / "config.json").read_text())
    assert config["model_type"] == "gpt2"
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert config.get(key) is None or config[key] < config["vocab_size"]
    for path in files:
        if path.suffix in {".json", ".md"} and path.name != "tokenizer.json":
            assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work|usr|Users)\b", path.read_text()), (
                path.name
            )
