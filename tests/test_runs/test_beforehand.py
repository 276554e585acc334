"""What can be known before any job is said before any job."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from bench.errors import ModelError
from bench.models.load import EMBEDDED
from bench.runs.beforehand import _look
from bench.runs.experiment import Experiment
from bench.study import Study
from command_line import CommandLine
from model_folders import VOCABULARY, edit, good_folder

RUN = ("-t", "gp", "-m", "eap", "--sizes", "5%", "--quick", "--out", "out")


@pytest.fixture
def model(command: CommandLine) -> Path:
    """A random model, in the folder where commands are typed."""
    (command.folder / "model").mkdir()
    return good_folder(command.folder / "model")


def smaller(folder: Path, **shape: int) -> None:
    """A random model of another shape in the place of the one that is there."""
    whole: dict[str, Any] = {
        "n_layer": 2,
        "n_embd": 16,
        "n_head": 2,
        "vocab_size": VOCABULARY,
        "n_positions": 64,
        **shape,
    }
    GPT2LMHeadModel(GPT2Config(**whole, bos_token_id=0, eos_token_id=0)).save_pretrained(folder)


def test_a_task_that_the_model_does_by_chance(command: CommandLine, model: Path) -> None:
    """Refused where it is named, skipped where it is not, run where somebody insists."""
    line = command.complaint("run", "--model", "model", *RUN)
    assert "the model 'model' cannot do the task 'gp': it chooses correctly on 0." in line
    assert line.endswith("chance is 0.50; --even-if-unable runs it anyway; choose another with -t or --model")
    (command.folder / "c.yaml").write_text("model: model\ntasks: [gp]\nmethods: [eap]\n")
    command("run", "--config", "c.yaml", "--quick", "--sizes", "5%", "--out", "skipped")
    rows = pd.read_csv(command.folder / "skipped" / "leaderboard.csv")
    assert set(rows["status"]) == {"skipped"}
    assert rows["status_reason"].str.contains("chance is 0.50").all()
    command("run", "--model", "model", *RUN, "--even-if-unable")
    assert (pd.read_csv(command.folder / "out" / "leaderboard.csv")["status"] == "ok").all()


def test_a_prompt_longer_than_the_context(command: CommandLine, model: Path) -> None:
    smaller(model, n_positions=8)
    line = command.complaint("run", "--model", "model", *RUN)
    assert "a prompt of the task 'gp' has " in line
    assert "but 'model' reads only 8: choose another with -t or --model" in line


def test_a_token_beyond_the_vocabulary(command: CommandLine, model: Path) -> None:
    smaller(model, vocab_size=200)
    line = command.complaint("run", "--model", "model", *RUN)
    assert "but 'model' knows only 200: its tokenizer is not the one that it was trained with" in line


def llama(folder: Path, kv_heads: int) -> Path:
    """A random model of two heads that rotates queries and keys."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=kv_heads,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((EMBEDDED / name).read_bytes())
    edit(folder / "config.json", bos_token_id=0, eos_token_id=0)
    return folder


def test_copies_per_head_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any job, and of a study; where each head has a key of its own nothing is copied."""
    shared, own = (str(llama(tmp_path / f"{n}", n)) for n in (1, 2))
    monkeypatch.setattr("bench.engine.memory.copied_per_head", lambda arch: 10**15)
    few: Any = {"kv": "per_head", "n_discovery": 4, "n_evaluation": 4}
    assert Study(own, "gp", **few).graph == Study(own, "gp", n_discovery=4, n_evaluation=4).graph
    jobs = Experiment(model=shared, tasks=("gp",), methods=("eap",), kv="per_head").jobs()
    with pytest.raises(ModelError, match=r"needs about 4000000\.0 GB more of main memory with keys"):
        Study(shared, "gp", **few)
    with pytest.raises(ModelError, match="leave --kv per_head out"):
        _look(cast(Any, None), jobs, even_if_unable=True)


def test_an_embedding_that_cannot_be_split(command: CommandLine) -> None:
    llama(command.folder / "llama", 2)
    (command.folder / "c.yaml").write_text("model: llama\nsplit_embed: true\ntasks: [gp]\n")
    line = command("run", "--config", "c.yaml", "--quick", "--out", "out", code=2).stderr
    assert "the embedding of 'llama' cannot be split: " in line
