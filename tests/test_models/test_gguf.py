"""Models from GGUF files: what they compute, and that nothing half converted is left."""

from __future__ import annotations

import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.errors import ModelError, UnwritableFolder
from bench.models import gguf as conversion
from bench.models.load import EMBEDDED, find_model, fingerprint, load_model
from bench.models.tiny import decoder
from decoders import LLAMA3
from gguf_files import TEXT, TOKENS, VOCABULARY, left_in, logits, no_reading, tiny_llama, write_gguf

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0"])
def test_a_gguf_file_computes_what_its_model_computes(tmp_path: Path, kind: str) -> None:
    """Its source with the weights rounded alike, transformers' reading of the file, and ours, are one."""
    source = write_gguf(tmp_path / "tiny.gguf", tiny_llama(), kind)
    read: Any = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf", dtype=torch.float32)
    ours = logits(tmp_path / "tiny.gguf")
    with torch.no_grad():
        torch.testing.assert_close(ours, read(TOKENS).logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours, source(TOKENS).logits, atol=1e-5, rtol=1e-5)
    assert ours.std() > 0.1


def test_a_tied_gguf_file(tmp_path: Path) -> None:
    """Without an output matrix the embedding stands for it."""
    model = tiny_llama()
    model.lm_head.weight = model.model.embed_tokens.weight
    write_gguf(tmp_path / "tied.gguf", model, without="lm_head.weight")
    with torch.no_grad():
        expected = model(TOKENS).logits
    torch.testing.assert_close(logits(tmp_path / "tied.gguf"), expected, atol=1e-5, rtol=1e-5)


def test_the_tokenizer_of_a_gguf_file(gguf_file: Path) -> None:
    expected = AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    tokenizer = load_model(str(gguf_file)).tokenizer
    assert tokenizer([TEXT])["input_ids"] == expected([TEXT])["input_ids"]
    assert tokenizer.tokenize(TEXT)[:2] == ["the", "\u0120"]
    assert tokenizer.decode(tokenizer(TEXT)["input_ids"]) == TEXT
    assert len(tokenizer) == len(VOCABULARY)


def test_a_gguf_file_is_converted_once(gguf_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary folder in the cache, told by content and not by place; another content is another one."""
    folder, first = find_model(str(gguf_file)), logits(gguf_file)
    assert folder.parent == cache / "gguf"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert "quantization_config" not in (folder / "config.json").read_text()
    hashed = fingerprint(folder)
    moved = gguf_file.rename(gguf_file.with_name("tiny.gguf.old")).rename(
        gguf_file.parent.parent / "tiny.gguf"
    )
    with monkeypatch.context() as patched:
        patched.setattr(conversion, "_read", no_reading)
        assert find_model(str(moved)) == folder
        torch.testing.assert_close(logits(moved), first, atol=1e-5, rtol=1e-5)
        patched.chdir(moved.parent)
        assert find_model("tiny.gguf") == folder
    shutil.rmtree(folder)
    assert fingerprint(find_model(str(moved))) == hashed
    changed = tiny_llama()
    changed.lm_head.weight.data *= 2
    write_gguf(moved, changed)
    load_model.cache_clear()
    assert find_model(str(moved)) != folder
    torch.testing.assert_close(logits(moved) * 0.5, first, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [0, 3, 10, 200, 1500, 0.5, 0.999])
def test_a_truncated_gguf_file(gguf_file: Path, cache: Path, size: float) -> None:
    """Cut in the header, in the tokenizer, in the weights: one line each, and nothing is kept."""
    content = gguf_file.read_bytes()
    gguf_file.write_bytes(content[: size if isinstance(size, int) else int(size * len(content))])
    with pytest.raises(ModelError, match=r"tiny\.gguf cannot be read as a GGUF model: .") as caught:
        load_model(str(gguf_file))
    assert "\n" not in str(caught.value)
    assert left_in(cache) == []


def test_a_foreign_gguf_file(gguf_file: Path, cache: Path) -> None:
    """A text, an architecture that nobody knows."""
    content = gguf_file.read_bytes()
    for other in (b"no model at all" * 99, content.replace(b"llama", b"lhama")):
        gguf_file.write_bytes(other)
        with pytest.raises(ModelError, match=r"tiny\.gguf cannot be read as a GGUF model"):
            load_model(str(gguf_file))
    assert left_in(cache) == []


def test_a_gguf_file_that_lacks_a_weight(tmp_path: Path, cache: Path) -> None:
    """transformers would draw it at random and go on."""
    write_gguf(tmp_path / "holes.gguf", tiny_llama(), without="model.layers.1.mlp.up_proj.weight")
    with pytest.raises(ModelError, match=r"holes\.gguf.*up_proj"):
        load_model(str(tmp_path / "holes.gguf"))
    assert left_in(cache) == []


def test_weights_of_a_gguf_file_that_are_not_finite(tmp_path: Path) -> None:
    model = tiny_llama()
    model.model.layers[0].mlp.up_proj.weight.data[0] = float("nan")
    write_gguf(tmp_path / "nan.gguf", model)
    with pytest.raises(ModelError, match="not finite"):
        load_model(str(tmp_path / "nan.gguf"))


def test_the_neighbours_of_a_gguf_file_do_not_matter(gguf_file: Path) -> None:
    """Folders of the hub often hold a model's own config and tokenizer beside GGUF files of others."""
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(EMBEDDED / name, gguf_file.parent)
    model = load_model(str(gguf_file))
    assert model.masked.architecture.d_vocab == len(VOCABULARY)
    assert len(model.tokenizer) == len(VOCABULARY)
    assert model.tokenizer.tokenize(TEXT)[:2] == ["the", "\u0120"]


def test_a_gguf_file_of_the_llama_3_kind(tmp_path: Path) -> None:
    """Its slowed rotations stand in the file as factors: they are heeded, or the file is refused."""
    sizes = {"vocab_size": len(VOCABULARY), "num_key_value_heads": 2, "intermediate_size": 64}
    source = decoder("Llama", **sizes, rope_parameters=LLAMA3).float()
    plain, slowed = tiny_llama().model.rotary_emb.inv_freq, source.model.rotary_emb.inv_freq
    write_gguf(tmp_path / "three.gguf", source, more={"rope_freqs.weight": (plain / slowed).numpy()})
    try:
        ours = logits(tmp_path / "three.gguf")
    except ModelError as error:
        assert "rope" in str(error)  # noqa: PT017
        return
    with torch.no_grad():
        torch.testing.assert_close(ours, source(TOKENS).logits, atol=1e-5, rtol=1e-5)


class Half:
    """Stands for a model and a tokenizer; saving it stops half-way."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def save_pretrained(self, folder: str) -> None:
        (Path(folder) / "config.json").write_text("{")
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device"), UnwritableFolder),
        (RuntimeError("no idea"), RuntimeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["full", "bug", "interrupted"],
)
def test_nothing_half_written_is_left(
    gguf_file: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    expected: type[BaseException],
) -> None:
    """Nor taken for a model the next time."""
    with monkeypatch.context() as patched:
        patched.setattr(conversion, "_read", lambda gguf_file: (Half(error), Half(error)))
        with pytest.raises(expected):
            find_model(str(gguf_file))
    assert list((cache / "gguf").iterdir()) == []
    assert load_model(str(gguf_file)).masked.architecture.n_layers == 2


def test_a_full_disk(gguf_file: Path, cache: Path) -> None:
    """safetensors has an error of its own for it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        with pytest.raises(UnwritableFolder, match="CIRCUITMARK_CACHE"):
            find_model(str(gguf_file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert left_in(cache) == []


def test_a_cache_that_takes_nothing(gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where the cache should be; `chmod` would not stop root."""
    (tmp_path / "taken").write_text("")
    for cache in ("taken", "taken/deeper"):
        monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path / cache))
        with pytest.raises(UnwritableFolder, match=r"cannot keep the converted model .*CIRCUITMARK_CACHE"):
            find_model(str(gguf_file))


def test_two_conversions_at_once(gguf_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower one finds the folder there, takes it, and leaves nothing of its own."""
    read = conversion._read

    def overtaken(gguf_file: Path) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(conversion, "_read", read)
            find_model(str(gguf_file))
        return read(gguf_file)

    monkeypatch.setattr(conversion, "_read", overtaken)
    folder = find_model(str(gguf_file))
    assert list((cache / "gguf").iterdir()) == [folder]
    assert load_model(str(folder)).masked.architecture.n_layers == 2


def test_without_gguf_installed(gguf_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is converted already is read all the same."""
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "gguf", None)
        with pytest.raises(ModelError, match=r"gguf is not installed: pip install 'circuitmark\[gguf\]'"):
            find_model(str(gguf_file))
    assert left_in(cache) == []
    folder = find_model(str(gguf_file))
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert find_model(str(gguf_file)) == folder
