"""Models of a hub, which is a server on the loopback interface."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from bench.models.load import EMBEDDED, FILES, fingerprint
from bridge_oracle import tiny_gpt2
from gguf_files import left_in
from hub_server import COMMIT, Hub, hub_server

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 with the tokenizer of the shipped model, and what no one needs, as a hub has it."""
    folder = tmp_path_factory.mktemp("repository")
    tiny_gpt2(torch.float32, vocab_size=573, n_positions=64, n_layer=2, n_embd=16, n_head=2).save_pretrained(
        folder
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(EMBEDDED / name, folder)
    (folder / "README.md").write_text("# A model")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "modeling.py").write_text("raise SystemExit('nobody runs this')")
    return folder


@pytest.fixture
def hub(repository: Path) -> Iterator[Hub]:
    with hub_server({"someone/small": repository, "someone/embedded": repository}) as served:
        yield served


FIND = ("-c", "import sys; from bench.models.load import find_model; print(find_model(sys.argv[1]))")
LOAD = (
    "-c",
    "import sys; from bench.models.load import load_model\n"
    "for name in sys.argv[1:]: print(load_model(name).masked.architecture.d_model)",
)
RUN = ("-t", "gp", "-m", "random_edges", "--sizes", "5%", "--quick")


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ask(hub: Hub, tmp_path: Path) -> Run:
    """Runs the command against the hub with an empty cache, or Python for words that begin with ``-c``."""
    (tmp_path / "here").mkdir()
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment = clean | {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        program = sys.executable if words[0] == "-c" else str(Path(sys.executable).with_name("circuitmark"))
        done = subprocess.run(
            [program, *words], env=environment, cwd=tmp_path / "here",
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        assert done.returncode == code, done.stderr
        return done

    return run


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of ours on stderr, beside the hub's progress bars."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("circuitmark: ")]
    assert len(lines) == 1, done.stderr
    assert done.stdout == ""
    return lines[0]


def test_a_model_of_the_hub(hub: Hub, ask: Run, repository: Path) -> None:
    """Downloaded once, found again with one question, and there when the hub is ill or gone."""
    folder = Path(ask(*FIND, "someone/small").stdout.strip())
    wanted = {file.name for pattern in FILES for file in repository.glob(pattern)}
    for file in repository.iterdir():
        assert hub.asked_for(f"resolve/{COMMIT}/{file.name}") == (file.name in wanted), file.name
    assert {"pytorch_model.bin", "modeling.py", "README.md"}.isdisjoint(wanted)
    assert all("someone/small" in path for _, path in hub.requests)
    assert {path.name for path in folder.iterdir()} == wanted
    assert fingerprint(folder) == fingerprint(repository)

    hub.requests.clear()
    assert Path(ask(*FIND, "someone/small").stdout.strip()) == folder
    assert hub.requests == {("GET", "api/models/someone/small/revision/main"): 1}

    hub.status = 503
    assert Path(ask(*FIND, "someone/small").stdout.strip()) == folder
    hub.stop()
    assert ask(*LOAD, "someone/small").stdout == "16\n"


@pytest.mark.slow
def test_a_run_with_a_model_of_the_hub(hub: Hub, ask: Run, tmp_path: Path) -> None:
    """The whole way, with the hub and without it: the same numbers."""
    ask("run", "--model", "someone/small", *RUN, "--out", "one")
    hub.stop()
    ask("run", "--model", "someone/small", *RUN, "--out", "two")
    here = tmp_path / "here"
    one, two = (pd.read_csv(here / name / "leaderboard.csv") for name in ("one", "two"))
    assert one["kl"].tolist() == two["kl"].tolist()


def test_a_name_that_the_hub_does_not_know(hub: Hub, ask: Run, tmp_path: Path) -> None:
    line = said(ask("run", "--model", "someone/nothing", *RUN, code=2))
    assert "the model 'someone/nothing' is neither known" in line
    assert "it has no such model" in line
    assert hub.requests.total() == 1
    assert left_in(tmp_path) == []


def test_no_hub_at_all(hub: Hub, ask: Run) -> None:
    hub.stop()
    assert "the model 'someone/small' is neither known" in said(
        ask("run", "--model", "someone/small", code=2)
    )


def test_a_hub_that_refuses(hub: Hub, ask: Run) -> None:
    """As it answers who has no token to a model that wants one."""
    hub.status = 401
    line = said(ask("run", "--model", "someone/small", *RUN, code=2))
    assert "nor to be had from the hub" in line
    assert "401" in line


def test_a_hub_that_says_nothing(hub: Hub, ask: Run) -> None:
    """It takes the question and closes the connection."""
    hub.status = 0
    line = said(ask("run", "--model", "someone/small", *RUN, code=2))
    assert "nor to be had from the hub" in line


def test_a_file_cut_on_its_way(hub: Hub, ask: Run, repository: Path, tmp_path: Path) -> None:
    """Refused and not kept; the next time it is whole."""
    hub.spoiled = {"model.safetensors": "cut"}
    line = said(ask("run", "--model", "someone/small", *RUN, code=2))
    assert "the model 'someone/small'" in line
    assert "model.safetensors" in line
    assert list((tmp_path / "here").iterdir()) == []
    hub.spoiled.clear()
    folder = Path(ask(*FIND, "someone/small").stdout.strip())
    assert fingerprint(folder) == fingerprint(repository)
    assert hub.asked_for("config.json") == 3  # config, tokenizer_config and generation_config, once each


def test_a_file_whose_content_is_wrong(hub: Hub, ask: Run, tmp_path: Path) -> None:
    """As long as it should be, but no safetensors."""
    hub.spoiled = {"model.safetensors": "zeros"}
    line = said(ask("run", "--model", "someone/small", *RUN, code=2))
    assert "the model 'someone/small' cannot be loaded" in line
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.slow
def test_a_connection_lost_in_the_middle(hub: Hub, ask: Run) -> None:
    """After the hub's client has tried some times in vain."""
    hub.spoiled = {"model.safetensors": "hang up"}
    assert "the model 'someone/small'" in said(ask("run", "--model", "someone/small", *RUN, code=2))
    hub.spoiled.clear()
    assert ask(*LOAD, "someone/small").stdout == "16\n"


@pytest.mark.slow
def test_a_repository_of_pickles(hub: Hub, ask: Run, tmp_path: Path) -> None:
    """Nothing of it is wanted, so nothing is downloaded."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"a pickle")
    hub.repositories["someone/old"] = tmp_path / "old"
    assert "the model 'someone/old'" in said(ask("run", "--model", "someone/old", *RUN, code=2))
    assert hub.asked_for("pytorch_model.bin") == 0


def test_what_is_here_asks_no_hub(hub: Hub, ask: Run, gguf_file: Path) -> None:
    """Neither the shipped model nor a GGUF file; nor a name of ours that is not fetched, or misspelled."""
    assert ask(*LOAD, "embedded", str(gguf_file)).stdout == "128\n32\n"
    line = said(ask("run", "--model", "smollm2-135m", *RUN, code=2))
    assert "circuitmark models fetch smollm2-135m" in line
    assert "did you mean 'smollm2-135m'" in said(ask("models", "fetch", "smollm2", code=2))
    assert not hub.requests


def test_a_name_with_an_owner_is_the_hubs(ask: Run) -> None:
    """However near it is to a name of ours."""
    assert ask(*FIND, "someone/embedded").stdout.strip()
