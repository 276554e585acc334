"""What a name of a model leads to: folders, files, models of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import ModelError
from bench.models import load
from bench.models.load import EMBEDDED, find_model

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks a hub fails the test."""

    def asked(name: str, **options: Any) -> Any:
        pytest.fail(f"the hub was asked for {name}")

    monkeypatch.setattr("huggingface_hub.snapshot_download", asked)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "no model is named"),
        ("  ", "no model is named"),
        ("./nowhere", "there is no folder ./nowhere"),
        ("/nowhere", "there is no folder /nowhere"),
        ("some/where/else", "there is no folder some/where/else"),
        ("./nowhere.gguf", "nowhere.gguf"),
        ("embeded", "did you mean 'embedded'?"),
        ("smollm-135m", "did you mean 'smollm2-135m'?"),
        ("hollow", "the folder hollow holds no config.json"),
        ("./hollow/file.txt", "there is no folder ./hollow/file.txt"),
        ("folder.gguf", "holds no config.json"),
    ],
)
def test_paths_that_lead_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    (tmp_path / "hollow").mkdir()
    (tmp_path / "hollow" / "file.txt").write_text("")
    (tmp_path / "folder.gguf").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as caught:
        find_model(name)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", ["missing.gguf", "models/missing.gguf"])
def test_a_gguf_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """No hub has a model of that name; the path is not sent to one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"missing\.gguf"):
        find_model(name)


@pytest.mark.usefixtures("no_hub")
def test_a_suffix_in_capitals(gguf_file: Path) -> None:
    capital = gguf_file.rename(gguf_file.with_suffix(".GGUF"))
    assert (find_model(str(capital)) / "config.json").exists()


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", ["a" * 3000, "~nobody-of-this-name/model"], ids=["long", "home"])
def test_names_that_the_system_refuses(name: str) -> None:
    with pytest.raises(ModelError):
        find_model(name)


@pytest.mark.usefixtures("no_hub")
def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder goes before a name of the hub; the names of ours go before a folder."""
    for name in ("gpt2", "owner/model", "embedded"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text('{"model_type": "gpt2"}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_model("gpt2") == Path("gpt2")
    assert find_model("owner/model") == Path("owner/model")
    assert find_model("~/gpt2") == tmp_path / "gpt2"
    assert find_model("embedded") == EMBEDDED


@pytest.mark.usefixtures("no_hub")
def test_models_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, as in the wheel, one line says where they are."""
    assert find_model("embedded:3") == EMBEDDED.parent / "seeds" / "3"
    monkeypatch.setitem(load.RETRAINED, "embedded:3", tmp_path / "absent")
    with pytest.raises(ModelError, match=r"'embedded:3' comes with a checkout") as caught:
        find_model("embedded:3")
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="unknown model 'embedded:9'"):
        find_model("embedded:9")
