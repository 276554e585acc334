"""Models of a hub, which is a server on the loopback interface."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pandas as pd
import pytest
import torch

from bench.errors import ModelError, UsageError
from bench.models.load import EMBEDDED, find_model, fingerprint, load_model, model_hash
from bench.models.whole import FILES, INDEX
from bench.runs.experiment import Experiment
from bench.study import Study
from bridge_oracle import tiny_gpt2
from command_line import COMMAND, Answer, CommandLine
from gguf_files import left_in
from hub_server import COMMIT, Hub, commit_of, hub_server
from model_folders import Spoil, config, sharded, text, weight, without

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 with the tokenizer of the shipped model, and what no one needs, as a hub has it."""
    folder = tmp_path_factory.mktemp("repository")
    tiny_gpt2(torch.float32, vocab_size=732, n_positions=64, n_layer=2, n_embd=16, n_head=2).save_pretrained(
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


RUN = ("-t", "gp", "-m", "random_edges", "--sizes", "5%", "--quick")
WITHOUT = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture(autouse=True)
def client(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The hub's client asks the server, as if it had been imported under HF_ENDPOINT and HF_HOME.

    Its cache is empty, and it has no token.
    """
    for name in WITHOUT:
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "ENDPOINT": hub.address,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "hf" / "hub"),
        "HF_TOKEN_PATH": str(tmp_path / "hf" / "token"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_DISABLE_XET": True,
    }.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> CommandLine:
    """The command line in a folder beside the caches."""
    (tmp_path / "here").mkdir()
    return CommandLine(tmp_path / "here", monkeypatch, capfd)


def said(answer: Answer) -> str:
    """The one line of ours on stderr, beside the hub's progress bars."""
    lines = [line for line in answer.stderr.splitlines() if line.startswith("circuitmark: ")]
    assert len(lines) == 1, answer.stderr
    assert answer.stdout == ""
    return lines[0]


def width(name: str) -> int:
    """The width of a model, once it is loaded."""
    return load_model(name).masked.architecture.d_model


def test_a_model_of_the_hub(hub: Hub, repository: Path) -> None:
    """Downloaded once, found again with one question, and there when the hub is ill or gone."""
    folder = find_model("someone/small")
    wanted = {file.name for pattern in FILES for file in repository.glob(pattern)}
    for file in repository.iterdir():
        assert hub.asked_for(f"resolve/{COMMIT}/{file.name}") == (file.name in wanted), file.name
    assert {"pytorch_model.bin", "modeling.py", "README.md"}.isdisjoint(wanted)
    assert all("someone/small" in path for _, path in hub.requests)
    assert {path.name for path in folder.iterdir()} == wanted
    assert fingerprint(folder) == fingerprint(repository)

    hub.requests.clear()
    assert find_model("someone/small") == folder
    assert hub.requests == {("GET", "api/models/someone/small/revision/main"): 1}

    hub.status = 503
    assert find_model("someone/small") == folder
    hub.stop()
    assert width("someone/small") == 16


@pytest.mark.every
def test_a_run_with_a_model_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    """The whole way in processes that find the hub by HF_ENDPOINT, with it and without: the same numbers."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    settings = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
    for out in ("one", "two"):
        words = [COMMAND, "run", "--model", "someone/small", *RUN, "--even-if-unable", "--out", out]
        subprocess.run(words, cwd=tmp_path, env=clean | settings, check=True)
        hub.stop()
    one, two = (pd.read_csv(tmp_path / name / "leaderboard.csv") for name in ("one", "two"))
    assert one["kl"].tolist() == pytest.approx(two["kl"].tolist(), rel=1e-5)  # in float32


def test_a_name_that_the_hub_does_not_know(hub: Hub, command: CommandLine, tmp_path: Path) -> None:
    line = said(command("run", "--model", "someone/nothing", *RUN, code=2))
    assert "the model 'someone/nothing' is neither known" in line
    assert "no such model, or it is private" in line
    assert hub.requests.total() == 1
    assert left_in(tmp_path) == []


def test_no_hub_at_all(hub: Hub, command: CommandLine) -> None:
    hub.stop()
    assert "the model 'someone/small' is neither known" in said(
        command("run", "--model", "someone/small", code=2)
    )


def test_a_hub_that_refuses(hub: Hub, command: CommandLine) -> None:
    """As it answers who has no token to a model that wants one."""
    hub.status = 401
    line = said(command("run", "--model", "someone/small", *RUN, code=2))
    assert "nor available from the hub" in line
    assert "401" in line


def test_a_hub_that_says_nothing(hub: Hub, command: CommandLine) -> None:
    """It takes the question and closes the connection."""
    hub.status = 0
    line = said(command("run", "--model", "someone/small", *RUN, code=2))
    assert "nor available from the hub" in line


def test_a_file_cut_on_its_way(hub: Hub, command: CommandLine, repository: Path, tmp_path: Path) -> None:
    """Refused and not kept; the next time it is whole."""
    hub.spoiled = {"model.safetensors": "cut"}
    line = said(command("run", "--model", "someone/small", *RUN, code=2))
    assert "the model 'someone/small'" in line
    assert "model.safetensors" in line
    assert list((tmp_path / "here").iterdir()) == []
    hub.spoiled.clear()
    folder = find_model("someone/small")
    assert fingerprint(folder) == fingerprint(repository)
    assert hub.asked_for("config.json") == 3  # config, tokenizer_config and generation_config, once each


def test_a_file_whose_content_is_wrong(hub: Hub, command: CommandLine, tmp_path: Path) -> None:
    """As long as it should be, but no safetensors."""
    hub.spoiled = {"model.safetensors": "zeros"}
    line = said(command("run", "--model", "someone/small", *RUN, code=2))
    assert "the model 'someone/small' cannot be loaded" in line
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.slow
def test_a_connection_lost_in_the_middle(hub: Hub, command: CommandLine) -> None:
    """After the hub's client has tried some times in vain."""
    hub.spoiled = {"model.safetensors": "hang up"}
    assert "the model 'someone/small'" in said(command("run", "--model", "someone/small", *RUN, code=2))
    hub.spoiled.clear()
    assert width("someone/small") == 16


def test_a_repository_of_pickles(hub: Hub, command: CommandLine, tmp_path: Path) -> None:
    """Nothing of it is wanted, so nothing is downloaded."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"a pickle")
    hub.repositories["someone/old"] = tmp_path / "old"
    assert "the model 'someone/old'" in said(command("run", "--model", "someone/old", *RUN, code=2))
    assert hub.asked_for("pytorch_model.bin") == 0


def test_what_is_here_asks_no_hub(hub: Hub, command: CommandLine, gguf_file: Path) -> None:
    """Neither the shipped model nor a GGUF file; nor a name of ours that is not fetched, or misspelled."""
    assert (width("embedded"), width(str(gguf_file))) == (128, 32)
    line = said(command("run", "--model", "smollm2-135m", *RUN, code=2))
    assert "circuitmark models fetch smollm2-135m" in line
    assert "did you mean 'smollm2-135m'" in said(command("models", "fetch", "smollm2", code=2))
    assert not hub.requests


def test_a_name_with_an_owner_is_the_hubs() -> None:
    """However near it is to a name of ours."""
    assert find_model("someone/embedded").is_dir()


def spoiled_copy(hub: Hub, repository: Path, to: Path, *spoils: Spoil) -> str:
    """The name of a repository that is a spoiled copy."""
    shutil.copytree(repository, to)
    for spoil in spoils:
        spoil(to)
    hub.repositories[f"someone/{to.name}"] = to
    return f"someone/{to.name}"


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (config(model_type="bloom", architectures=["BloomForCausalLM"]), "architecture BloomForCausalLM"),
        (config(activation_function="mine"), "the activation 'mine'"),
        (config(n_layer=10**6), "'n_layer' in its config is 1000000"),
        (config(quantization_config={"quant_method": "gptq"}), "quantised"),
        (text("adapter_config.json", "{}"), "adapter_config.json beside the weights"),
        (text("config.json", "{"), "config.json is not valid JSON"),
        (without("config.json"), "has no config.json"),
    ],
    ids=["architecture", "activation", "bounds", "quantised", "adapter", "no JSON", "no config"],
)  # fmt: skip
def test_a_config_is_judged_before_weights_are_fetched(
    hub: Hub, repository: Path, tmp_path: Path, spoil: Spoil, expected: str
) -> None:
    name = spoiled_copy(hub, repository, tmp_path / "refused", spoil)
    with pytest.raises(ModelError, match=expected) as refusal:
        find_model(name)
    assert len(str(refusal.value).splitlines()) == 1
    asked = {path.rpartition("/")[2] for _, path in hub.requests if "/resolve/" in path}
    assert asked <= {"config.json", "adapter_config.json"}


def test_only_what_is_read_is_fetched(hub: Hub, repository: Path, tmp_path: Path) -> None:
    """The shards that the index names, and no other weights."""
    more = [text(name, b"x") for name in ("consolidated.safetensors", "model.gguf", "more.json", "last.pt")]
    name = spoiled_copy(hub, repository, tmp_path / "shards", sharded(lambda files, index: None), *more)
    held = {path.name for path in find_model(name).iterdir()}
    assert held == {
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", INDEX,
        "one.safetensors", "two.safetensors",
    }  # fmt: skip
    assert width(name) == 16


def test_a_repository_with_a_pickle_and_a_config(hub: Hub, repository: Path, tmp_path: Path) -> None:
    name = spoiled_copy(hub, repository, tmp_path / "old", without("model.safetensors"))
    with pytest.raises(ModelError, match=r"no model\.safetensors, and pytorch_model\.bin or the like is not"):
        load_model(name)
    assert hub.asked_for("pytorch_model.bin") == 0


def test_a_revision(hub: Hub, repository: Path, tmp_path: Path) -> None:
    """Its files are its own, so the model's hash is; where the hub is ill it is found in the cache."""
    spoiled_copy(hub, repository, tmp_path / "small@v2", weight("transformer.ln_f.bias", lambda t: t + 1))
    hub.repositories["someone/small"] = repository
    assert model_hash("someone/small", "main") == model_hash("someone/small")
    assert model_hash("someone/small", "v2") != model_hash("someone/small")
    assert model_hash("someone/small", commit_of("v2")) == model_hash("someone/small", "v2")
    main = load_model("someone/small").masked
    other = load_model("someone/small", revision="v2")
    assert other.name == "someone/small"
    name = "logits.norm.b"
    torch.testing.assert_close(other.masked.weights[name], main.weights[name] + 1)
    hub.status = 503
    assert find_model("someone/small", "v2").name == commit_of("v2")
    with pytest.raises(ModelError, match="nor available from the hub"):
        find_model("someone/small", "v3")


def test_a_revision_that_there_is_not(hub: Hub, command: CommandLine) -> None:
    line = said(command("run", "--model", "someone/small", "--revision", "v9", *RUN, code=2))
    assert "the model 'someone/small' on the hub has no revision 'v9'" in line


def test_a_run_and_a_study_of_a_revision(hub: Hub, repository: Path, tmp_path: Path) -> None:
    """Both load it, and its jobs are others than the main branch's, under the same name."""
    spoiled_copy(hub, repository, tmp_path / "small@v2", weight("transformer.ln_f.bias", lambda t: t + 1))
    run = Experiment(model="someone/small", tasks=("gp",), methods=("random_edges",), n_evaluation=2)
    main, other = (replace(run, revision=name).jobs()[0] for name in ("", "v2"))
    assert main.key != other.key
    assert main.dimensions == other.dimensions
    study = Study("someone/small", "gp", revision="v2", n_discovery=2, n_evaluation=2)
    for made in (study, replace(other, dimensions=replace(other.dimensions, n_discovery=2)).study()):
        assert torch.equal(
            made.model.weights["logits.norm.b"],
            load_model("someone/small", revision="v2").masked.weights["logits.norm.b"],
        )


@pytest.mark.parametrize("name", ["embedded", "tracr:reverse", "folder", "gguf"])
def test_a_revision_of_what_has_none(
    name: str, hub: Hub, command: CommandLine, repository: Path, gguf_file: Path
) -> None:
    model = {"folder": str(repository), "gguf": str(gguf_file)}.get(name, name)
    line = said(command("run", "--model", model, "--revision", "main", code=2))
    assert line.endswith(f"only hub models have revisions, and '{model}' is not one: leave --revision out")
    with pytest.raises(UsageError, match="leave --revision out"):
        Study(model, None if name == "tracr:reverse" else "gp", revision="main")
    assert not hub.requests
